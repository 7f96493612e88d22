"""The arithmetic of a limit that finds itself: three algorithms, a guard against drift, and windows of calls."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.concurrency import ALGORITHMS, Aimd, Algorithm, Controller, Gradient, Guard, Name, Vegas

NAMES: list[Name] = ["aimd", "gradient", "vegas"]


def test_the_names_are_the_algorithms() -> None:
    """Each name makes the algorithm that it names."""
    assert {"aimd": Aimd, "gradient": Gradient, "vegas": Vegas} == ALGORITHMS


@pytest.mark.parametrize("name", NAMES)
def test_a_drop_costs_a_tenth(name: Name) -> None:
    """Whatever the algorithm."""
    assert ALGORITHMS[name]().drop(50) == 45


# -- AIMD -----------------------------------------------------------------------------------------------------


def test_aimd_adds_one_whatever_the_latency() -> None:
    """A drop is the only sign it knows, so it believes nothing about the round trip."""
    aimd = Aimd()
    assert [aimd.window(20, rtt) for rtt in (0.1, 9.0)] == [21, 21]
    assert aimd.base == 0


# -- Vegas ----------------------------------------------------------------------------------------------------


def vegas(rtt: float, limit: float = 100, base: float = 1.0) -> float:
    """What it makes of `limit` at this round trip with this base."""
    algorithm = Vegas()
    algorithm.base = algorithm._recent = base
    algorithm._SMOOTHING, algorithm._RISE = 1.0, 0.0  # type: ignore[misc]  # what it makes, and not how it learns
    return algorithm.window(limit, rtt)


def queued(calls: float, limit: float = 100) -> float:
    """The round trip at which so many of `limit` calls queue: limit * (1 - 1 / rtt)."""
    return 1 / (1 - calls / limit)


@pytest.mark.parametrize(
    ("calls", "limit", "becomes"),
    [
        (1.9, 100, 112),  # less than a step (2 at 100) waits: up by six
        (2.1, 100, 102),
        (5.9, 100, 102),
        (6.1, 100, 100),  # 3 to 6 steps are what it wants
        (11.9, 100, 100),
        (12.1, 100, 98),
        (0.9, 5, 11),  # at 10 and below, a step is 1
        (1.1, 5, 6),
        (2.9, 5, 6),
        (3.1, 5, 5),
        (150, 1000, 997),
    ],
)
def test_vegas_keeps_a_few_calls_in_the_queue(calls: float, limit: float, becomes: float) -> None:
    """Few enough: up. Too many: down. In between: it stays."""
    assert vegas(queued(calls, limit), limit) == pytest.approx(becomes)


@pytest.mark.parametrize(
    ("base", "limit", "becomes"), [(0.75, 4, 10), (0.25, 4, 4), (0.25, 8, 8)], ids=["1 step", "3 steps", "6 steps"]
)
def test_vegas_at_its_bounds(base: float, limit: float, becomes: float) -> None:
    """One step in the queue is as good as none; three are enough; six are not too many."""
    assert vegas(1.0, limit, base) == becomes


def test_the_base_of_vegas_follows_down_at_once_and_up_slowly() -> None:
    """From smoothed round trips, so that one lucky window is not its idea of normal."""
    algorithm = Vegas()
    algorithm.window(10, 1.0)
    assert algorithm.base == 1.0
    algorithm.window(10, 2.0)
    assert algorithm._recent == pytest.approx(1.3)
    assert algorithm.base == pytest.approx(1.0 + 0.02 * 0.3)
    base = algorithm.base
    algorithm.window(10, 0.1)
    assert algorithm._recent == pytest.approx(1.3 - 0.3 * 1.2)
    assert algorithm.base == pytest.approx(base + 0.1 * (0.94 - base))


# -- Gradient -------------------------------------------------------------------------------------------------


def gradient(rtt: float, limit: float = 100) -> float:
    """What it makes of `limit` at this round trip after a long time at 1 s."""
    algorithm = Gradient()
    for _ in range(100):
        algorithm.window(limit, 1.0)
    return algorithm.window(limit, rtt)


def test_gradient_grows_by_a_fifth_of_the_square_root_while_latency_is_as_ever() -> None:
    """Also while it is better, and while it is up to half worse."""
    assert gradient(1.0) == pytest.approx(102)
    assert gradient(0.6) == pytest.approx(102)
    assert gradient(1.5) == pytest.approx(102)
    assert gradient(1.0, limit=25) == pytest.approx(26)


def test_gradient_shrinks_with_the_ratio_of_latencies_but_never_asks_for_less_than_half() -> None:
    """The present one is in the average too, with a weight of one in a hundred."""
    assert gradient(2.0) == pytest.approx(100 + 0.2 * (100 * 1.5 * 1.01 / 2 + 10 - 100))
    assert gradient(50.0) == gradient(5000.0) == pytest.approx(100 + 0.2 * (50 + 10 - 100))


def test_the_base_of_gradient_is_an_average_that_forgets() -> None:
    """A plain mean of the first hundred windows; then each new one counts for a hundredth."""
    algorithm = Gradient()
    for rtt in (1.0, 2.0, 3.0):
        algorithm.window(10, rtt)
    assert algorithm.base == pytest.approx(2.0)
    for _ in range(97):
        algorithm.window(10, algorithm.base)
    for _ in range(2):
        algorithm.window(10, 3.0)
    assert algorithm.base == pytest.approx(3 - 0.99**2)


def test_the_base_of_gradient_hurries_when_an_overload_is_over() -> None:
    """An average above twice the present round trip loses a twentieth more."""
    algorithm = Gradient()
    for _ in range(100):
        algorithm.window(10, 10.0)
    algorithm.window(10, 1.0)
    assert algorithm.base == pytest.approx(9.91 * 0.95)
    for base, becomes in ((2.0, 1.99), (2.1, 2.089 * 0.95)):
        algorithm.base = base
        algorithm.window(10, 1.0)
        assert algorithm.base == pytest.approx(becomes)


# -- the guard ------------------------------------------------------------------------------------------------


def told(points: list[tuple[float, float]]) -> bool:
    guard = Guard()
    for in_flight, rtt in points:
        guard.add(in_flight, rtt)
    return guard.waits


def line(slope: float, windows: int = 12) -> list[tuple[float, float]]:
    """Windows of growing concurrency whose round trip grows with its power `slope`."""
    return [(n, 0.01 * n**slope) for n in range(20, 20 + windows)]


def test_the_guard_speaks_when_most_of_the_growth_waits() -> None:
    """Slope 1: a saturated target, where all of it waits. Slope 0: all of it is throughput."""
    assert told(line(1.0))
    assert told(line(0.51))
    assert not told(line(0.49))
    assert not told(line(0.0))
    assert not told(line(-1.0))


def test_the_guard_needs_five_windows() -> None:
    """Four are remembered as less than four, and are no evidence."""
    assert not told(line(1.0, windows=4))
    assert told(line(1.0, windows=5))


def test_the_guard_does_not_believe_noise() -> None:
    """A steep slope through a cloud: the correlation is weak."""
    points = [(20 + i % 3, 1.0 if i % 2 else 3.0) for i in range(30)]
    guard = Guard()
    for point in points:
        guard.add(*point)
    assert abs(guard._xy) < 0.5 * math.sqrt(guard._xx * guard._yy)
    assert not guard.waits


def test_the_guard_says_nothing_of_a_limit_that_never_moved() -> None:
    """Without a cause there is no effect to be seen, whatever latency does."""
    assert not told([(20, 1.0 + i) for i in range(20)])
    assert not told([(20, 1.0)] * 20)


def test_the_guard_forgets_in_about_ten_windows() -> None:
    """A target that was saturated and is not any more is believed soon."""
    assert told(line(1.0, 12) + [(32 + i, 0.32) for i in range(3)])
    assert not told(line(1.0, 12) + [(32 + i, 0.32) for i in range(15)])


@given(st.lists(st.tuples(st.floats(1, 1000), st.floats(1e-3, 10)), min_size=7, max_size=15))
def test_the_guard_is_a_weighted_regression(points: list[tuple[float, float]]) -> None:
    """The rolling sums are those that a second look at all points gives, each window weighing 0.9 of the next."""
    guard = Guard()
    for point in points:
        guard.add(*point)
    weights = [0.9**i for i in reversed(range(len(points)))]
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    total = sum(weights)
    mx = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    my = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    xx = sum(w * (x - mx) ** 2 for w, x in zip(weights, xs, strict=True))
    yy = sum(w * (y - my) ** 2 for w, y in zip(weights, ys, strict=True))
    xy = sum(w * (x - mx) * (y - my) for w, x, y in zip(weights, xs, ys, strict=True))
    assert (guard._xx, guard._yy, guard._xy) == pytest.approx((xx, yy, xy), rel=1e-6, abs=1e-9)


# -- the controller -------------------------------------------------------------------------------------------


class Told:
    """An algorithm that notes what it is told, and answers with what it was given."""

    base = 0.5

    def __init__(self, *answers: float) -> None:
        self.answers = list(answers)
        self.windows: list[tuple[float, float]] = []

    def window(self, limit: float, rtt: float) -> float:
        self.windows.append((limit, rtt))
        return self.answers.pop(0) if self.answers else limit

    def drop(self, limit: float) -> float:
        return limit / 2


def play(controller: Controller, calls: int, rtt: float, in_flight: int, at: float) -> list[bool]:
    return [controller.ended(rtt, in_flight, at) for _ in range(calls)]


def test_a_window_closes_with_the_twentieth_call() -> None:
    """And says that the limit has moved; the algorithm was told the mean round trip."""
    algorithm = Told(12.0)
    controller = Controller(algorithm, 10, 1, 100)
    assert controller.base == 0.5
    assert play(controller, 10, 0.2, 10, at=1.0) + play(controller, 9, 0.4, 10, at=1.0) == [False] * 19
    assert controller.rtt == 0
    assert controller.ended(0.4, 10, 1.0)
    assert controller.limit == 12
    assert algorithm.windows == [(10.0, pytest.approx(0.3))]
    assert controller.rtt == pytest.approx(0.3)


def test_a_window_lasts_a_round_trip() -> None:
    """Twenty calls are soon had where hundreds are under way; what they say was not caused by the last move."""
    algorithm = Told()
    controller = Controller(algorithm, 10, 1, 100)
    play(controller, 20, 2.0, 10, at=5.0)
    play(controller, 100, 2.0, 10, at=6.99)
    assert len(algorithm.windows) == 1
    play(controller, 1, 2.0, 10, at=7.0)
    assert len(algorithm.windows) == 2


def test_a_window_lasts_a_tenth_of_a_second_at_least() -> None:
    """A round trip of a millisecond is no reason to move a thousand times a second."""
    algorithm = Told()
    controller = Controller(algorithm, 10, 1, 100)
    play(controller, 20, 0.001, 10, at=5.0)
    play(controller, 100, 0.001, 10, at=5.09)
    assert len(algorithm.windows) == 1
    play(controller, 1, 0.001, 10, at=5.101)
    assert len(algorithm.windows) == 2


def test_a_window_begins_with_nothing() -> None:
    """What was counted in one is not counted in the next."""
    algorithm = Told()
    controller = Controller(algorithm, 10, 1, 100)
    play(controller, 20, 4.0, 10, at=5.0)
    play(controller, 20, 1.0, 1, at=9.0)
    assert [rtt for _, rtt in algorithm.windows] == [4.0, 1.0]
    algorithm.answers = [50.0]
    assert play(controller, 20, 1.0, 4, at=19.0)[-1] is False  # 4 of 10: the peak of 10 was in an earlier window


def test_the_exact_limit_is_kept_between_windows() -> None:
    """A fifth of a call in each of five windows is a call."""
    algorithm = Told()
    controller = Controller(algorithm, 10, 1, 100)
    for number in range(1, 6):
        algorithm.answers = [10 + number / 5]
        assert play(controller, 20, 0.05, 10, at=float(number))[-1] is (number == 5)
    assert controller.limit == 11
    assert algorithm.windows[-1][0] == pytest.approx(10.8)


@pytest.mark.parametrize("wanted", [30, 2])
def test_the_limit_moves_only_while_half_of_it_is_used(wanted: int) -> None:
    """At some moment of the window. A limit that nobody comes near to is not what makes the latency, good or bad."""
    for peak, becomes in ((4, 10), (5, wanted)):
        controller = Controller(Told(float(wanted)), 10, 1, 100)
        play(controller, 10, 0.1, 1, at=1.0)
        play(controller, 1, 0.1, peak, at=1.0)
        play(controller, 9, 0.1, 1, at=1.0)
        assert controller.limit == becomes


def test_the_limit_stays_between_least_and_most() -> None:
    """Whatever the algorithm wants."""
    controller = Controller(Told(1e9, -5.0), 10, 2, 100)
    play(controller, 20, 0.1, 10, at=1.0)
    assert controller.limit == 100
    play(controller, 20, 0.1, 100, at=2.0)
    assert controller.limit == 2
    for at in range(3, 20):
        controller.dropped(0.1, float(at))
    assert controller.limit == 2


def test_a_drop_moves_the_limit_at_once_but_only_once_a_round_trip() -> None:
    """The others of the same moment began before the limit had fallen."""
    controller = Controller(Told(), 40, 1, 100)
    assert controller.dropped(1.0, at=10.0)
    assert controller.limit == 20
    assert not controller.dropped(1.0, at=10.5)  # begun at 9.5
    assert not controller.dropped(1.0, at=11.0)  # begun in the tick of the drop
    assert controller.limit == 20
    assert controller.dropped(1.0, at=11.1)
    assert (controller.limit, controller.drops) == (10, 2)


def test_a_drop_that_changes_nothing_does_not_say_that_it_does() -> None:
    """At the least limit."""
    controller = Controller(Told(), 1, 1, 100)
    assert not controller.dropped(1.0, at=10.0)


def saturated(controller: Controller, algorithm: Told, windows: int, used: float = 1.0) -> list[int]:
    """Windows of a target that is saturated: the round trip is in proportion to the limit. The algorithm adds 2.

    Every other window has 31 calls, not 20, so that what is told to the guard is seen to be a mean.
    """
    limits = []
    for number in range(windows):
        rtt, in_flight = controller.limit / 100, int(controller.limit * used)
        algorithm.answers = [controller._exact + 2]
        if number % 2:
            play(controller, 30, rtt, in_flight, at=10 * number - 9.95)  # the last one closed a moment ago
        play(controller, 1 if number % 2 else 20, rtt, in_flight, at=10.0 * number)
        limits.append(controller.limit)
    return limits


def test_the_guard_overrules_growth_that_only_waits() -> None:
    """It gives back 4 % in each window, as long as the limit is what holds the calls back."""
    algorithm = Told()
    controller = Controller(algorithm, 50, 1, 1000)
    assert saturated(controller, algorithm, 7) == [52, 54, 56, 58, 55, 53, 51]
    assert controller._exact == pytest.approx(58 * 0.96**3)


def test_the_guard_learns_only_where_the_limit_holds_the_calls_back() -> None:
    """Below it, concurrency follows latency, and says nothing about its cause."""
    algorithm = Told()
    controller = Controller(algorithm, 50, 1, 1000)
    assert saturated(controller, algorithm, 7, used=0.9) == [52, 54, 56, 58, 60, 62, 64]


def test_the_guard_never_stops_a_deeper_cut() -> None:
    """Where the algorithm wants less than the guard, it gets less."""
    algorithm = Told()
    controller = Controller(algorithm, 50, 1, 1000)
    saturated(controller, algorithm, 4)
    algorithm.answers = [7.0]
    play(controller, 20, 0.58, 58, at=60.0)
    assert controller.limit == 7


def test_a_restart_begins_on_another_clock() -> None:
    """What was measured stays; what was timed, and what was half counted, does not."""
    algorithm = Told(12.0)
    controller = Controller(algorithm, 10, 1, 100)
    play(controller, 20, 0.1, 10, at=1e6)
    play(controller, 19, 0.1, 10, at=1e6)
    controller.dropped(0.1, at=1e6)
    controller.restart()
    assert (controller.limit, controller.rtt) == (6, pytest.approx(0.1))
    assert play(controller, 20, 0.3, 10, at=1.0)
    assert controller.dropped(0.1, at=2.0)


def test_a_clock_that_stands_still_is_a_short_round_trip() -> None:
    """No division by nothing."""
    for name in NAMES:
        controller = Controller(ALGORITHMS[name](), 10, 1, 100)
        play(controller, 20, 0.0, 10, at=1.0)
        assert controller.rtt == 1e-9


OUTCOMES = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1e3), st.integers(1, 2000), st.floats(0, 5), st.integers(1, 40)), max_size=60
)


@given(
    name=st.sampled_from(NAMES),
    bounds=st.tuples(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 2000)),
    outcomes=OUTCOMES,
)
def test_the_limit_is_always_within_its_bounds(
    name: Name, bounds: tuple[int, int, int], outcomes: list[tuple[bool, float, int, float, int]]
) -> None:
    """Whatever happens, in whatever order, and it says so exactly when it moves."""
    least, initial, most = sorted(bounds)
    controller = Controller(ALGORITHMS[name](), initial, least, most)
    at, before = 0.0, initial
    for dropped, rtt, in_flight, wait, times in outcomes:
        at += wait
        for _ in range(times):
            moved = controller.dropped(rtt, at) if dropped else controller.ended(rtt, in_flight, at)
            assert least <= controller.limit <= most
            assert moved == (controller.limit != before)
            before = controller.limit


def drifts(algorithm: Algorithm, guarded: bool) -> int:
    """Where a saturated target (a queue in front of 40 servers at 0.1 s) brings the limit to, in 600 windows."""
    dice = random.Random(1)
    controller = Controller(algorithm, 20, 1, 1000)
    for number in range(600):
        rtt = 0.1 * max(1.0, controller.limit / 40) * dice.uniform(0.95, 1.05)
        if not guarded:
            controller._guard = Guard()  # as if it had seen nothing
        play(controller, 20, rtt, controller.limit, at=10.0 * number)
    return controller.limit


@pytest.mark.parametrize("name", NAMES)
def test_the_guard_is_what_keeps_the_algorithms_from_drifting(name: Name) -> None:
    """A queue that lasts becomes an algorithm's idea of normal. With the guard: the capacity, half to twice."""
    assert drifts(ALGORITHMS[name](), guarded=False) > 3 * 40
    assert 20 <= drifts(ALGORITHMS[name](), guarded=True) <= 80
