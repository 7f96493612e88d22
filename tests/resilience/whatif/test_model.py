"""The model file: read as strictly as a configuration, and what its words mean."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from retry_storm import Server as RealServer

from resilience import ConfigError, Kind, Op
from resilience.testing import VirtualLoop
from resilience.whatif import Modelled, read_model
from resilience.whatif.dice import Dice
from resilience.whatif.faults import FAULTS, Fault, classify, error_of
from resilience.whatif.latency import Latency, drawn
from resilience.whatif.measure import quantile_of
from resilience.whatif.model import Model, Operation, Outage, Server, Surge

OP = Op("a", idempotent=True)


def model(**more: object) -> Model:
    operations = more.pop("operations", {"a": Operation(rate="100/s", latency=0.0)})
    return Model(version=1, operations=operations, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 2\noperations: {a: {rate: 1/s, latency: 1s}}", "version is 2, must be 1"),
        ("version: 1\noperations: {}", "operations is empty"),
        ("version: 1\noperations: {a: {rate: often, latency: 1s}}", "'often' is no rate"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 5}}", "m.yaml:2:38"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: {median: 1s}}}", "sigma"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: {percentiles: {p50: 1s}}}}", "two at least"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: {percentiles: {p50: 2s, p99: 1s}}}}", "must grow"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s}}\nfaults: [{kind: rest, rate: 1%}]", "reset"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s}}\nfaults: [{kind: reset, rate: 1%, retry_after: 1s}]",
         "means nothing to reset"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s, faults: [{kind: hang, rate: 60%}, {kind: reset, rate: "
         "60%}]}}",
         "add up to 120%"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s}}\noutages: [{at: 1s, lasts: 1s}]", "either kind"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s}}\noutages: [{at: 1s, lasts: 1s, capacity: 10%}]",
         "server.capacity is not given"),
        ("version: 1\noperations: {a: {rate: 1/s, latency: 1s}}\nserver: {capacty: 5/s}", "did you mean capacity"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """File, line and column, and what is allowed."""
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_model(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_latencies_have_the_quantiles_that_they_say() -> None:
    """A number, a lognormal, percentiles (a lognormal through them, drawn on beyond), samples."""
    assert drawn(0.2)(0.9) == 0.2
    assert drawn(Latency(median=0.1, sigma=0.5))(0.5) == pytest.approx(0.1)
    assert drawn(Latency(median=0.1, sigma=0.5))(0.8413447) == pytest.approx(0.1 * math.exp(0.5), rel=1e-5)
    through = drawn(Latency(percentiles={"p50": 0.05, "p90": 0.1, "p99": 0.4}))
    assert [through(q) for q in (0.5, 0.9, 0.99)] == pytest.approx([0.05, 0.1, 0.4])
    assert 0.05 < through(0.7) < 0.1
    assert through(0.999) > 0.4
    assert through(0.1) < 0.05
    samples = drawn(Latency(samples=(3.0, 1.0, 2.0)))
    assert [samples(u) for u in (0.01, 0.5, 0.99)] == [1.0, 2.0, 3.0]


def test_every_fault_means_what_a_transport_would_make_of_it() -> None:
    """What never left is FAILED, what broke after sending UNKNOWN, a 429 THROTTLED with the pause it names."""
    kinds = {kind: classify(error_of(kind), OP).kind for kind in FAULTS}
    assert kinds["refused"] is Kind.FAILED
    assert kinds["throttled"] is Kind.THROTTLED
    assert kinds["rejected"] is Kind.REJECTED
    assert {kinds[kind] for kind in ("reset", "stale", "hang", "server_error", "bad_payload")} == {Kind.UNKNOWN}
    assert classify(error_of("throttled", 2.0), OP).retry_after == 2.0
    assert classify(ConnectionRefusedError(), OP).kind is Kind.FAILED


def test_arrivals_come_at_their_rate_and_more_of_them_in_a_surge() -> None:
    """At random moments, or evenly; the same for the same dice."""
    world = Modelled(model(seconds=100.0, surges=(Surge(at=50, lasts=10, times=3),)))
    found = world.arrivals(Dice(1))
    before = sum(arrival.at < 50 for arrival in found)
    surge = sum(50 <= arrival.at < 60 for arrival in found)
    assert before == pytest.approx(5_000, abs=300)
    assert surge == pytest.approx(3_000, abs=250)
    assert found == world.arrivals(Dice(1)) != world.arrivals(Dice(1, 1))
    even = Modelled(model(seconds=1.0, arrivals="steady")).arrivals(Dice(1))
    assert [arrival.at for arrival in even] == pytest.approx([0.005 + 0.01 * i for i in range(100)])


def test_the_dice_are_fair_and_the_same_in_any_order() -> None:
    """A number for each question, whoever asks first."""
    dice = Dice(5)
    thrown = [dice.throw(call, 1, 3) for call in range(20_000)]
    assert thrown == list(reversed([dice.throw(call, 1, 3) for call in reversed(range(20_000))]))
    assert sum(thrown) / len(thrown) == pytest.approx(0.5, abs=0.01)
    assert quantile_of(sorted(thrown), 0.9) == pytest.approx(0.9, abs=0.01)
    assert len({*thrown, *(dice.throw(call, 2, 3) for call in range(100))}) == 20_100


def test_the_queue_is_that_of_a_real_server() -> None:
    """Every wait is the one that a server which works off its queue, request by request, would make."""
    rate, longest = 10.0, 8
    target = Modelled(model(server=Server(capacity="10/s", queue=longest))).target(Dice(1))
    dice = random.Random(2)
    moments = []
    at = 0.0
    for _ in range(300):
        at += dice.expovariate(rate * 1.1)
        moments.append(at)
    ours = []
    for number, moment in enumerate(moments):
        answer = target.answer(OP, moment, number, 1, False)
        ours.append(None if answer.error else moment + answer.seconds)
    assert ours == pytest.approx(VirtualLoop().run(_served(rate, longest, moments)))
    assert None in ours


async def _served(rate: float, longest: int, moments: list[float]) -> list[float | None]:
    import asyncio

    server, loop = RealServer(rate, longest), asyncio.get_running_loop()

    async def one(moment: float) -> float | None:
        await asyncio.sleep(moment - loop.time())
        try:
            await server.send()
        except ConnectionRefusedError:
            return None
        return loop.time()

    return list(await asyncio.gather(*(one(moment) for moment in moments)))


def test_an_outage_takes_capacity_while_it_lasts() -> None:
    """What is in the queue when it begins goes on more slowly, and at full speed after it."""
    world = Modelled(model(server=Server(capacity="10/s"), outages=(Outage(at=1.0, lasts=2.0, capacity=0.1),)))
    target = world.target(Dice(1))
    waits = [target.answer(OP, 0.95, number, 1, False).seconds for number in range(4)]
    assert waits == pytest.approx([0.55, 1.55, 2.08, 2.18], abs=0.03)
    assert world.troubles == [(1.0, 3.0)]


def test_the_servers_limit_throttles_until_there_is_room() -> None:
    """The pause is exact unless the model names one; what was turned away does not count."""
    target = Modelled(model(server=Server(limit="2/1s"))).target(Dice(1))
    pauses = []
    for moment in (0.0, 0.4, 0.5, 0.9, 1.1):
        error = target.answer(OP, moment, 1, 1, False).error
        pauses.append(None if error is None else classify(error, OP).retry_after)
    assert pauses == [None, None, pytest.approx(0.5), pytest.approx(0.1), None]


def test_faults_come_at_their_rates_and_by_their_rules() -> None:
    """A refused request never leaves; a reset spares nothing, a stale connection spares who asks for a fresh one."""
    faults = (Fault("refused", 0.1), Fault("reset", 0.2), Fault("stale", 0.1, after=0.5), Fault("hang", 0.1))
    target = Modelled(model(faults=faults)).target(Dice(9))
    used = [target.answer(OP, 0.0, call, 1, False) for call in range(5_000)]
    fresh = [target.answer(OP, 0.0, call, 1, True) for call in range(5_000)]
    assert sum(not answer.sent for answer in used) / 5_000 == pytest.approx(0.1, abs=0.02)
    assert sum(answer.stale for answer in used) / 5_000 == pytest.approx(0.3, abs=0.03)
    assert sum(answer.seconds == 300.0 for answer in used) / 5_000 == pytest.approx(0.1, abs=0.02)
    assert not any(answer.stale for answer in fresh)
    assert sum(answer.error is not None for answer in fresh) / 5_000 == pytest.approx(0.4, abs=0.03)
    outage = Modelled(model(outages=(Outage(at=5, lasts=5, kind="refused", share=0.5),))).target(Dice(9))
    bad = [outage.answer(OP, 7.0, call, 1, False).error is not None for call in range(1_000)]
    assert sum(bad) == pytest.approx(500, abs=60)
    assert outage.answer(OP, 10.0, 1, 1, False).error is None
