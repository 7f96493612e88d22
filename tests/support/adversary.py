"""A hostile target in virtual time, to measure what `resilience.analysis` works out.

It knows nothing of the analysis. Growth, jitter and the search for the worst plan are written here a second time, from
what the policies' pages say.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from resilience import (
    Breaker,
    Bulkhead,
    Call,
    Coalesce,
    Deadline,
    Hedge,
    Kind,
    Op,
    Pipeline,
    RateLimit,
    Retry,
    Timeout,
    Verdict,
)
from resilience.call import Handler, takes_call
from resilience.kit import Kit
from resilience.testing import VirtualLoop

SHY = 1e-9  # how much earlier than the last moment, where the last moment itself would be a tie
OP = Op("op", idempotent=True)
UNPACED = "20/10ms"  # a limit so generous that only a pause of the limiter makes anybody wait


class Failed(Exception):
    """Not executed; may be repeated."""


class Throttled(Exception):
    """Not executed; come back later."""


def classify(error: Exception, op: Op) -> Verdict:
    return Verdict(Kind.THROTTLED if isinstance(error, Throttled) else Kind.FAILED)


class Dice(random.Random):
    """Always shows the same: 0, or the largest number below 1."""

    def __init__(self, shows: float) -> None:
        super().__init__(0)
        self.shows = shows

    def random(self) -> float:
        return self.shows


LOW, HIGH = Dice(0.0), Dice(1.0 - 2.0**-53)


@dataclass
class Plan:
    """What the target does in each attempt of the retry: when it fails, in loop time (inf: never), and how.

    `jams`: seconds for which the limiter and the bulkhead hold the attempt up.
    """

    fails: Sequence[float]
    dice: random.Random = HIGH
    jams: Sequence[float] = ()
    errors: Sequence[type[Exception]] = ()


@dataclass(frozen=True)
class Jam:
    """Stands above a queueing policy, and has it hold every call up for as long as the plan says."""

    kind: str
    most: float
    plan: Plan
    where: list[Pipeline] = field(default_factory=list)
    hedges: int = 0

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            number = attempt_of(call)
            late = sum(attempt.kind == "hedge" for attempt in since_retry(call)) == self.hedges
            wait = self.plan.jams[number] if late and number < len(self.plan.jams) else 0.0
            wait = min(wait, self.most) if self.kind == "rate_limit" else max(0.0, wait - self.most)
            if call.deadline is not None:  # a limiter refuses at once what is certain to be late
                wait = min(wait, (call.deadline - kit.now()) * (1 - 1e-6))
            if wait > 0:
                self.hold(kit, wait * (1 - SHY))
            return await next(call)

        return run

    def hold(self, kit: Kit, wait: float) -> None:
        state = kit.states[self.kind]
        if self.kind == "rate_limit":
            state.line("default").limiter.pause(kit.now() + wait)
        else:
            state.busy += state.limit
            kit.loop.call_later(wait, state.leave, state.limit)


def since_retry(call: Call) -> list[Any]:
    """The attempts of the retry's present attempt."""
    upto = [attempt for attempt in call.attempts if attempt.number <= call.attempt.number]
    last = max((i for i, attempt in enumerate(upto) if attempt.kind == "retry"), default=0)
    return upto[last:]


def attempt_of(call: Call) -> int:
    """The number of the retry's attempt, from 0."""
    return sum(attempt.kind == "retry" for attempt in call.attempts if attempt.number <= call.attempt.number)


def play(pipeline: Pipeline, plan: Plan) -> tuple[float, int]:
    """One call to its end: how long it took, and how many requests the target saw."""
    sent = 0

    async def target(call: Call) -> None:
        nonlocal sent
        sent += 1
        number = min(attempt_of(call), len(plan.fails) - 1)
        loop = asyncio.get_running_loop()
        if math.isinf(plan.fails[number]):
            await loop.create_future()
        await asyncio.sleep(max(0.0, plan.fails[number] - loop.time()))
        raise plan.errors[number]() if number < len(plan.errors) else Failed()

    async def main() -> float:
        pipeline._kit.rng = plan.dice
        with contextlib.suppress(Exception):  # however it fails
            await pipeline.run(takes_call(target), op=OP)
        return asyncio.get_running_loop().time()

    return VirtualLoop().run(main()), sent


