"""The numbers of the analysis, one by one, where they can be reckoned in the head."""

from __future__ import annotations

import math

import pytest

from resilience import (
    Adaptive,
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Chaos,
    Coalesce,
    Deadline,
    Hedge,
    Op,
    Pool,
    RateLimit,
    Retry,
    RetryQuota,
    Shed,
    Timeout,
)
from resilience.analysis import ANY, Estimate, estimate, operations, pauses_of

READ, WRITE = Op("ticker", idempotent=True), Op("create_order")


def steady(attempts: int, **what: object) -> Retry:
    return Retry(attempts, wait=1.0, jitter="none", budget=None, **what)  # type: ignore[arg-type]


def worst(*policies: object, op: Op = READ) -> tuple[float, int]:
    case = estimate(policies, op).worst
    return case.latency, case.sends


def test_attempts_pauses_and_timeouts_add_up() -> None:
    """Three attempts of 5 s and two pauses of 1 s; each operation by its own time."""
    table = Timeout(5, per_op={"ohlcv": 8})
    assert worst(steady(3), table) == (17, 3)
    assert worst(steady(3), table, op=Op("ohlcv", idempotent=True)) == (26, 3)


def test_a_deadline_caps_the_time_and_the_requests() -> None:
    """The third attempt would begin at the very deadline, which is too late; by operation where it says so."""
    assert worst(Deadline(2), steady(4), Timeout(5)) == (2, 2)
    assert worst(Deadline(20, per_op={"ticker": 2}), steady(4), Timeout(5)) == (2, 2)
    said = estimate([Deadline(2), steady(4), Timeout(5)], READ)
    assert (said.uncapped, said.work) == (23, 23)


def test_max_duration_bounds_when_the_last_attempt_begins() -> None:
    """It begins after 2.5 s at the latest, and may then take its 5 s."""
    assert worst(steady(4, max_duration=2.5), Timeout(5)) == (7.5, 3)
    assert worst(steady(4, max_duration=0.5), Timeout(5)) == (5, 1)


@pytest.mark.parametrize(
    ("jitter", "least", "mean", "most"),
    [("none", 2, 2, 2), ("full", 0, 1, 2), ("equal", 1, 1.5, 2), ("additive", 2, 2.5, 3), ("decorrelated", 2, 4, 6)],
)
def test_what_each_jitter_makes_of_a_wait(jitter: str, least: float, mean: float, most: float) -> None:
    """The shortest, the mean and the longest pause."""
    assert pauses_of(Retry(2, wait=2.0, jitter=jitter))[0] == (least, mean, most)


def test_a_wait_that_is_code_is_not_run() -> None:
    """It lies between nothing and `max_wait`."""

    def wait() -> object:
        raise AssertionError("nobody's code is run by the analysis")

    assert pauses_of(Retry(3, wait=wait, max_wait=7))[1] == (0, 3.5, 7)  # type: ignore[arg-type]
    assert pauses_of(Retry(3, wait=1, jitter=lambda value: 1 / 0, max_wait=7))[1] == (0, 3.5, 7)


def test_waits_that_run_out_end_the_attempts() -> None:
    """Two waits are three attempts."""
    assert worst(Retry(9, wait={"constant": {"interval": [1, 2]}}, jitter="none"), Timeout(5)) == (18, 3)


def test_a_hedge_adds_its_delays_where_it_is_sent() -> None:
    """Only what may happen twice is hedged, and only while an attempt is under way."""
    assert worst(Hedge(1, extra=2), Timeout(5)) == (7, 3)
    assert worst(Hedge(1, extra=2), Timeout(5), op=WRITE) == (5, 1)
    assert worst(Hedge(6), Timeout(5)) == (5, 1)
    assert worst(Hedge("p95"), Timeout(5)) == (10, 2)  # the delay may become what an attempt takes


def test_nested_retries_multiply_only_where_they_are_told_to() -> None:
    """What a retry beneath has given up on is not repeated, unless the outer one decides alone or sees another."""
    assert worst(steady(3), steady(2), Timeout(5)) == (11, 2)
    assert worst(steady(3, nested=True), steady(2), Timeout(5)) == (35, 6)
    assert worst(steady(3, on=OSError), steady(2), Timeout(5)) == (35, 6)
    assert worst(steady(3), Timeout(4), steady(2), Timeout(5)) == (14, 6)


def test_waits_in_queues_are_bounded_by_what_is_stated_or_by_the_queue_itself() -> None:
    """Six wait for four places that are held for 5 s at most: the last is in after the second round."""
    assert worst(Bulkhead(4, queue=6), Timeout(5)) == (15, 1)
    assert worst(Bulkhead(4, queue=6, max_wait=3), Timeout(5)) == (8, 1)
    assert worst(Bulkhead(4), Timeout(5)) == (5, 1)
    assert worst(AdaptiveLimit(least=2, queue=6), Timeout(5)) == (20, 1)
    assert worst(RateLimit("10/s", max_wait=2), Timeout(5)) == (7, 1)
    assert math.isinf(worst(Bulkhead(4, queue=6, order="lifo"), Timeout(5))[0])


def test_a_place_is_held_for_as_long_as_the_slowest_operation_takes() -> None:
    """Whoever waits, waits for the others; unless each operation has places of its own."""
    table = Timeout(5, per_op={"ohlcv": 8})
    assert worst(Bulkhead(1, queue=1), table) == (13, 1)
    assert worst(Bulkhead(1, queue=1, key="op"), table) == (10, 1)


