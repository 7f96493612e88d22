"""A stream that is opened again for months: what is remembered of the attempts that its history has forgotten."""

from __future__ import annotations

from resilience.call import Attempt
from resilience.streams.reopened import _REMEMBERED, _forget


def attempts(count: int) -> list[Attempt]:
    """Every second one was sent; each waited a second in a queue and two in a limiter, and has another number noted."""
    made = []
    for number in range(1, count + 1):
        attempt = Attempt()
        attempt.number, attempt.sent = number, number % 2 == 1
        attempt.notes.update({"wait.queue": 1.0, "wait.limiter": 2.0, "budget.balance": 98})
        made.append(attempt)
    return made


def test_a_history_that_is_short_enough_is_left_alone() -> None:
    """Nothing is added up where nothing is forgotten."""
    history = attempts(_REMEMBERED)
    _forget(history)
    assert len(history) == _REMEMBERED
    assert history[0].before is None


def test_what_is_forgotten_is_added_up_on_the_oldest_that_is_left() -> None:
    """How many of them were sent, and how long they waited for what; nothing else."""
    history = attempts(_REMEMBERED + 3)
    _forget(history)
    assert [attempt.number for attempt in history[:2]] == [4, 5]
    assert history[0].before == (2, {"wait.queue": 3.0, "wait.limiter": 6.0})
    assert history[1].before is None


def test_what_was_added_up_before_is_not_lost() -> None:
    """One attempt is forgotten at a time, for months; one without notes too."""
    history = attempts(_REMEMBERED)
    for _ in range(5):
        history.append(Attempt())
        _forget(history)
    assert history[0].before == (3, {"wait.queue": 5.0, "wait.limiter": 10.0})
    for _ in range(_REMEMBERED):
        history.append(Attempt())
        _forget(history)
    assert history[0].before == (16, {"wait.queue": 32.0, "wait.limiter": 64.0})
