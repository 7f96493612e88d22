"""A TimedOut was an OSError whose errno were the seconds granted: after one second, EPERM."""

from __future__ import annotations

import pickle

from resilience import TimedOut


def test_a_timeout_of_ours_has_no_errno() -> None:
    """It is a `TimeoutError` for those who catch that one, and no answer of the operating system."""
    error = TimedOut(1, limit="deadline", sent=True)
    assert isinstance(error, TimeoutError)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)


def test_it_holds_the_seconds_that_were_granted() -> None:
    """As its argument, which is what a log shows of it by `repr`; all the rest in fields, through pickle too."""
    error = TimedOut(1.5, limit="deadline", sent=True)
    assert error.args == (1.5,)
    assert repr(error) == "TimedOut(1.5)"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert (again.seconds, again.limit, again.sent, again.args) == (1.5, "deadline", True, (1.5,))