# -- canonical pipelines, for which the bound must be met exactly ------------------------------------------------------


@dataclass
class Shape:
    """A pipeline in the canonical order, in plain numbers."""

    timeout: float
    deadline: float = math.inf
    attempts: int = 1
    wait: dict[str, dict[str, float]] = field(default_factory=lambda: {"constant": {"interval": 1.0}})
    throttled: dict[str, dict[str, float]] | None = None
    jitter: str = "none"
    cap: float = 20.0
    duration: float = math.inf
    extra: int = 0
    delay: float = 1.0
    limiter: float = 0.0
    queue: float = 0.0
    breaker: bool = False

    def policies(self) -> list[Any]:
        found: list[Any] = []
        if self.deadline < math.inf:
            found.append(Deadline(self.deadline))
        if self.attempts > 1:
            longest = None if math.isinf(self.duration) else self.duration
            found.append(
                Retry(
                    self.attempts, wait=self.wait, jitter=self.jitter, max_wait=self.cap, max_duration=longest,
                    throttled_wait=self.throttled, budget=None,
                )
            )  # fmt: skip
        if self.extra:
            found.append(Hedge(self.delay, extra=self.extra, budget=None))
        if self.breaker:
            found.append(Breaker(min_calls=10_000))
        if self.limiter:
            found.append(RateLimit(UNPACED, max_wait=self.limiter))
        if self.queue:
            found.append(Bulkhead(4, queue=100_000, max_wait=self.queue))
        return [*found, Timeout(self.timeout)]

    def pipeline(self, plan: Plan) -> Pipeline:
        """With what jams its queues."""
        most = {"rate_limit": self.limiter, "bulkhead": self.limiter}
        jammed: list[Any] = []
        for policy in self.policies():
            kind = {RateLimit: "rate_limit", Bulkhead: "bulkhead"}.get(type(policy))
            jammed += [policy] if kind is None else [Jam(kind, most[kind], plan, hedges=self.extra), policy]
        return Pipeline(*jammed, classify=classify)

    @property
    def one(self) -> float:
        """The longest that one attempt takes."""
        hedged = self.extra * self.delay if self.hedged else 0.0
        return hedged + self.limiter + self.queue + self.timeout

    @property
    def hedged(self) -> bool:
        return self.extra > 0 and self.delay < self.timeout

    def pauses(self, dice: float, throttled: Sequence[bool]) -> list[float]:
        """What is waited after each attempt, which was throttled or not."""
        counts, pauses, last = [0, 0], [], {False: -1.0, True: -1.0}
        for was in throttled:
            own = was and self.throttled is not None
            pause, last[own] = self._pause(self.throttled if own else self.wait, counts[own], dice, last[own])
            counts[own] += 1
            pauses.append(pause)
        return pauses

    def _pause(self, wait: Any, index: int, dice: float, last: float) -> tuple[float, float]:
        ((name, fields),) = wait.items()
        value = fields["interval"] if name == "constant" else min(fields["factor"] * fields["base"] ** index, self.cap)
        if self.jitter == "full":
            value *= dice
        elif self.jitter == "equal":
            value *= (1 + dice) / 2
        elif self.jitter == "additive":
            value += dice
        elif self.jitter == "decorrelated":
            base = fields["interval"] if name == "constant" else fields["factor"]
            most = max(base, (base if last < 0 else last) * 3)
            value = last = min(self.cap, base + (most - base) * dice)
        return min(value, self.cap), last


def slow_plans(shape: Shape) -> Iterator[Plan]:
    """Plans for the longest call: so many attempts, each as late as the next one allows, the last of which hangs."""
    limit = min(shape.deadline, shape.duration) * (1 - SHY)
    for attempts in range(1, shape.attempts + 1):
        kinds = [False, True] if shape.throttled else [False]
        for throttled in itertools.product(kinds, repeat=attempts - 1):
            dice = _dice(shape, limit - (attempts - 1) * shape.one, throttled)
            pauses = shape.pauses(dice.shows, throttled)
            slack = limit - sum(pauses)
            if slack >= 0:
                yield _late(shape, pauses, slack, dice, [Throttled if was else Failed for was in throttled])


