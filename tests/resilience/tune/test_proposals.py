"""What is proposed, and what is refused in words: against a market whose latencies are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from recorded_market import Market, as_json, as_store, lognormal
from traces import attempt, call

from resilience import Bulkhead, Deadline, RateLimit, Retry, Timeout
from resilience.dashboard.rows import Span
from resilience.estimates import Curve, Sample
from resilience.recorded import Recording, read_traces
from resilience.recorded.calls import recording_of
from resilience.tune.hedges import hedge_for, hedged_quantile
from resilience.tune.proposal import time_text, up
from resilience.tune.propose import tune
from resilience.tune.rates import rate_for
from resilience.tune.retries import attempts_for
from resilience.tune.sizes import busiest, places_for, places_needed
from resilience.tune.timeouts import timeout_for

POLICIES = [Deadline(20), Retry(attempts=3), Timeout(2)]
TEXT = "version: 1\npipelines:\n  market:\n    - deadline: 20s\n    - retry: {attempts: 3}\n    - timeout: 2s\n"
MARKET = {"ticker": lognormal(0.05, 0.5), "ohlcv": lognormal(0.2, 0.4)}
P99 = {"ticker": 0.05 * math.exp(0.5 * 2.326348), "ohlcv": 0.2 * math.exp(0.4 * 2.326348)}


def proposed(recording: Recording, text: str = TEXT, **more: Any) -> dict[str, str | None]:
    (proposals,) = tune("c.yaml", text, recording, **more).proposals.values()
    return {".".join((p.policy, *p.path)): p.value for p in proposals}


def seconds(text: str | None) -> float:
    assert text is not None
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    """With resets, which end attempts early, and hangs, which are cut off at the timeout of two seconds."""
    return Market(MARKET, resets=0.01, hangs=0.003).record(POLICIES, 2_500)


@pytest.mark.parametrize("write", [as_store, as_json])
def test_timeouts_are_within_a_tenth_of_the_right_quantile(spans: list[Span], tmp_path: Path, write: Any) -> None:
    """From the dashboard's store and from OTLP JSON."""
    found = proposed(read_traces(write(spans, tmp_path / "traces")))
    for op, right in P99.items():
        assert seconds(found[f"timeout.per_op.{op}"]) == pytest.approx(right, rel=0.10)


def test_timeouts_are_right_where_the_old_one_cut_answers_off() -> None:
    """Recorded under a timeout at p99.5: what was cut counts as longer, so p99 is still known, and p99.9 is refused."""
    tight = Timeout(0.2 * math.exp(0.4 * 2.5758))
    recording = recording_of(Market({"ohlcv": MARKET["ohlcv"]}).record([Retry(attempts=2), tight], 4_000))
    (p99, p999) = (timeout_for("ohlcv", recording.calls, q, 0.95, 9.0, None) for q in (0.99, 0.999))
    assert seconds(p99.value) == pytest.approx(P99["ohlcv"], rel=0.10)
    assert p999.value is None
    assert "p99.9 is not known" in p999.evidence
    assert "--quantile" in p999.evidence


def test_timeouts_are_right_where_clean_calls_were_sampled() -> None:
    """Tail sampling keeps every slow call and one clean one in ten; unweighted, everything would look slow."""
    sampled = recording_of(Market(MARKET, resets=0.01).record(POLICIES, 5_000, traces="tail", sample=0.25))
    assert len(sampled.calls) < 4_000
    found = proposed(sampled)
    for op, right in P99.items():
        assert seconds(found[f"timeout.per_op.{op}"]) == pytest.approx(right, rel=0.10)


def of(samples: Sequence[tuple[float, bool]], cut: str = "timeout") -> list[Any]:
    """Calls of one attempt each: so many seconds, answered or cut off."""
    spans = []
    for number, (length, answered) in enumerate(samples, 1):
        said = {} if answered else {"attempt__outcome": "unknown", "error__type": cut}
        spans += [attempt(number, 2, ends=length * 1000, **said), call(number, ends=length * 1000)]
    return list(recording_of(spans).calls)


