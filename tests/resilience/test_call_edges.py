"""The records of a call at their edges: what stands for it later, and whether it may go again at once."""

from __future__ import annotations

import pytest

from resilience import Op
from resilience.call import Attempt, Call, Mark
from resilience.testing import Script


def test_one_mark_stands_for_an_attempt() -> None:
    """Whoever asks gets the same, so that all that refers to the call refers to one thing."""
    attempt = Attempt()
    mark = attempt.mark()
    assert type(mark) is Mark
    assert attempt.mark() is attempt.marked is mark


@pytest.mark.parametrize(
    ("idempotent", "attempts", "may"),
    [
        (True, [(True, False)], True),
        (True, [(False, False), (True, False)], True),  # the first that was reset, whatever else there was
        (True, [(False, False)], False),
        (False, [(True, False)], False),  # an order is not sent twice
        (True, [(True, False), (True, True)], False),  # it has gone again already
        (True, [(True, False), (False, True), (True, False)], False),
    ],
)
def test_a_call_may_go_again_at_once_after_its_first_stale_connection(
    idempotent: bool, attempts: list[tuple[bool, bool]], may: bool
) -> None:
    """Where it may happen twice, and not on the connection that was fresh for its sake."""
    call = Call(Op("op", idempotent=idempotent), Script())
    for number, (stale, fresh) in enumerate(attempts):
        attempt = call.renew("retry") if number else call.attempt
        assert len(call.attempts) == number + 1
        attempt.stale, attempt.fresh = stale, fresh
    assert call.may_go_again is may
