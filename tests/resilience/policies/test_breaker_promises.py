"""What a breaker promises to whoever stakes orders on it, with the pipeline around it."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Breaker, BulkheadFull, CircuitOpen, Kind, Op, Pipeline, Retry, Verdict
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)
QUICK = Breaker(failure_rate=None, consecutive=3, open_for=5)


class Told(Exception):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.FAILED)


def state(pipeline: Pipeline) -> str:
    [circuit] = pipeline.status()["breaker"].values()
    return str(circuit["state"])


async def tripped(breaker: Breaker = QUICK, kind: Kind = Kind.FAILED) -> Pipeline:
    """A pipeline whose breaker has just opened, by three failures that each raised their own error."""
    pipeline = Pipeline(breaker, classify=told)
    for _ in range(3):
        with pytest.raises(Told):
            await pipeline.run(Script(Told(kind)), op=READ)
    assert state(pipeline) == "open"
    return pipeline


@pytest.mark.parametrize("probes", [1, 3])
@virtual
async def test_half_open_admits_exactly_the_probes(probes: int) -> None:
    """A hundred concurrent calls: as many as there are probes reach the target, the rest is refused."""
    pipeline = await tripped(Breaker(failure_rate=None, consecutive=3, open_for=5, probes=probes))
    await asyncio.sleep(6.1)
    target = Script(after(1, "probe"))
    results = await asyncio.gather(*(pipeline.run(target, op=READ) for _ in range(100)), return_exceptions=True)
    assert target.count == probes
    assert results.count("probe") == probes
    assert sum(isinstance(result, CircuitOpen) for result in results) == 100 - probes
    assert state(pipeline) == "closed"


@virtual
async def test_the_open_time_is_never_shorter_and_at_most_a_fifth_longer() -> None:
    """Drawn anew for every opening; retry_after tells the rest of it."""
    for _ in range(20):
        pipeline = await tripped()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(CircuitOpen) as caught:
            await pipeline.run(Script("x"), op=READ)
        assert caught.value.retry_after is not None
        assert 5 <= caught.value.retry_after <= 6
        await asyncio.sleep(caught.value.retry_after - 0.001)
        with pytest.raises(CircuitOpen):
            await pipeline.run(Script("x"), op=READ)
        await asyncio.sleep(0.002)
        assert await pipeline.run(Script("probe"), op=READ) == "probe"
        assert 5 <= asyncio.get_running_loop().time() - begun <= 6.01


@virtual
async def test_a_cancelled_probe_gives_its_permit_back() -> None:
    """The next call may probe; the circuit does not stick half-open."""
    pipeline = await tripped()
    await asyncio.sleep(6.1)
    probe = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(1)
    with pytest.raises(CircuitOpen):
        await pipeline.run(Script("x"), op=READ)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert await pipeline.run(Script("probe"), op=READ) == "probe"
    assert state(pipeline) == "closed"


@pytest.mark.parametrize("error", [Told(Kind.THROTTLED), BulkheadFull("x")])
@virtual
async def test_a_probe_that_teaches_nothing_decides_nothing(error: Exception) -> None:
    """Throttled, or refused beneath: the circuit stays half-open and the place is free again."""
    pipeline = await tripped()
    await asyncio.sleep(6.1)
    with pytest.raises(type(error)):
        await pipeline.run(Script(error), op=READ)
    assert state(pipeline) == "half-open"
    assert await pipeline.run(Script("probe"), op=READ) == "probe"


@virtual
async def test_a_sick_probe_opens_it_again() -> None:
    """With its own error, and for a new open time."""
    pipeline = await tripped()
    await asyncio.sleep(6.1)
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.UNKNOWN)), op=READ)
    assert state(pipeline) == "open"


@virtual
async def test_results_from_before_the_trip_move_nothing() -> None:
    """A slow success does not close it, a slow failure does not lengthen the open time, open or half-open."""
    pipeline = Pipeline(QUICK, classify=told)
    late = [
        asyncio.ensure_future(pipeline.run(Script(after(delay, step)), op=READ))
        for delay, step in ((2, "slow"), (3, Told(Kind.FAILED)), (7, "slower"), (7.5, Told(Kind.FAILED)))
    ]
    await asyncio.sleep(0.1)
    for _ in range(3):
        with pytest.raises(Told):
            await pipeline.run(Script(Told(Kind.FAILED)), op=READ)
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(Script("x"), op=READ)
    reopens = asyncio.get_running_loop().time() + (caught.value.retry_after or 0)
    await asyncio.sleep(4)
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(Script("x"), op=READ)
    assert asyncio.get_running_loop().time() + (caught.value.retry_after or 0) == pytest.approx(reopens)
    await asyncio.sleep(2.5)
    probe = asyncio.ensure_future(pipeline.run(Script(after(2, "probe")), op=READ))
    await asyncio.gather(*late, return_exceptions=True)
    assert state(pipeline) == "half-open"
    assert await probe == "probe"
    assert state(pipeline) == "closed"


@virtual
async def test_the_rate_trips_at_the_threshold_and_not_below_the_minimum() -> None:
    """Half of ten: nine calls never trip it, the tenth does when five of them failed."""
    pipeline = Pipeline(Breaker(failure_rate=0.5, min_calls=10), classify=told)
    steps = [Told(Kind.FAILED)] * 4 + ["ok"] * 5
    for step in steps:
        await asyncio.gather(pipeline.run(Script(step), op=READ), return_exceptions=True)
    assert state(pipeline) == "closed"
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.FAILED)), op=READ)
    assert state(pipeline) == "open"


@pytest.mark.parametrize("kind", [Kind.REJECTED, Kind.THROTTLED])
@virtual
async def test_what_is_no_sickness_never_trips_it(kind: Kind) -> None:
    """The exchange answered."""
    pipeline = Pipeline(QUICK, classify=told)
    for _ in range(20):
        with pytest.raises(Told):
            await pipeline.run(Script(Told(kind)), op=READ)
    assert state(pipeline) == "closed"


@virtual
async def test_cancelled_calls_never_trip_it() -> None:
    """Twenty impatient callers say nothing about the target."""
    pipeline = Pipeline(QUICK, classify=told)
    for _ in range(20):
        task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert state(pipeline) == "closed"


@virtual
async def test_inside_a_retry_the_attempts_own_error_is_raised() -> None:
    """The circuit opens under the third attempt; the fourth is refused, and the call raises what was met, not that."""
    recorder = Recorder()
    script = Script(Told(Kind.UNKNOWN))
    pipeline = Pipeline(Retry(attempts=9, wait=0), QUICK, classify=told, observers=(recorder,))
    with pytest.raises(Told) as caught:
        await pipeline.run(script, op=READ)
    assert script.count == 3
    assert len(caught.value.__notes__) == 3
    assert [(change.old, change.new) for change in recorder.changes] == [("closed", "open")]
    with pytest.raises(CircuitOpen):
        await pipeline.run(script, op=READ)
    assert script.count == 3