def test_too_few_answers_propose_nothing() -> None:
    """The sample size and the one that is needed are said."""
    found = timeout_for("a", of([(0.1 + i / 1000, True) for i in range(100)]), 0.99, 0.95, 2.0, None)
    assert found.value is None
    assert found.evidence == "100 answers were recorded; p99 with bounds on both sides needs 368."


def test_a_wide_interval_proposes_nothing() -> None:
    """A tail that jumps from a tenth of a second to one."""
    found = timeout_for("a", of([(0.1, True)] * 395 + [(1.0, True)] * 5), 0.99, 0.95, 2.0, None)
    assert found.value is None
    assert "that is no knowledge" in found.evidence


def test_a_timeout_above_the_deadline_is_not_proposed() -> None:
    """It would never come; the words say what to raise."""
    calls = of([(1.0 + i / 5_000, True) for i in range(1_000)])
    found = timeout_for("a", calls, 0.99, 0.95, 0.5, 1.1)
    assert found.value is None
    assert "deadline of 1.1 s" in found.evidence


def test_a_timeout_that_is_right_stays() -> None:
    """It lies within the interval already."""
    calls = of([(1.0 + i / 5_000, True) for i in range(1_000)])
    assert timeout_for("a", calls, 0.99, 0.95, 1.198, None).value is None
    assert timeout_for("a", calls, 0.99, 0.95, 1.5, None).value == "1200ms"


def test_hangs_are_told_apart_from_slow_answers() -> None:
    """Cut off at twice the slowest answer: left out, and said. Cut off earlier, they may have been slow answers."""
    answers = [(0.1 + i / 10_000, True) for i in range(970)]
    far = timeout_for("a", of(answers + [(2.0, False)] * 30), 0.99, 0.95, 2.0, None)
    near = timeout_for("a", of(answers + [(0.25, False)] * 30), 0.99, 0.95, 0.25, None)
    assert far.value is not None
    assert "3.00% that hung" in far.evidence
    assert near.value is None


def test_numbers_are_rounded_up_and_written_as_yaml_spells_them() -> None:
    """At most a percent up, in milliseconds below ten seconds."""
    assert [time_text(up(x)) for x in (0.8064, 0.0505, 1.2341, 12.34, 2.0)] == [
        "807ms",
        "50.5ms",
        "1240ms",
        "12.4s",
        "2s",
    ]


def retried(*outcomes: Sequence[bool]) -> list[Any]:
    """Calls by the outcomes of their attempts."""
    spans: list[Span] = []
    for number, attempts in enumerate(outcomes, 1):
        for at, good in enumerate(attempts, 1):
            said = {} if good else {"attempt__outcome": "failed", "error__type": "reset"}
            spans.append(attempt(number, at + 1, begins=at * 10, ends=at * 10 + 5, at=at, **said))
        spans.append(call(number, outcome="ok" if attempts[-1] else "failed", ends=100, attempts=len(attempts)))
    return list(recording_of(spans).calls)


def test_an_attempt_that_never_helps_is_taken_away() -> None:
    """The third is answered in none of a hundred."""
    calls = retried(*[[True]] * 1_000, *[[False, True]] * 100, *[[False] * 3] * 100)
    found = attempts_for(calls, 3, 0.95, None, None)
    assert found.value == "2"
    assert "attempt 3 was made 100 times" in found.evidence


def test_one_more_attempt_is_proposed_where_it_pays_and_fits() -> None:
    """The second is answered in half of the cases, and many calls fail after it; under a short deadline it stays."""
    calls = retried(*[[True]] * 500, *[[False, True]] * 100, *[[False, False]] * 100)
    assert attempts_for(calls, 2, 0.95, 1.0, 10.0).value == "3"
    late = attempts_for(calls, 2, 0.95, 4.0, 10.0)
    assert late.value is None
    assert "do not fit into the deadline of 10 s" in late.evidence


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (retried(*[[True]] * 10), "No call was retried"),
        (retried(*[[False, True]] * 10), "too few to judge by"),
        (retried(*[[True]] * 900, *[[False, True]] * 100), "one more is not needed"),
    ],
)
def test_otherwise_the_number_of_attempts_stays(calls: list[Any], said: str) -> None:
    """And it is said why."""
    found = attempts_for(calls, 2, 0.95, None, None)
    assert found.value is None
    assert said in found.evidence


