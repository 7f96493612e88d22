"""``attempts: 1000000000`` kept `check` busy for an hour, and a long course was said to end where the list did."""

from __future__ import annotations

import time

import pytest

from resilience import Deadline, Hedge, Op, Retry, Timeout
from resilience.analysis import estimate, latency, worst_latency
from resilience.analysis.latency import Terms
from resilience.lint import lint

TERMS = Terms(Op("*", idempotent=True))


@pytest.mark.parametrize(
    "policies",
    [
        [Retry(10**9), Timeout(1)],
        [Deadline(1), Retry(10**9, wait=0), Timeout(0.001)],
        [Deadline(60), Retry(10**9, wait=0.001, jitter=None), Timeout(1)],
        [Retry(10**9, max_duration=3600), Timeout(1)],
    ],
)
def test_any_number_of_attempts_is_judged_at_once(policies: list[Retry]) -> None:
    """Within a second, as every file is."""
    begun = time.process_time()
    lint(policies)
    estimate(policies)
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    "policies",
    [
        [Retry(1700), Timeout(1)],
        [Retry(1700, jitter="equal"), Timeout(1)],
        [Retry(1700, wait=0.01, jitter=None, max_duration=3600), Timeout(1)],
        [Deadline(1600), Retry(1700, wait=0, jitter=None), Timeout(1)],
        [Deadline(1000000), Retry(1700), Timeout(1)],
    ],
)
def test_what_is_not_looked_at_one_by_one_adds_up_to_the_same(
    policies: list[Retry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closed form is the sum."""
    quick = worst_latency(policies, TERMS)
    monkeypatch.setattr(latency, "_MOST", 10**6)
    assert quick == pytest.approx(worst_latency(policies, TERMS))


def test_a_course_that_is_cut_short_says_so() -> None:
    """It does not claim that the call ends there, nor does the table of loads count by it."""
    for policies, sends in (([Retry(150, budget=None), Timeout(1)], 150), ([Hedge(0, extra=300), Timeout(1)], 301)):
        said = estimate(policies)
        assert said.timeline[-1].note == "the call goes on, and sends more: these are its first 200 steps"
        assert said.load[-1].silence == sends
    whole = estimate([Retry(50), Timeout(1)])
    assert whole.timeline[-1].note.endswith("and 50 requests")
    assert whole.load[-1].silence == 50
