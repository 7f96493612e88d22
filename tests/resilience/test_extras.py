"""The arithmetic of budgets, told the time: the share, the floor, any window, and the purse of tokens."""

from __future__ import annotations

import random

import pytest
from budget_model import Model

from resilience.retrying.extras import Extras, Quota, Sparse, extras


def called(budget: Extras, number: int, at: float = 0.0) -> Extras:
    for _ in range(number):
        budget.begin(at)
    return budget


def granted(budget: Extras, asked: int, at: float = 0.0) -> int:
    return sum(budget.take(at) for _ in range(asked))


def test_the_floor_needs_no_calls_and_comes_back_after_a_window() -> None:
    """A hundred at once, the next when the first of them is ten seconds old and not before."""
    budget = extras(0.2, 100, 10.0)
    assert granted(budget, 200) == 100
    assert granted(budget, 1, 9.999) == 0
    assert granted(budget, 1, 10.0) == 0
    assert granted(budget, 200, 10.001) == 100
    assert (budget.scheduled, budget.refused) == (200, 202)


def test_beyond_the_floor_the_share_counts() -> None:
    """The 101st needs 505 calls begun since the first, the 102nd five more."""
    budget = extras(0.2, 100, 10.0)
    assert granted(budget, 200) == 100
    assert granted(called(budget, 504, 1.0), 1, 1.0) == 0
    assert granted(called(budget, 1, 1.0), 2, 1.0) == 1
    assert granted(called(budget, 4, 1.0), 1, 1.0) == 0
    assert granted(called(budget, 1, 1.0), 1, 1.0) == 1


def test_calls_from_before_the_first_extra_justify_only_the_floor() -> None:
    """Else the first second of an outage would get the share of all ten that went before."""
    budget = extras(0.2, 100, 10.0)
    called(budget, 100_000, 0.0)
    assert granted(budget, 5000, 5.0) == 100


def test_no_second_of_an_outage_gets_more_than_its_share() -> None:
    """1,000 calls a second, each of which wants three more: a log of ten seconds would send 2,000 in the first."""
    budget = extras(0.2, 100, 10.0)
    called(budget, 10_000, 9.0)
    by_second = []
    for second in range(10, 30):
        sent = 0
        for call in range(1000):
            at = second + call / 1000
            sent += granted(called(budget, 1, at), 3, at)
        by_second.append(sent)
    assert max(by_second) <= 200
    assert min(by_second[1:]) >= 195


def test_fractions_keep_to_the_share() -> None:
    """A share that is no whole number of calls loses little in the long run, and nothing to rounding."""
    for ratio in (0.1, 0.3, 1 / 3, 0.07):
        budget = extras(ratio, 10, 10.0)
        sent = sum(granted(called(budget, 1, i / 1000), 2, i / 1000) for i in range(20_000))
        assert 0.85 * ratio * 20_000 <= sent <= ratio * 20_000 + 1e-6


def test_no_share_leaves_the_floor_and_no_floor_the_share() -> None:
    """And nothing of both is nothing."""
    assert granted(called(extras(0.0, 20, 1.0), 1000), 100) == 20
    assert granted(called(extras(0.2, 0, 1.0), 24), 100) == 4
    assert granted(called(extras(0.0, 0, 1.0), 1000), 100) == 0
    assert granted(called(extras(0.0, 0.9, 1.0), 1000), 100) == 0
    assert granted(called(extras(0.0, 3.9, 1.0), 1000), 100) == 3


def test_a_small_floor_counts_the_calls_of_the_window() -> None:
    """Those that began longer ago no longer count; ten at once at the most."""
    budget = extras(0.2, 0, 10.0)
    assert isinstance(budget, Sparse)
    called(budget, 1000, 0.0)
    assert granted(budget, 100, 9.0) == 10
    assert granted(budget, 100, 10.5) == 0
    called(budget, 55, 21.0)
    assert granted(budget, 100, 21.0) == 10
    assert granted(budget, 100, 30.9) == 0


def test_before_the_first_call_there_is_nothing_to_grant() -> None:
    """And it can be asked."""
    assert extras(0.2, 0, 10.0).balance(5.0) == 0
    assert extras(0.2, 3, 10.0).balance(5.0) == 3


def test_a_quiet_time_is_known_to_be_quiet() -> None:
    """What was sent before the last mark but one is not held against later calls."""
    budget = extras(0.5, 0, 10.0)
    assert granted(called(budget, 10, 0.0), 100, 0.0) == 5
    assert granted(called(budget, 10, 100.0), 100, 100.0) == 5
    assert granted(budget, 100, 105.0) == 0
    assert budget.idle(200.0)