def test_the_hedged_quantile_is_that_of_two_requests() -> None:
    """Of 1 s with a chance of 10 %, else 0.1 s: hedged at 0.1 s, the 99th is 0.2 s."""
    curve = Curve([*[Sample(0.1, True)] * 900, *[Sample(1.0, True)] * 100])
    assert hedged_quantile(curve, 0.98, 0.1) == pytest.approx(0.2, abs=1e-3)
    assert hedged_quantile(curve, 0.995, 0.1) == pytest.approx(1.0, abs=1e-3)


def test_a_hedge_is_proposed_where_it_pays() -> None:
    """Where 2 % of requests take twenty times as long; not where a tail is thin, not where nobody knows."""
    slow = {"a": of([(0.1 + i / 1e5, True) for i in range(980)] + [(2.0, True)] * 20)}
    assert (hedge_for(slow, "", 0.95).value, hedge_for(slow, "", 0.95).new) == ("p98", True)
    assert hedge_for(slow, "p98", 0.95).value is None
    thin = {"a": of([(0.1 + i / 1e5, True) for i in range(1_000)])}
    assert "it does not pay" in hedge_for(thin, "", 0.95).evidence
    assert "is known" in hedge_for({"a": of([(0.1, True)] * 5)}, "", 0.95).evidence


def test_littles_law_counts_what_is_under_way() -> None:
    """A hundred calls a second of 50 ms are five at once, wherever the ten seconds begin."""
    spans: list[Span] = []
    for number in range(1, 2_001):
        at = number * 10.0
        spans += [attempt(number, 2, begins=at, ends=at + 50), call(number, begins=at, ends=at + 50)]
    calls = recording_of(spans).calls
    assert busiest(calls) == pytest.approx(5.0, rel=0.02)
    assert places_needed(5.0) == 12
    assert places_for(calls, 3).value == str(places_needed(busiest(calls)))
    assert places_for(calls, 20).value is None
    assert places_for(calls, 500).value == str(2 * places_needed(busiest(calls)))
    assert places_for(calls[:50], 3).value is None


def test_the_rate_is_found_from_when_it_throttled() -> None:
    """A market that throttles beyond 40 a second: a tenth below is proposed; a limit that is lower already stays."""
    market = Market({"a": lognormal(0.02, 0.1)}, rate=60, busy=40)
    calls = recording_of(market.record([Retry(attempts=2), RateLimit("500/1s"), Timeout(2)], 800)).calls
    found = rate_for(calls, "500/1s")
    assert found.value is not None
    count, _, window = found.value.partition("/")
    assert (window, int(count)) == ("1s", pytest.approx(36, abs=5))
    assert "another one" in rate_for(calls, "10/1s").evidence
    calm = recording_of(Market({"a": lognormal(0.02, 0.1)}).record([Timeout(2)], 100)).calls
    assert "nothing to change" in rate_for(calm, "500/1s").evidence


def test_a_pipeline_that_was_not_recorded_is_an_error(spans: list[Span]) -> None:
    """The recorded names are told; the only one in the file and in the recording is taken for the same."""
    from resilience import ConfigError

    recording = recording_of(spans[:2_000])
    other = TEXT.replace("market:", "other:")
    assert proposed(recording, other)
    two = f"{other}  more: [timeout: 1s]\n"
    with pytest.raises(ConfigError, match="recorded pipelines: 'market'"):
        tune("c.yaml", two, recording)
    with pytest.raises(ConfigError, match="no pipeline is named 'x'"):
        tune("c.yaml", two, recording, pipeline="x")


def test_the_bulkhead_of_a_key_is_left_alone() -> None:
    """What is under way for each key is not recorded."""
    spans = Market(MARKET).record([Bulkhead(50, key="host"), Timeout(2)], 100)
    text = "version: 1\npipelines:\n  market:\n    - bulkhead: {limit: 50, key: host}\n    - timeout: 2s\n"
    assert not [name for name in proposed(recording_of(spans), text) if name.startswith("bulkhead")]
