"""The registry: one pipeline per key, found again while it is used, and never more than memory should hold."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import Any

import pytest

from resilience import Breaker, Bulkhead, ConfigError, Kind, Pipeline, PipelineRegistry, Pool, RateLimit, Retry, Verdict
from resilience.testing import Script, VirtualLoop, virtual


class Session:
    """What a pool lends."""

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)
        self.closed += 1


def broken(exc: Exception, op: object) -> Verdict:
    return Verdict(Kind.FAILED, "broken")


async def trip(pipeline: Pipeline) -> None:
    with pytest.raises(OSError, match="down"):
        await pipeline.run(Script(OSError("down")))


@virtual
async def test_a_key_has_one_pipeline_made_on_first_use() -> None:
    """By the function, once; each with states of its own."""
    made: list[str] = []

    def make(host: str) -> Pipeline:
        made.append(host)
        return Pipeline(Bulkhead(1), name=host)

    registry: PipelineRegistry[str] = PipelineRegistry(make)
    assert registry["a"] is registry["a"]
    assert registry["a"] is not registry["b"]
    assert made == ["a", "b"]
    assert "a" in registry
    assert "c" not in registry
    assert list(registry) == ["a", "b"]
    assert len(registry) == 2
    await registry["a"].run(Script(1))
    assert registry.status() == {"b": {}, "a": {"bulkhead": registry["a"].status()["bulkhead"]}}


@virtual
async def test_a_template_is_copied() -> None:
    """With a name, classify and seed like its own, and what it shares; states are each key's own."""
    shared: dict[str, Any] = {}
    policies = (Retry(attempts=2, wait=0), RateLimit("1/10s", key="ip"), Bulkhead(1), Pool(Session, name="rest"))
    heard: list[object] = []
    template = Pipeline(
        *policies, name="market", classify=broken, observers=(heard.append,), shared=shared, scope="bybit"
    )
    registry = PipelineRegistry[tuple[str, int]](template)
    one, two = registry["a", 1], registry["a", 2]
    assert (one.name, one.policies, one.classify) == ("market/('a', 1)", policies, broken)
    script = Script(ValueError(), 1)
    await one.run(script)
    await two.run(script)
    assert script.begun == [0, pytest.approx(10, rel=0.05), pytest.approx(20, rel=0.05)]  # one address, one limit
    assert one.states["pool:rest"] is two.states["pool:rest"]
    assert one.states["bulkhead"] is not two.states["bulkhead"]
    assert heard
    assert PipelineRegistry(Pipeline(Bulkhead(1)))["key"].name == "key"
    await registry.aclose()


@virtual
async def test_the_longest_unused_goes_first() -> None:
    """Beyond `most`; a use is a use, whatever was made when."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1)))
    assert (registry.most, registry.idle) == (1000, 3600.0)
    registry = PipelineRegistry(Pipeline(Bulkhead(1)), most=3, idle=0.5)
    for key in "abcad":
        registry[key]
    assert list(registry) == ["c", "a", "d"]


@virtual
async def test_the_idle_go_when_a_new_one_comes() -> None:
    """After `idle` seconds without use; not one of them sooner."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1)), most=10, idle=60)
    for key in "abc":
        registry[key]
        await asyncio.sleep(10)
    await asyncio.sleep(39)
    registry["c"]
    registry["d"]  # 69 s, 59 s, 0 s
    assert list(registry) == ["b", "c", "d"]
    await asyncio.sleep(1)
    registry["e"]
    assert list(registry) == ["c", "d", "e"]


@virtual
async def test_one_with_calls_in_flight_stays() -> None:
    """And counts as used; where all have some, there are more than `most` for as long as they last."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1)), most=2, idle=60)
    calls = [asyncio.ensure_future(registry[key].run(asyncio.sleep, 100)) for key in "ab"]
    await asyncio.sleep(0)
    registry["c"]
    assert list(registry) == ["a", "b", "c"]
    registry["d"]
    assert list(registry) == ["a", "b", "d"]
    await asyncio.sleep(70)
    registry["e"]
    assert list(registry) == ["a", "b", "e"]  # the idle one went, those in flight did not
    await asyncio.gather(*calls)
    registry["f"]
    assert list(registry) == ["e", "f"]


@virtual
async def test_being_in_flight_is_being_used() -> None:
    """Whatever was seen in flight is as fresh as if it had been asked for then; a queue counts too."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1)), idle=60)
    call = asyncio.ensure_future(registry["a"].run(asyncio.sleep, 100))
    await asyncio.sleep(90)
    registry["b"]
    await call
    await asyncio.sleep(20)
    registry["c"]
    assert list(registry) == ["a", "b", "c"]

    class Queue:
        def status(self) -> dict[str, Any]:
            return {"of one": {"busy": 0, "waiting": 2}}

    one = PipelineRegistry[str](lambda key: Pipeline(name=key), most=1)
    one["a"]._kit.states["queue"] = Queue()
    one["b"]
    assert list(one) == ["a", "b"]


