"""Recorded traffic as the world: what was recorded is predicted, and other candidates meet the same days."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_market import Market, as_json, lognormal
from traces import attempt, call

from resilience import Deadline, Retry, Timeout
from resilience.recorded import Recording, read_traces
from resilience.recorded.calls import recording_of
from resilience.whatif import Candidate, Replay, compare
from resilience.whatif.dice import Dice
from resilience.whatif.measure import quantile_of

POLICIES = [Deadline(10), Retry(attempts=2, wait=0.1, budget=None), Timeout(0.5)]
MARKET = {"ticker": lognormal(0.05, 0.5), "ohlcv": lognormal(0.15, 0.3)}


@pytest.fixture(scope="module")
def whole() -> Recording:
    return recording_of(Market(MARKET, resets=0.05, hangs=0.02).record(POLICIES, 800))


def share_of(recording: Recording) -> float:
    return sum(each.outcome == "ok" for each in recording.calls) / len(recording.calls)


def test_the_recorded_configuration_is_predicted(whole: Recording) -> None:
    """Its share of successes and its p99 lie in the interval of one run."""
    (result,) = compare([Candidate("same", POLICIES)], Replay(whole), replications=5, confidence=0.99).results
    p99 = quantile_of(sorted(each.seconds for each in whole.calls if each.outcome == "ok"), 0.99)
    assert p99 is not None
    figure = result.latency["p99"]
    assert figure is not None
    assert result.success.one_run.low <= share_of(whole) <= result.success.one_run.high
    assert figure.one_run.low <= p99 <= figure.one_run.high
    assert figure.one_run.high < 1.5 * figure.one_run.low


def test_what_was_sampled_is_as_many_again() -> None:
    """Traces that keep one clean call in ten predict the same as all of them, and the same number of calls."""
    sampled = recording_of(Market(MARKET, resets=0.05, hangs=0.02).record(POLICIES, 1_200, traces="tail", sample=0.1))
    assert len(sampled.calls) < 1_000
    world = Replay(sampled)
    assert len(world.arrivals(Dice(1))) == pytest.approx(2_400, rel=0.15)
    (result,) = compare([Candidate("same", POLICIES)], world, replications=2, confidence=0.99).results
    assert result.success.mean.value == pytest.approx(0.995, abs=0.004)


def test_a_longer_timeout_does_not_wake_the_dead(whole: Recording) -> None:
    """What hung, hangs: a candidate that waits longer only waits longer. A third attempt saves calls."""
    patient = Candidate("patient", [Retry(attempts=2, wait=0.1, budget=None), Timeout(5)])
    third = Candidate("third", [Retry(attempts=4, wait=0.1, budget=None), Timeout(0.5)])
    first, second = compare([patient, third], Replay(whole), replications=2).results
    slow, quick = first.latency["p99"], second.latency["p99"]
    assert slow is not None
    assert quick is not None
    assert slow.mean.value > 4 > 1 > quick.mean.value
    assert second.success.mean.value > first.success.mean.value - 0.001


def test_a_bad_minute_stays_where_it_was() -> None:
    """Attempts are drawn from those near in time: an outage is found, and recovery from it is measured."""
    spans = []
    for number in range(1, 1_201):
        at = number * 20  # milliseconds
        bad = 8_000 <= at < 14_000
        said = {"attempt__outcome": "failed", "error__type": "connect_refused", "attempt__sent": False} if bad else {}
        spans.append(attempt(number, 2, begins=at, ends=at + 10, **said))
        outcome = {"outcome": "failed", "error__type": "connect_refused"} if bad else {}
        spans.append(call(number, begins=at, ends=at + 10, **outcome))
    world = Replay(recording_of(spans))
    (trouble,) = world.troubles
    assert trouble == (pytest.approx(8, abs=1), pytest.approx(14, abs=1))
    (result,) = compare([Candidate("once", [Timeout(1)])], world, replications=2).results
    assert result.success.mean.value == pytest.approx(0.75, abs=0.02)
    assert result.recovery is not None
    assert result.recovery <= 1


def test_a_write_is_not_repeated_after_an_unknown_outcome(whole: Recording) -> None:
    """Operations named as writes are not idempotent, so a reset ends their call."""
    once = Candidate("retry", [Retry(attempts=3, wait=0.1, budget=None), Timeout(0.5)])
    (reads,) = compare([once], Replay(whole), replications=2).results
    (writes,) = compare([once], Replay(whole, ["ticker", "ohlcv"]), replications=2).results
    assert writes.load.mean.value == 1.0 < reads.load.mean.value
    assert set(writes.failed) <= {"reset", "timeout", "disconnected"}


def test_a_file_can_be_cut_short(whole: Recording, tmp_path: Path) -> None:
    """The first seconds of it; and what comes from a file is the same as what was recorded."""
    market = Market({"a": lognormal(0.05, 0.2)}, rate=20)
    recording = read_traces(as_json(market.record(POLICIES, 100), tmp_path / "a.json"))
    part = Replay(recording, seconds=2.0)
    assert 0 < len(part.arrivals(Dice(1))) < len(Replay(recording).arrivals(Dice(1))) == 100
    assert part.source.startswith("100 recorded calls of ")


def test_calls_that_never_reached_anybody_are_left_out_and_said() -> None:
    """Refused by an open circuit throughout: nothing is known of what the target would have done."""
    refused = {"attempt__outcome": "refused", "attempt__sent": False, "error__type": "circuit_open"}
    spans = [attempt(1, 2), call(1), attempt(2, 2, op="ohlcv", **refused), call(2, op="ohlcv", outcome="refused")]
    world = Replay(recording_of(spans))
    assert "without ohlcv" in world.source
    assert [arrival.op.name for arrival in world.arrivals(Dice(1))] == ["ticker"]
