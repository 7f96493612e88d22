"""The rules about orders: each fires where it should, not where it should not, and is told once, to the right line."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest

from resilience import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Coalesce,
    Deadline,
    Fallback,
    Hedge,
    Pipeline,
    PipelineWarning,
    Policy,
    Pool,
    RateLimit,
    Retry,
    Shed,
    Timeout,
)
from resilience.orders import RULES, check_order, new_findings

RETRY = Retry(on=OSError)
POOL = Pool(object, name="rest")
QUEUE = Bulkhead(3, queue=9)
CACHE, COALESCE, CHAOS = Cache(5), Coalesce(), Chaos(rate=0.1, fault=OSError)
ADAPTIVE = AdaptiveLimit(queue=4)


@dataclass(frozen=True)
class Twice(Policy):
    """Somebody's own repeating policy."""

    repeats = True


class Bare:
    """A policy all the same: one method is enough."""

    def bind(self, next: Any, kit: Any, /) -> Any:
        return next


@dataclass(frozen=True)
class Mine(Retry):
    """A retry all the same."""


WRONG = {
    "timeout-above-deadline": [
        ((Deadline(5), RETRY, Timeout(5)), 2),
        ((Deadline(5), Timeout(9)), 1),
        ((Deadline(5), Timeout(1, per_op={"ohlcv": 8})), 1),
        ((Deadline(5, per_op={"ticker": 1}), Timeout(2)), 1),
    ],
    "deadline-inside-retry": [((RETRY, Deadline(5)), 1), ((Hedge(1), Bulkhead(1), Deadline(5)), 2)],
    "retry-over-retry": [((RETRY, Timeout(1), Retry(attempts=2)), 0), ((Mine(on=OSError), RETRY), 0)],
    "hedge-outside-retry": [((Hedge(1), RETRY), 0)],
    "breaker-outside-retry": [
        ((Breaker(), RETRY), 0), ((Deadline(9), Breaker(), Hedge(1)), 1), ((Breaker(), Twice()), 0)
    ],
    "rate-limit-outside-retry": [((RateLimit("5/s"), RETRY), 0)],
    "pool-outside-retry": [((POOL, RETRY), 0)],
    "pool-outside-timeout": [((POOL, Timeout(1)), 0)],
    "bulkhead-inside-timeout": [((Timeout(1), QUEUE), 1), ((RETRY, Timeout(1), Breaker(), ADAPTIVE), 3)],
    "rate-limit-inside-timeout": [((Timeout(1), RateLimit("5/s")), 1), ((Timeout(1), RateLimit("5/s", max_wait=1)), 1)],
    "fallback-inside-retry": [((RETRY, Fallback(0)), 1)],
    "fallback-inside-breaker": [((Breaker(), Fallback(0)), 1)],
    "cache-inside-retry": [((RETRY, CACHE), 1)],
    "coalesce-inside-retry": [((RETRY, COALESCE), 1)],
    "chaos-not-innermost": [((CHAOS, Timeout(1)), 0), ((CHAOS, CHAOS, Breaker()), 0)],
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fires(rule: str) -> None:
    """And says which policy, why, and the cure, in one line."""
    for policies, position in WRONG[rule]:
        found = [finding for finding in check_order(policies) if finding.rule == rule]
        assert position in [finding.position for finding in found], policies
        for finding in found:
            assert "\n" not in finding.message
            assert ";" in finding.message  # what and why; the cure
            assert "  " not in finding.message


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fires_alone(rule: str) -> None:
    """One mistake is one finding (but for two rules that see the same pair, and for pairs that are two mistakes)."""
    for policies, _ in WRONG[rule][:1]:
        assert [finding.rule for finding in check_order(policies)] == [rule]
    assert len(check_order((Timeout(2), Timeout(1), QUEUE))) == 1


RIGHT = {
    "the canonical order": (
        Fallback(0), CACHE, COALESCE, Deadline(60), RETRY, Hedge(1), Shed(), Breaker(), RateLimit("5/s"), QUEUE,
        Timeout(5), CHAOS, POOL,
    ),
    "a retry that does not repeat": (RateLimit("1/s"), POOL, Retry(attempts=1), Fallback(0), Deadline(9)),
    "two retries, one of which does not repeat": (Retry(attempts=1), RETRY, Retry(attempts=1)),
    "limits that never wait": (Timeout(1), Bulkhead(3), AdaptiveLimit(), RateLimit("5/s", max_wait=0)),
    "time over the whole, queues in the attempts": (Timeout(60), RETRY, RateLimit("5/s"), QUEUE, Timeout(5)),
    "a timeout just shorter": (
        Deadline(5, per_op={"a": 2, "b": 9}), RETRY, Timeout(4.9, per_op={"a": 1, "b": 8.9})
    ),
    "a deadline beneath a timeout": (Timeout(9), Deadline(5)),
    "retry above hedge": (RETRY, Hedge(1)),
    "chaos above a pool": (Timeout(1), CHAOS, CHAOS, POOL),
    "policies of others": (Twice(), Breaker(), Bare(), Mine(attempts=1), Bare(), Timeout(1)),
    "nothing": (),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_order_is_silent(name: str) -> None:
    """No false alarm: whoever is warned of what is right stops reading warnings."""
    assert check_order(RIGHT[name]) == []


def test_messages_tell_the_numbers() -> None:
    """Which is how one sees at once what to change."""
    texts = {
        finding.rule: finding.message
        for finding in check_order(
            (Hedge(1, extra=2), Retry(attempts=3), Deadline(5), Retry(attempts=4), Timeout(7, per_op={"ohlcv": 8}))
        )
    }
    assert (
        "the timeout of ohlcv, 8 s, never comes: the deadline above it ends the whole call after 5 s"
        in texts["timeout-above-deadline"]
    )  # the last of two
    assert "3 attempts of 4 are up to 12 requests" in texts["retry-over-retry"]
    assert "up to 9 requests" in texts["hedge-outside-retry"]
    assert "Deadline beneath Retry" in texts["deadline-inside-retry"]


def told(record: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message).partition(":")[0] for warning in record]


def test_a_pipeline_warns_when_it_is_built() -> None:
    """At the line that builds it, with its name, and it is built all the same."""
    with pytest.warns(PipelineWarning) as record:
        pipeline = Pipeline(Breaker(), RETRY, name="market")
    assert str(record[0].message).startswith("breaker-outside-retry: pipeline 'market': Breaker above Retry sees")
    assert record[0].filename == __file__
    assert len(pipeline.policies) == 2
    with pytest.warns(PipelineWarning, match="^breaker-outside-retry: Breaker above"):
        Pipeline(Breaker(), RETRY)


def test_a_stack_of_decorators_warns_once_of_each_finding() -> None:
    """At the decorator that completes the pair; what joins outside warns of its own only."""
    with pytest.warns(PipelineWarning) as record:

        @Deadline(3)
        @Breaker()
        @Retry(on=OSError)
        @Timeout(4)
        async def fetch() -> None: ...

    assert told(record.list) == ["breaker-outside-retry", "timeout-above-deadline"]
    assert {warning.filename for warning in record} == {__file__}
    with pytest.warns(PipelineWarning) as record:

        @Retry(on=OSError)
        @Retry(on=OSError)
        @Retry(on=OSError)
        async def thrice() -> None: ...

    assert told(record.list) == ["retry-over-retry", "retry-over-retry"]


def test_joining_warns_of_what_it_joins() -> None:
    """Each half was told its own when it was built."""
    with pytest.warns(PipelineWarning):
        half = Pipeline(Breaker(), RETRY)
    with pytest.warns(PipelineWarning) as record:
        joined = Deadline(1) + (half + Timeout(2))
    assert told(record.list) == ["timeout-above-deadline"]
    assert len(joined.policies) == 4
    with pytest.warns(PipelineWarning) as record:
        half + half
    assert told(record.list) == ["retry-over-retry"]


def test_new_findings_are_counted_and_not_merely_known() -> None:
    """The same mistake made twice is told twice."""
    part = (Breaker(), RETRY)
    assert [f.rule for f in new_findings(part, ())] == ["breaker-outside-retry"]
    assert new_findings(part, (part,)) == []
    twice = (Breaker(), Breaker(), RETRY)
    assert [f.position for f in new_findings(twice, (part,))] == [1]


def test_a_rule_can_be_silenced_by_name() -> None:
    """And only that one."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "breaker-outside-retry", PipelineWarning)
        Pipeline(Breaker(), RETRY, name="p")
        Pipeline(Breaker(), RETRY, Deadline(1))
    assert told(record) == ["deadline-inside-retry"]


def test_names_of_rules_are_stable() -> None:
    """They stand in people's filters."""
    assert list(RULES) == [
        "timeout-above-deadline",
        "deadline-inside-retry",
        "retry-over-retry",
        "hedge-outside-retry",
        "breaker-outside-retry",
        "rate-limit-outside-retry",
        "pool-outside-retry",
        "pool-outside-timeout",
        "bulkhead-inside-timeout",
        "rate-limit-inside-timeout",
        "fallback-inside-retry",
        "fallback-inside-breaker",
        "cache-inside-retry",
        "coalesce-inside-retry",
        "chaos-not-innermost",
    ]