def test_what_has_no_bound_says_why() -> None:
    """Each reason by itself."""
    said = estimate([Retry(3), RateLimit("10/s")], READ)
    assert math.isinf(said.worst.latency)
    assert said.unbounded == (
        "no timeout on an attempt, and no deadline",
        "no max_wait on rate_limit, and no deadline above it",
    )
    assert estimate([RateLimit("10/s"), Timeout(5)], READ).unbounded == said.unbounded[1:]
    assert estimate([Pool(list, name="rest")], READ).unbounded[1] == "no max_wait on pool, and no deadline above it"


def test_adaptive_timeouts_count_with_their_ceiling() -> None:
    """Or with the cold start value where there is none."""
    assert worst(Timeout(2, adaptive=Adaptive(ceiling=9)))[0] == 9
    assert worst(Timeout(2, adaptive=Adaptive()))[0] == 2


def test_a_shared_flight_has_no_deadline_but_each_caller_has() -> None:
    """Those who wait for it go at their own deadline; without one, with the flight."""
    assert worst(Deadline(3), Coalesce(), steady(3), Timeout(5)) == (3, 3)
    assert worst(Coalesce(), Deadline(4), Timeout(5)) == (4, 1)


def test_chaos_counts_while_it_is_on() -> None:
    """And for the operations that it strikes."""
    assert worst(Timeout(5), Chaos(rate=1, latency=9, enabled=True)) == (5, 1)
    assert worst(Chaos(rate=1, latency=9, enabled=True), Timeout(5)) == (14, 1)
    assert worst(Chaos(rate=1, latency=9, enabled=True, ops=("else",)), Timeout(5)) == (5, 1)
    assert worst(Chaos(rate=1, latency=9), Timeout(5)) == (5, 1)


def test_what_stands_apart_from_the_worst_case() -> None:
    """A transparent retry, once a call; and the pauses that a server orders, each a tenth longer at most."""
    said = estimate([steady(3), Timeout(5)], READ)
    assert (said.transparent, said.ordered) == (1, pytest.approx(15 + 2 * 33))
    assert estimate([steady(3), Timeout(5)], WRITE).transparent == 0
    assert estimate([Timeout(5)], READ).ordered is None


def test_the_operations_are_those_that_somebody_names() -> None:
    """In tables and by whoever knows them, and all others."""
    policies = [Deadline(9, per_op={"a": 1}), RateLimit("9/s", key="op", per_op={"b": "1/s"}), Timeout(5)]
    assert [op.name for op in operations(policies, [WRITE])] == ["*", "create_order", "a", "b"]
    assert operations([])[0] is ANY


def course(said: Estimate) -> list[tuple[str, float, float]]:
    return [(step.kind, step.start, step.end) for step in said.timeline]


def test_the_course_of_a_failing_call() -> None:
    """Attempts, pauses, and the attempt that the deadline cuts short; the last step says what is not made."""
    said = estimate([Deadline(13), steady(4), Timeout(5)], READ)
    assert course(said) == [
        ("attempt", 0, 5),
        ("pause", 5, 6),
        ("attempt", 6, 11),
        ("pause", 11, 12),
        ("attempt", 12, 13),
        ("end", 13, 13),
    ]
    assert [step.note for step in said.timeline][::2] == ["timeout", "timeout", "deadline"]
    assert said.timeline[-1].note == (
        "the call fails after 13 s and 3 requests; attempt 4 would begin after the deadline, so it is not made"
    )
    hedged = estimate([Hedge(1, extra=2), Timeout(5)], READ)
    assert course(hedged) == [("attempt", 0, 5), ("hedge", 1, 6), ("hedge", 2, 7), ("end", 7, 7)]
    outside = estimate([Timeout(8), steady(4), Timeout(5)], READ)
    assert course(outside) == [("attempt", 0, 5), ("pause", 5, 6), ("attempt", 6, 8), ("end", 8, 8)]
    endless = estimate([steady(2)], READ)
    assert course(endless) == [("attempt", 0, math.inf), ("end", math.inf, math.inf)]


def test_the_load_by_the_share_that_fails() -> None:
    """Errors multiply with retries, silence with hedges too; the budget bounds both, a quota runs dry."""
    policies = [Retry(3), Hedge(1), Breaker(), Timeout(5)]
    at = {one.share: one for one in estimate(policies, READ).load}
    assert (at[0.0].errors, at[0.0].silence, at[0.0].budgeted) == (1, 1, 1)
    assert at[0.5].errors == pytest.approx(1 + 0.5 + 0.25)
    assert at[0.5].silence == pytest.approx(1.5 * (1 + 0.25 + 0.0625))
    assert (at[1.0].errors, at[1.0].silence, at[1.0].budgeted) == (3, 6, pytest.approx(1.2))
    assert [at[share].opens for share in (0.1, 0.5)] == [False, True]
    assert estimate([Retry(3, budget=RetryQuota())], READ).load[-1].budgeted == 1
    assert estimate([Retry(3, budget=None), Timeout(5)], READ).load[-1].budgeted == 3
    assert estimate([Shed(), Timeout(5)], READ).load[-1].shed == pytest.approx(0.1)


def test_a_silent_write_is_not_repeated() -> None:
    """Nobody knows whether it was executed; an error that came at once says that it was not."""
    silent = estimate([Retry(3), Timeout(5)], WRITE).load[-1]
    assert (silent.errors, silent.silence) == (3, 1)
