"""The arithmetic of a rate limit at its edges: the very moment, the last token, the order of the log."""

from __future__ import annotations

import math

import pytest

from resilience.limiting.limiter import Limiter
from resilience.limiting.past import Past


def test_twenty_a_window_are_not_paced() -> None:
    """Up to twenty tokens leave at once, window after window; the 21st has to wait for its pace."""
    limiter, now = Limiter(20, 1), 0.0
    for _ in range(60):
        now = limiter.earliest(20, now)
        assert [limiter.take(1, now) for _ in range(20)] == [True] * 20
    paced = Limiter(21, 1)
    assert [paced.take(1, 0.0) for _ in range(21)] == [True] * 20 + [False]


def test_the_rest_of_a_token_is_allotted_too() -> None:
    """What is left of a small limit is drawn without asking, down to nothing."""
    limiter = Limiter(2, 1)
    assert limiter.take(1.5, 0)
    assert (limiter.left, limiter.until) == (pytest.approx(0.5), 0.002)


def test_the_log_stays_short_where_nobody_asks() -> None:
    """A crowd that always waits is only planned and committed: what is back leaves the log all the same."""
    limiter, now = Limiter(10, 1), 0.0
    for _ in range(500):
        now = limiter.earliest(1, now)
        limiter.commit(1, now)
        assert len(limiter._log) <= 10


def test_what_is_back_makes_room_in_that_very_moment() -> None:
    """In the log as in the count, and then nothing that happened matters any more."""
    limiter = Limiter(1, 1)
    limiter.commit(1, 0)
    back = limiter.earliest(1, 0)
    assert (limiter.used(back), limiter.idle(back)) == (0, True)
    limiter.commit(1, back)
    assert len(limiter._log) == 1


def test_an_entry_ends_with_its_seal() -> None:
    """What is sent in the moment of the seal is counted in the next entry, by its own time."""
    limiter = Limiter(10, 1)
    limiter.commit(1, 0.0)
    limiter.commit(1, 0.0019)
    limiter.commit(1, 0.002)
    assert [tokens for _, tokens in limiter._log] == [2, 1]


def test_what_is_given_back_gives_back_its_pace_and_no_more() -> None:
    """Of two tokens beyond the burst one is given back: the next goes when one of them would have allowed it."""
    limiter, other = Limiter(100, 1), Limiter(100, 1)
    limiter.commit(19, 0)
    limiter.undo(limiter.commit(2, 0), 1)
    other.commit(20, 0)
    assert limiter.earliest(1, 0) == pytest.approx(other.earliest(1, 0)) == pytest.approx(1 / 93)


def test_what_is_back_is_not_given_back_while_later_sends_are_out() -> None:
    """A gift that comes too late makes no room, though the log is not empty."""
    limiter = Limiter(10, 1)
    entry = limiter.commit(4, 0)
    limiter.commit(4, 0.5)
    assert limiter.fits(6, 1.04)
    limiter.undo(entry, 4)
    assert limiter.fits(6, 1.04)
    assert not limiter.fits(7, 1.04)


def test_whoever_leaves_another_its_very_moment_may_go() -> None:
    """The pace after it ends exactly when the other's turn is."""
    limiter, sent = Limiter(100, 1), Limiter(100, 1)
    sent.commit(20, 0)
    assert limiter.spares(20, 0, 1, sent.earliest(1, 0))


def test_a_report_counts_what_is_back() -> None:
    """Of ten tokens none is out any more, and the server has nine: somebody else has spent one."""
    limiter = Limiter(10, 1)
    limiter.commit(5, 0)
    assert limiter.report(9, 5.0, 2.0)
    assert limiter.used(2.0) == pytest.approx(1)


def test_a_report_of_one_left_leaves_one() -> None:
    """Only where nothing is left is nothing sent."""
    limiter = Limiter(10, 1)
    assert limiter.report(1, 5.0, 0)
    assert limiter.take(1, 0)
    assert not limiter.take(1, 0)