@virtual
async def test_one_with_an_open_circuit_goes_last() -> None:
    """It knows something; but if nothing else can go, it goes, the longest unused first."""
    registry = PipelineRegistry(Pipeline(Breaker(consecutive=1), Bulkhead(1), classify=broken), most=3)
    for key in "ab":
        await trip(registry[key])
    await registry["c"].run(Script(1))  # its circuit is closed
    registry["d"]
    assert list(registry) == ["a", "b", "d"]
    await trip(registry["d"])
    registry["e"]
    assert list(registry) == ["b", "d", "e"]
    call = asyncio.ensure_future(registry["e"].run(asyncio.sleep, 1))
    await asyncio.sleep(0)
    registry["f"]
    assert set(registry) == {"d", "e", "f"}
    await call


@virtual
async def test_an_idle_open_circuit_goes() -> None:
    """What was true an hour ago is not worth keeping."""
    registry = PipelineRegistry(Pipeline(Breaker(consecutive=1), classify=broken), idle=60)
    await trip(registry["a"])
    await asyncio.sleep(60)
    registry["b"]
    assert list(registry) == ["b"]


@virtual
async def test_what_was_dropped_is_found_again_while_it_is_used() -> None:
    """A call in flight, which no state of a bare breaker shows, keeps it alive: one key, one circuit."""
    registry = PipelineRegistry(Pipeline(Breaker()), most=1)
    call = asyncio.ensure_future(registry["a"].run(asyncio.sleep, 5))
    await asyncio.sleep(0)
    circuit = registry["a"].states["breaker"]
    registry["b"]
    assert "a" not in registry
    assert registry["a"].states["breaker"] is circuit
    registry["b"]
    await call
    del call
    gc.collect()
    await asyncio.sleep(0)
    assert not registry["a"].states


@virtual
async def test_the_pools_of_a_dropped_one_are_closed() -> None:
    """In the background; a shared pool stays, and so does one that is lent out."""
    sessions: dict[str, Session] = {}

    def make(key: str) -> Pipeline:
        def open_session() -> Session:
            return sessions.setdefault(key, Session())

        return Pipeline(Bulkhead(1), Pool(open_session, name="rest"))

    registry = PipelineRegistry(make, most=1)

    async def use(session: Session, seconds: float) -> None:
        await asyncio.sleep(seconds)

    await registry["a"].run(use, 0)
    call = asyncio.ensure_future(registry["b"].run(use, 5))
    await asyncio.sleep(1)
    assert sessions["a"].closed == 1
    registry["c"]
    await asyncio.sleep(1)
    assert sessions["b"].closed == 0
    await call

    shared = PipelineRegistry(Pipeline(Pool(Session, name="rest"), shared={}), most=1)
    await shared["a"].run(use, 0)
    session = shared["a"].states["pool:rest"]._slot.resource
    await shared["b"].run(use, 0)
    await asyncio.sleep(1)
    assert session.closed == 0
    await shared.aclose()
    assert session.closed == 1


@virtual
async def test_closing_closes_everything() -> None:
    """Those in the registry, those dropped and still used, and what is being closed already."""
    sessions: list[Session] = []

    def open_session() -> Session:
        sessions.append(Session())
        return sessions[-1]

    async def use(session: Session) -> None: ...

    async with PipelineRegistry(Pipeline(Pool(open_session, name="rest")), most=1) as registry:
        for key in "abc":
            await registry[key].run(use)
        kept = registry["c"]
        registry["d"]
    assert [session.closed for session in sessions] == [1, 1, 1]
    await kept.run(use)
    await registry["d"].run(use)
    assert len(sessions) == 5
    await registry.aclose()
    assert [session.closed for session in sessions] == [1] * 5
    await registry["d"].run(use)
    registry["e"]
    await registry.aclose()  # waits for what is being closed
    assert [session.closed for session in sessions] == [1] * 6
    assert not registry._closing