@pytest.mark.parametrize("floor", [0.0, 100.0])
def test_the_balance_says_what_would_be_granted(floor: float) -> None:
    """It falls with each extra, is 0 when the next is refused, and recovers."""
    budget = called(extras(0.2, floor, 10.0), 50)
    before = budget.balance(0.0)
    assert before == (10 if floor == 0 else 100)
    assert budget.take(0.0) == 1
    assert budget.balance(0.0) == before - 1
    assert granted(budget, 200) == before - 1
    assert budget.balance(0.0) == 0
    assert budget.status(0.0) == {"calls": 50, "scheduled": before, "refused": 201 - before, "balance": 0}
    called(budget, 10_000, 0.1)
    assert budget.balance(0.1) > 100
    assert not budget.idle(9.0)
    assert budget.idle(10.1)


@pytest.mark.parametrize("floor", [0.0, 100.0])
def test_another_loops_clock_begins_anew(floor: float) -> None:
    """One that is behind would otherwise remember what it has sent in its own future."""
    budget = called(extras(0.2, floor, 10.0), 500, 1000.0)
    assert granted(budget, 200, 1000.0) == (10 if floor == 0 else 100)
    called(budget, 10, 1.0)
    assert granted(budget, 200, 1.0) == (2 if floor == 0 else 100)


def test_what_is_kept_is_bounded() -> None:
    """By the floor, however many calls and extras there are."""
    budget = extras(0.5, 50, 10.0)
    for i in range(50_000):
        granted(called(budget, 1, i / 1000), 1, i / 1000)
    assert budget.scheduled > 20_000
    assert len(budget._recent) + len(budget._older) <= 100
    assert type(budget) is Extras


def test_random_histories_agree_with_the_model() -> None:
    """Both ways: never above the promise, and no refusal without need. (The state machine plays many more.)"""
    dice = random.Random(5)
    for _ in range(60):
        ratio, window = dice.choice([0.0, 0.1, 0.2, 0.5, 1.0]), dice.choice([1.0, 10.0])
        floor = dice.choice([0.0, 0.5, 1.0, 5.0, 10.0, 12.5, 30.0])
        budget, model, now = extras(ratio, floor, window), Model(ratio, floor, window), dice.choice([0.0, 1000.0])
        for _ in range(80):
            now += dice.choice([0.0, 0.0, 0.001, 0.01, 0.024, 0.026, 0.1, 0.5, 1.0, 1.5]) * window
            for _ in range(dice.choice([0, 1, 2, 5, 30])):
                budget.begin(now)
                model.calls.append(now)
            for _ in range(dice.choice([0, 1, 1, 3, 12])):
                free = budget.balance(now)
                granted = budget.take(now)
                assert granted == (free >= 1)
                (model.send if granted else model.refuse)(now)
            assert len(getattr(budget, "_marks", ())) <= 42


def test_the_quota_is_a_purse() -> None:
    """A retry pays 14, one after a THROTTLED 5; when there is too little left, it is refused."""
    quota = Quota(30, 14, 5, 1)
    assert [quota.take(0.0), quota.take(0.0, True), quota.take(0.0), quota.take(0.0, True)] == [14, 5, 0, 5]
    assert quota.status(0.0) == {"scheduled": 3, "refused": 1, "balance": 6}
    assert quota.balance(0.0) == 6
    assert [quota.take(0.0, True), quota.take(0.0, True)] == [5, 0]


def test_a_success_gives_back() -> None:
    """What the call's last retry cost, else one; and never above the purse."""
    quota = Quota(30, 14, 5, 1)
    quota.begin(0.0)
    assert quota.idle(0.0)
    quota.take(0.0)
    quota.take(0.0)
    assert not quota.idle(0.0)
    quota.succeeded(14)
    assert quota.left == 16
    quota.succeeded(0)
    assert quota.left == 17
    quota.succeeded(14)
    assert (quota.left, quota.idle(0.0)) == (30, True)
    exact = Quota(14, 14, 5, 0)
    assert exact.take(0.0) == 14
    exact.succeeded(0)
    assert exact.left == 0


def test_a_limit_is_the_balance_of_a_quiet_time() -> None:
    """Of a generous budget, of a frugal one (as far as calls justify it), and of a quota; spending changes none."""
    generous, frugal, none = extras(0.2, 100, 10), extras(0.2, 1, 10), extras(0.0, 0, 10)
    quota = Quota(20, 14, 5, 1)
    for budget in (generous, frugal, none, quota):
        budget.begin(0.0)
    assert [one.limit(0.0) for one in (generous, frugal, none, quota)] == [100, 1, 0, 20]
    for budget in (generous, frugal, none, quota):
        budget.take(0.0)
        assert budget.balance(0.0) <= budget.limit(0.0)
    assert [one.limit(0.0) for one in (generous, frugal, none, quota)] == [100, 1, 0, 20]
    for _ in range(30):
        frugal.begin(5.0)
    assert frugal.limit(5.0) == 6
    for _ in range(300):
        frugal.begin(5.0)
    assert frugal.limit(5.0) == 10
