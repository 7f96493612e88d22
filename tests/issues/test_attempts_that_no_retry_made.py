"""`tune` took hedges and transparent retries for attempts of the retry, and proposed more that nobody would make."""

from __future__ import annotations

from resilience.recorded import Attempt, Call
from resilience.tune.retries import attempts_for, tally


def attempt(number: int, outcome: str, kind: str = "original", *, stale: bool = False) -> Attempt:
    error = "" if outcome == "ok" else "reset"
    return Attempt(number, kind, 0.0, 0.1, outcome, error, True, 0.0, None, None, stale)


def calls(count: int, *attempts: Attempt) -> list[Call]:
    return [Call("ticker", "market", 0.0, 0.3, attempts[-1].outcome, "", 1.0, attempts)] * count


GOOD = calls(900, attempt(1, "ok"))
HELPED = calls(60, attempt(1, "failed"), attempt(2, "ok", "retry"))


def test_a_call_that_failed_with_its_hedge_was_not_retried() -> None:
    """So one attempt more would not have been made for it either."""
    hedged = calls(40, attempt(1, "unknown"), attempt(2, "unknown", "hedge"))
    found = attempts_for([*GOOD, *HELPED, *hedged], 2, 0.95, None, None)
    assert found.value is None
    assert "0.00% of calls fail after the last" in found.evidence


def test_a_transparent_retry_is_no_attempt() -> None:
    """It costs none, whatever `attempts` says: what is sent again at once counts as one with what came back."""
    stale = calls(100, attempt(1, "unknown", stale=True), attempt(2, "ok", "retry"))
    assert [(one.number, one.seen) for one in tally([*GOOD, *stale])] == [(1, 1000)]
    assert "No call was retried" in attempts_for([*GOOD, *stale], 2, 0.95, None, None).evidence
