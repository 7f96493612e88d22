"""The arithmetic of a rate limit, with no clock and no loop: every window, every weight, every way back."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.limiting.limiter import Limiter

Sent = list[tuple[float, float]]


def heaviest(sent: Sent, span: float) -> float:
    """The most tokens in any closed window of this length."""
    most = total = 0.0
    first = 0
    for at, cost in sent:
        total += cost
        while sent[first][0] < at - span:
            total -= sent[first][1]
            first += 1
        most = max(most, total)
    return most


def greedy(limiter: Limiter, costs: list[float], now: float = 0.0) -> Sent:
    """Send all of these, each as early as it may be."""
    sent: Sent = []
    for cost in costs:
        now = limiter.earliest(cost, now)
        assert limiter.take(cost, now)
        sent.append((now, cost))
    return sent


@pytest.mark.parametrize(("n", "window"), [(600, 5), (1200, 60), (100, 1), (30, 1), (21, 1), (20, 1), (3, 1), (1, 1)])
def test_greedy_demand_keeps_the_promise_and_uses_the_rate(n: int, window: float) -> None:
    """At most n in any 1.03 W, so at most n arrive in any W even if some are 0.03 W late; at least 90 % is used."""
    sent = greedy(Limiter(n, window), [1.0] * (n * 12))
    assert heaviest(sent, 1.03 * window) <= n
    assert sent[-1][0] <= window * 12 / 0.9
    later = [at for at, _ in sent if at > sent[-1][0] - 5 * window]  # not only because of the first burst
    assert len(later) >= 0.9 * 5 * n


def test_what_a_plain_gcra_would_let_through() -> None:
    """Idle, then greedy for one window: a burst of n and the pace of n/W send 1,199; we send at most 600."""
    tat, interval, naive = 0.0, 5 / 600, 0
    limiter, ours = Limiter(600, 5), 0
    assert limiter.take(1, 100)
    for step in range(5000):
        now = 200 + step / 1000
        while max(tat, now) + interval - now <= 600 * interval + 1e-12:
            tat = max(tat, now) + interval
            naive += 1
        while limiter.take(1, now):
            ours += 1
    assert naive == 1199
    assert 0.9 * 600 <= ours <= 600


def test_a_large_rate_is_spread() -> None:
    """After a tenth of n at once, calls go out one by one instead of in clumps of n."""
    sent = [at for at, _ in greedy(Limiter(600, 5), [1.0] * 400)]
    assert sent.count(0.0) == 60
    gaps = [after - before for before, after in itertools.pairwise(sent[60:])]
    assert max(gaps) < 0.02


@pytest.mark.parametrize("heavy", [11.0, 200.0, 301.0, 600.0])
def test_heavy_calls_keep_the_promise_too(heavy: float) -> None:
    """Mixed with light ones in any order."""
    dice = random.Random(1)
    costs = [heavy if dice.random() < 0.2 else float(dice.randint(0, 3)) for _ in range(1500)]
    assert heaviest(greedy(Limiter(600, 5), costs), 1.03 * 5) <= 600


rates = st.tuples(st.integers(1, 60), st.sampled_from([0.25, 1.0, 5.0, 60.0]))
STEPS = ["take", "wait", "spare", "behind", "undo", "report", "pause"]
demand = st.lists(
    st.tuples(st.floats(0, 0.6), st.floats(0, 1), st.sampled_from(STEPS)),
    min_size=5,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(rates, demand)
def test_whatever_happens_no_window_holds_more(rate: tuple[int, float], steps: list[tuple[float, float, str]]) -> None:
    """Any mixture of sends, plans, gifts back, reports and pauses; a plan is what the limiter then allows."""
    n, window = rate
    limiter = Limiter(n, window)
    now, sent = 1000.0, []
    for gap, weight, what in steps:
        now += gap * window
        cost = float(round(weight * n)) if weight > 0.5 else 1.0
        at = limiter.earliest(cost, now)
        if what == "take" and limiter.take(cost, now):
            assert at == now
            sent.append((now, cost))
        elif what == "wait":
            assert not (at > now and limiter.take(cost, math.nextafter(at, 0)))  # not a hair sooner
            now = at
            assert limiter.take(cost, now)
            sent.append((now, cost))
        elif what == "spare" and limiter.fits(1.0, now):
            turn = limiter.earliest(cost, now + gap * window)
            if limiter.spares(1.0, now, cost, turn):
                limiter.commit(1.0, now)
                sent.append((now, 1.0))
                assert limiter.earliest(cost, turn) <= turn  # nobody is made to wait longer
                now = turn
                assert limiter.take(cost, now)
                sent.append((now, cost))
        elif what == "behind":
            ahead, soonest = [1.0] * int(gap * n), limiter.soonest(cost, float(int(gap * n)), now)
            sent += greedy(limiter, [*ahead, cost], now)
            now = sent[-1][0]
            assert now >= soonest - 1e-9
        elif what == "undo" and at == now:
            limiter.undo(limiter.commit(cost, now), cost)
        elif what == "report":
            limiter.report(weight * n, gap * window, now)
        elif what == "pause":
            limiter.pause(now + gap * window)
    assert heaviest(sent, 1.03 * window) <= n * (1 + 1e-6)


def test_a_report_takes_the_difference_away_until_the_reset() -> None:
    """The server knows of seven that we did not send; they are back when it says so, not before."""
    limiter = Limiter(10, 1)
    assert limiter.take(1, 0)
    assert limiter.report(2, 5.0, 0)
    assert limiter.used(0) == pytest.approx(8)
    assert limiter.earliest(2, 0) == 0
    assert limiter.earliest(9, 0) == 5
    greedy(limiter, [1.0] * 2)
    assert limiter.earliest(3, 2) == 2  # our own are back after a window, and still seven are gone
    assert limiter.earliest(4, 2) == 5


def test_a_report_never_widens() -> None:
    """More left than we think, a negative rest, a reset that has passed: nothing is gained by any of them."""
    limiter = Limiter(10, 1)
    for _ in range(6):
        limiter.take(1, 0)
    assert not limiter.report(10, 5.0, 0)
    assert not limiter.report(1e9, None, 0)
    assert not limiter.report(0, 0.0, 0)
    assert not limiter.report(0, -3.0, 0)
    assert limiter.used(0) == 6
    assert limiter.report(-5, 0.5, 0)
    assert limiter.earliest(1, 0) == 0.5


def test_nothing_left_is_nothing_until_the_reset() -> None:
    """Even if all that was spent is ours, and would be back before."""
    limiter = Limiter(10, 1)
    assert limiter.take(10, 0)
    assert limiter.report(0, 3.0, 0)
    assert limiter.earliest(1, 0) == 3


def test_sends_come_back_before_what_a_report_holds() -> None:
    """The log stays in order though the report was first."""
    limiter = Limiter(10, 1)
    limiter.report(3, 9.0, 0)
    assert limiter.take(3, 0.5)
    assert limiter.earliest(1, 0.5) == pytest.approx(1.54, abs=0.01)
    assert limiter.earliest(4, 0.5) == 9


def test_a_report_binds_for_a_bounded_time() -> None:
    """A window where no time is named, and a minute at most otherwise: the next reply renews it."""
    unnamed, absurd = Limiter(10, 1), Limiter(10, 1)
    unnamed.report(0, None, 0)
    absurd.report(0, 1e9, 0)
    assert unnamed.earliest(1, 0) == pytest.approx(1, rel=0.05)
    assert absurd.earliest(1, 0) == 60


def test_what_is_given_back_is_there_at_once() -> None:
    """Tokens and pace; once only, and not if they are back already."""
    limiter = Limiter(100, 1)
    entries = [limiter.commit(1, 0) for _ in range(20)]
    later = limiter.earliest(1, 0)
    limiter.undo(entries[-1], 1)
    assert limiter.earliest(1, 0) == 0 < later
    limiter.pause(9)
    limiter.undo(limiter.commit(1, 9), 1)
    assert limiter.earliest(1, 5) == 9


def test_what_is_back_already_is_not_given_back_again() -> None:
    """A gift that comes a window late changes nothing."""
    limiter = Limiter(10, 1)
    entry = limiter.commit(4, 0)
    assert limiter.take(1, 5)
    limiter.undo(entry, 4)
    assert limiter.take(9, 5)
    assert not limiter.take(1, 5)


def test_sends_that_share_an_entry_come_back_with_the_last_of_them() -> None:
    """The grain of the log is on the safe side, also where each leaves as late as is still called on time."""
    for step in range(200):
        limiter = Limiter(3, 1)
        first = step * 0.0001
        limiter.commit(1, first)
        limiter.commit(1, first + 0.0015)
        limiter.commit(1, first + 0.0019)
        real = first + 0.0019 + limiter.tolerance
        assert limiter.earliest(3, first + 0.002) - real > 1.03


def test_after_a_pause_there_is_no_burst() -> None:
    """The server has just complained: begin at the pace."""
    limiter = Limiter(600, 5)
    limiter.pause(100)
    assert not limiter.take(1, 99.9)
    assert limiter.take(1, 100)
    assert not limiter.take(1, 100)


def test_the_log_stays_short() -> None:
    """A hundred thousand sends a second share some five hundred entries."""
    limiter = Limiter(100_000, 1)
    sent = sum(limiter.take(1, step / 120_000) for step in range(240_000))
    assert 180_000 < sent < 200_000
    assert len(limiter._log) < 530


def test_a_moment_on_the_grain_opens_one_entry() -> None:
    """(5.0 // grain + 1) * grain is 5.0 again, by rounding; the entry takes more than one send all the same."""
    limiter = Limiter(1e8, 1)
    for _ in range(100):
        assert limiter.take(1, 5.0)
    assert len(limiter._log) == 1


def test_impossible_costs_are_never_taken() -> None:
    """Below zero, above n, no number."""
    limiter = Limiter(10, 1)
    assert not any(limiter.take(cost, 0) for cost in (-1, 10.5, math.nan, math.inf))
    assert limiter.take(0, 0)
    assert limiter.take(10, 0)
    assert limiter.take(0, 0)


def test_idle_is_when_nothing_matters_any_more() -> None:
    """Neither tokens nor a pause."""
    limiter = Limiter(10, 1)
    assert limiter.idle(0)
    limiter.take(1, 0)
    assert not limiter.idle(1.0)
    assert limiter.idle(1.1)
    limiter.pause(5)
    assert not limiter.idle(4)
    assert limiter.idle(5)


# -- the allotment: what may go until the grain of the log ends ------------------------------------------------


def drawn(limiter: Limiter, cost: float, now: float) -> bool:
    """What the hot path does."""
    if now < limiter.until and 0.0 <= cost <= limiter.left:
        limiter.left -= cost
        return True
    return limiter.take(cost, now)


@pytest.mark.parametrize(("n", "window"), [(600, 5), (100, 1), (20, 1), (3, 1), (1, 10)])
def test_drawing_on_the_allotment_keeps_the_promise(n: int, window: float) -> None:
    """As much goes as without it, and no more; in a thousand windows as in one."""
    dice = random.Random(n)
    limiter, now, sent = Limiter(n, window), 0.0, []
    for _ in range(n * 12):
        now += dice.choice([0.0, 0.0, 0.0, 0.0001, 0.001, 0.01]) * window
        if drawn(limiter, 1.0, now):
            sent.append((now, 1.0))
        if dice.random() < 0.02:
            now += window * dice.random()
        if dice.random() < 0.05:
            assert limiter.used(now) == pytest.approx(
                sum(cost for at, cost in sent if at > now - 1.036 * window), abs=n / 50
            )
    assert heaviest(sent, 1.03 * window) <= n


def test_the_allotment_ends_with_the_grain() -> None:
    """Then the next one has to ask, and is counted apart."""
    limiter = Limiter(10, 1)
    assert limiter.take(1, 0.0005)
    assert (limiter.left, limiter.until) == (pytest.approx(9), 0.002)
    limiter.left -= 2
    assert limiter.take(1, 0.003)
    assert limiter.used(0.003) == pytest.approx(4)
    assert limiter.earliest(9, 0.003) == pytest.approx(1.037)
    assert limiter.earliest(10, 0.003) == pytest.approx(1.039)


def test_the_allotment_keeps_the_pace() -> None:
    """No more is allotted than may leave at once."""
    limiter = Limiter(600, 5)
    assert limiter.take(1, 100)
    assert limiter.left == pytest.approx(58)
    paused = Limiter(600, 5)
    paused.pause(100)
    assert paused.take(1, 100)
    assert (paused.left, paused.until) == (0, -math.inf)


@pytest.mark.parametrize(
    "event",
    [
        lambda limiter: limiter.earliest(1, 0),
        lambda limiter: limiter.soonest(1, 1, 0),
        lambda limiter: limiter.fits(1, 0),
        lambda limiter: limiter.commit(0, 0),
        lambda limiter: limiter.undo([0.0, 0.0], 0),
        lambda limiter: limiter.spares(1, 0, 1, 1),
        lambda limiter: limiter.pause(0),
        lambda limiter: limiter.report(99, 1.0, 0),
        lambda limiter: limiter.used(0),
    ],
)
@pytest.mark.parametrize("n", [10, 100])
def test_whatever_else_happens_ends_the_allotment(event: Callable[[Limiter], object], n: int) -> None:
    """What was not drawn is there again, as if it had never been allotted, and the pace is as it was."""
    limiter, other = Limiter(n, 1), Limiter(n, 1)
    limiter.take(1, 0)
    limiter.left -= 3
    other.commit(4, 0)
    event(limiter)
    event(other)
    assert (limiter.left, limiter.until) == (0, -math.inf)
    for cost in (1, n - 4, n):
        assert limiter.earliest(cost, 0) == pytest.approx(other.earliest(cost, 0))
    assert limiter.used(0) == other.used(0) == 4


def test_a_limit_without_bounds_allots_nothing() -> None:
    """It is only there to be paused."""
    limiter = Limiter(math.inf, 1)
    assert limiter.take(1, 0)
    assert (limiter.left, limiter.until) == (0, -math.inf)
    assert limiter.used(0) == 1


# -- what is certain about those who have to wait --------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "windows"), [(0, 1), (1, 1), (4, 1), (5, 2), (9, 2), (10, 3)])
def test_how_many_windows_others_need(ahead: float, windows: int) -> None:
    """Five are spent; five go when they are back, the next five a window later: so it is exactly, of unit costs."""
    limiter = Limiter(5, 1)
    limiter.commit(5, 0)
    assert limiter.soonest(1, ahead, 0) == pytest.approx(windows * 1.036, abs=0.005)
    sent = greedy(limiter, [1.0] * int(ahead + 1))
    assert limiter.soonest(0, 0, 0) <= sent[-1][0] == pytest.approx(windows * 1.036, abs=0.01)


def test_what_is_certain_of_a_large_rate() -> None:
    """Its pace; and of a paused one, the pause."""
    limiter = Limiter(600, 5)
    limiter.commit(60, 0)
    assert limiter.soonest(1, 0, 0) == pytest.approx(5 / 558)
    assert limiter.soonest(1, 100, 0) == pytest.approx(101 * 5 / 558)
    few = Limiter(5, 1)
    few.pause(60)
    assert few.soonest(1, 0, 0) == 60
    assert few.soonest(5, 5, 0) == pytest.approx(61.035)


def test_what_a_report_holds_for_long_makes_nothing_certain() -> None:
    """Seven of ten are gone for a minute; the other three turn over once a window, so six need one window only."""
    limiter = Limiter(10, 1)
    limiter.report(3, 60.0, 0)
    assert limiter.soonest(1, 5, 0) == pytest.approx(1.035)
    assert greedy(limiter, [1.0] * 6)[-1][0] == pytest.approx(1.037, abs=0.002)


def test_who_may_go_before_another() -> None:
    """Whoever leaves the other its tokens at its time: because there is enough, or because its own are back."""
    limiter = Limiter(10, 1)
    limiter.commit(4, 0)
    assert limiter.spares(3, 0, 3, 0.5)
    assert not limiter.spares(4, 0, 3, 0.5)
    assert limiter.spares(4, 0, 6, 1.037)  # what was sent is back by then
    assert not limiter.spares(4, 0, 7, 1.037)  # what is sent now is not
    assert limiter.spares(4, 0, 10, 1.04)
    assert Limiter(100, 1).spares(19, 0, 1, 1e-9)
    assert not Limiter(100, 1).spares(20, 0, 1, 1e-9)  # the pace
    assert Limiter(100, 1).spares(20, 0, 1, 1 / 93 + 1e-9)


def test_who_waits_within_a_window_waits_for_the_tokens_of_those_before_too() -> None:
    """Ten a second, sent one every tenth of it: behind two others the third to come back is the one."""
    limiter = Limiter(10, 1)
    for tenth in range(10):
        limiter.send(1, tenth / 10)
    assert limiter.soonest(1, 2, 0.95) == limiter.earliest(3, 0.95) == pytest.approx(1.235, abs=0.005)