def test_what_a_report_took_is_back_at_the_reset() -> None:
    """In that very moment, and all of it."""
    limiter = Limiter(10, 1)
    assert limiter.report(3, 3.0, 0)
    assert not limiter.take(10, 2.999)
    assert limiter.take(10, 3.0)


@pytest.mark.parametrize("cost", [5, 12])
def test_sends_stand_before_a_report_that_holds_for_longer(cost: float) -> None:
    """One token is gone for ten seconds; what is sent then is back after a window, whatever it weighs."""
    limiter = Limiter(20, 1)
    assert limiter.report(19, 10.0, 0)
    limiter.commit(cost, 0)
    assert limiter.take(19, 1.04)
    assert not limiter.take(1, 1.04)


# -- another promise --------------------------------------------------------------------------------------------------


def test_what_is_sent_after_a_change_is_counted_by_the_new_grain() -> None:
    """The entry of a longer window does not take it in: it would come back later than it must."""
    limiter = Limiter(2, 100)
    limiter.commit(1, 0.0)
    limiter.become(2, 1, 0.01)
    limiter.commit(1, 0.01)
    assert limiter.earliest(1, 0.01) == pytest.approx(0.012 + 1.035)


def test_what_was_sent_before_a_change_counts_at_the_new_pace() -> None:
    """Fifty have left at once, which a faster promise allowed: the next leaves when the new pace has made up for it."""
    limiter = Limiter(1000, 1)
    limiter.commit(50, 0.0)
    limiter.become(100, 1, 0.0)
    assert limiter.earliest(1, 0.0) == pytest.approx((50 - 19) / 93, abs=0.003)


def test_what_is_back_under_the_new_promise_slows_nobody() -> None:
    """Far more than it allows, but more than a window ago."""
    limiter = Limiter(1000, 10)
    for step in range(10):
        limiter.commit(100, step / 20)
    limiter.become(100, 1, 2.0)
    assert limiter.fits(1, 2.0)


def test_what_is_remembered_tells_of_what_is_back_as_well() -> None:
    """Another limit may look back further."""
    limiter = Limiter(5, 1)
    limiter.commit(3, 0.0)
    limiter.commit(1, 2.0)
    assert limiter.sends() == [(pytest.approx(0.002), 3), (pytest.approx(2.002), 1)]


def test_what_is_counted_later_ends_the_allotment_and_comes_back() -> None:
    """Nobody sends by an old allotment what has been taken away since; it is back after a window."""
    limiter = Limiter(10, 1)
    assert limiter.take(1, 0.0)
    limiter.remember(0.0, 8)
    assert (limiter.left, limiter.until) == (0, -math.inf)
    assert [limiter.fits(2, at) for at in (0.5, 1.1)] == [False, True]
    empty = Limiter(2, 1)
    empty.remember(0.0, 2)
    assert [empty.fits(1, at) for at in (0.5, 1.1)] == [False, True]


def test_the_past_is_told_by_the_second_and_after_a_time() -> None:
    """However much was sent: each second stands for itself, and what was sent at the very time is not after it."""
    past = Past()
    for sent, tokens in ((0.2, 100), (0.7, 1), (5.0, 1)):
        past.add(sent, tokens)
    assert past.since(-math.inf) == [(0.7, 101), (5.0, 1)]
    assert past.since(0.7) == [(5.0, 1)]


def test_who_takes_of_the_past_leaves_the_rest() -> None:
    """So that a second change does not count it twice."""
    past = Past()
    past.add(0.5, 1)
    past.add(5.0, 2)
    assert past.take(1.0) == [(5.0, 2)]
    assert past.since(-math.inf) == [(0.5, 1)]


def test_sixty_seconds_are_remembered_and_since_when_is_known() -> None:
    """With one more, the first is forgotten: all is known since then."""
    past = Past()
    for second in range(60):
        past.add(second + 0.5, 7)
    assert past.known == -math.inf
    past.add(60.5, 7)
    assert past.known == 0.5
    assert len(past.since(-math.inf)) == 60