def _dice(shape: Shape, wanted: float, throttled: Sequence[bool]) -> Dice:
    """The dice with which the pauses come to so many seconds, as nearly as they can."""
    low, high = 0.0, HIGH.shows
    if sum(shape.pauses(high, throttled)) <= wanted:
        return HIGH
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(shape.pauses(middle, throttled)) > wanted else (middle, high)
    return Dice(low)


def _late(shape: Shape, pauses: Sequence[float], slack: float, dice: Dice, errors: list[type[Exception]]) -> Plan:
    at, fails, jams = 0.0, [], []
    base = shape.one - shape.limiter - shape.queue
    for pause in pauses:
        takes = min(slack, shape.one)
        slack -= takes
        jams.append(max(0.0, takes - base))
        # At the last moment and not by the timeout, so that it fails as the plan wants it to fail.
        at += takes
        fails.append(at if takes < shape.one else at * (1 - SHY))
        at += pause
    return Plan([*fails, math.inf], dice, [*jams, shape.limiter + shape.queue], errors)


def eager_plans(shape: Shape) -> Iterator[Plan]:
    """Plans for the most requests: every attempt fails as soon as it has sent so many hedges."""
    for hedges in itertools.product(range((shape.extra if shape.hedged else 0) + 1), repeat=shape.attempts):
        kinds = [False, True] if shape.throttled else [False]
        for throttled in itertools.product(kinds, repeat=shape.attempts - 1):
            at, fails = 0.0, []
            for sent, pause in zip(hedges, [*shape.pauses(0.0, throttled), 0.0], strict=True):
                at += sent * shape.delay * (1 + SHY)
                fails.append(at)
                at += pause
            yield Plan(fails, LOW, errors=[Throttled if was else Failed for was in throttled])


# -- any order, for which the bound must never be exceeded -------------------------------------------------------------


def anything(seed: int) -> list[Any]:
    """Two to six policies in whatever order, nested retries and all, with a timeout innermost."""
    dice = random.Random(seed)

    def seconds(most: float) -> float:
        return round(dice.uniform(0.05, most), 4) + 0.00003

    def retry() -> Retry:
        wait = dice.choice((0.0, seconds(2.0), {"expo": {"base": 2, "factor": seconds(1.0)}}))
        jitter = dice.choice(("none", "full", "equal", "additive", "decorrelated"))
        longest = seconds(8.0) if dice.random() < 0.2 else None
        nested, on = dice.random() < 0.4, Failed if dice.random() < 0.3 else None
        return Retry(
            dice.choice((2, 3)), wait=wait, jitter=jitter, max_wait=seconds(6.0), max_duration=longest, budget=None,
            nested=nested, on=on,
        )  # fmt: skip

    makers = (
        retry,
        retry,
        lambda: Deadline(seconds(12.0)),
        lambda: Timeout(seconds(8.0)),
        lambda: Hedge(seconds(2.0), extra=dice.choice((1, 2)), budget=None),
        lambda: Bulkhead(dice.choice((1, 4)), queue=dice.choice((0, 2)), max_wait=seconds(3.0)),
        lambda: RateLimit(UNPACED, max_wait=seconds(3.0)),
        lambda: Breaker(min_calls=10_000),
        Coalesce,
    )
    return [*(dice.choice(makers)() for _ in range(dice.randint(1, 5))), Timeout(seconds(3.0))]


def any_plans(seed: int, longest: float) -> Iterator[Plan]:
    """Plans that know nothing: all at once, all by silence, and random ones."""
    dice = random.Random(seed)
    for shows in (LOW, HIGH):
        yield Plan([0.0], shows)
        yield Plan([math.inf], shows)
    for _ in range(10):
        fails = [dice.choice((0.0, math.inf, dice.uniform(0.0, min(longest, 60.0)))) for _ in range(4)]
        yield Plan(sorted(fails), dice.choice((LOW, HIGH, Dice(dice.random()))))