@virtual
async def test_one_that_cannot_be_closed_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The first error is raised when all have been told; in the background it is logged."""

    class Stuck:
        closed = 0

        def __init__(self, error: BaseException) -> None:
            self.error = error

        def status(self) -> dict[str, Any]:
            return {}

        async def aclose(self) -> None:
            Stuck.closed += 1
            raise self.error

    def make(key: str) -> Pipeline:
        pipeline = Pipeline()
        pipeline._kit.states["stuck"] = Stuck(asyncio.CancelledError() if key == "c" else OSError(f"stuck {key}"))
        return pipeline

    registry = PipelineRegistry(make, most=2)
    registry["a"], registry["b"]
    with pytest.raises(OSError, match="stuck a"):
        await registry.aclose()
    assert Stuck.closed == 2
    registry["c"]
    await asyncio.sleep(0)
    assert Stuck.closed == 3
    assert "closing what the dropped pipeline of 'a' held failed" in caplog.text
    caplog.clear()
    registry["d"], registry["e"]  # "c" goes, whose closing is cancelled: that is no failure
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "'b'" in caplog.text
    assert "'c'" not in caplog.text
    closed = Stuck.closed
    cancelled = PipelineRegistry(make)
    cancelled["c"], cancelled["d"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled.aclose()  # at once
    assert Stuck.closed == closed + 1


@virtual
async def test_closing_in_the_background_has_a_context_of_its_own() -> None:
    """And not that of whoever came with the new key."""
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    async def use(session: Session) -> None: ...

    pool: Pool[Session] = Pool(Session, name="rest", close=lambda session: seen.append(caller.get()))
    registry = PipelineRegistry(Pipeline(pool), most=1)
    await registry["a"].run(use)
    caller.set("somebody")
    registry["b"]
    await asyncio.sleep(1)
    assert seen == ["nobody"]


def test_it_works_where_no_loop_ever_ran() -> None:
    """What was made then was made when the first loop began."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1)), most=2, idle=10)
    for key in "abc":
        registry[key]
    assert list(registry) == ["b", "c"]

    async def main() -> None:
        await asyncio.sleep(10)
        registry["d"]

    VirtualLoop().run(main())
    assert list(registry) == ["d"]


def test_it_works_where_no_loop_runs() -> None:
    """Then no time passes, and there is nobody to close a pool."""
    registry = PipelineRegistry(Pipeline(Bulkhead(1), Pool(Session, name="rest")), most=2, idle=10)

    async def use(session: Session) -> None: ...

    async def main() -> None:
        await asyncio.sleep(5)
        await registry["a"].run(use)

    VirtualLoop().run(main())
    for key in "bcd":
        registry[key]
    assert list(registry) == ["c", "d"]


@virtual
async def test_many_keys_stay_within_the_bound() -> None:
    """A hundred thousand keys, a hundred pipelines; and the search for one to drop is bounded too."""
    looked = 0

    class Busy:
        def status(self) -> dict[str, Any]:
            nonlocal looked
            looked += 1
            return {"active": 1}

    pipeline = Pipeline(Bulkhead(1))
    registry = PipelineRegistry[int](lambda key: pipeline, most=100)
    for key in range(100_000):
        registry[key]
        assert len(registry) <= 100
    pipeline._kit.states["busy"] = Busy()
    for key in range(10):
        registry[key]
    assert looked == 640
    assert len(registry) == 110


def test_what_makes_no_pipeline_is_told() -> None:
    """At once, or with the key for which it made none."""
    with pytest.raises(ConfigError, match="make is 3, must be a pipeline, or a function of the key"):
        PipelineRegistry(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"make\('a'\) returned None, must be a pipeline"):
        PipelineRegistry(lambda key: None)["a"]  # type: ignore[arg-type,return-value]
    for wrong in ({"most": 0}, {"most": 1.5}, {"idle": 0}):
        with pytest.raises(ConfigError, match=f"PipelineRegistry: {next(iter(wrong))} "):
            PipelineRegistry(Pipeline(), **wrong)  # type: ignore[arg-type]


def test_who_follows_is_told_of_each_that_comes_and_goes() -> None:
    """Those there now first, until they leave; one who fails costs nobody anything."""

    @virtual
    async def main() -> None:
        came, went = [], []

        def fails(pipeline: Pipeline) -> None:
            raise ValueError

        registry = PipelineRegistry[str](lambda key: Pipeline(name=key), most=2)
        registry.follow(fails, fails)
        first = registry["a"]
        leave = registry.follow(lambda one: came.append(one.name), lambda one: went.append(one.name))
        assert registry.pipelines == (first,)
        for key in "abca":
            _ = registry[key]
        assert came == ["a", "b", "c", "a"]
        assert went == ["a", "b"]
        leave()
        leave()
        _ = registry["d"]
        assert len(came) == 4

    main()
