"""What the analysis works out is what the virtual loop measures, for random pipelines and a hostile target."""

from __future__ import annotations

import math
import random

import pytest
from adversary import OP, Shape, any_plans, anything, classify, eager_plans, play, slow_plans

from resilience import Pipeline
from resilience.analysis import estimate

pytestmark = pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # random orders are what is wanted here


def canonical(seed: int) -> Shape:
    """A random pipeline in the canonical order. No two of its times are multiples of each other: there are no ties."""
    dice = random.Random(seed)

    def seconds(most: float) -> float:
        return round(dice.uniform(0.05, most), 4) + 0.00003

    shape = Shape(timeout=seconds(5.0), attempts=dice.choice((1, 2, 3, 4)), cap=seconds(15.0))
    waits = [{"constant": {"interval": seconds(3.0)}}, {"expo": {"base": dice.choice((2, 3)), "factor": seconds(2.0)}}]
    shape.wait = dice.choice(waits)
    shape.jitter = dice.choice(("none", "full", "equal", "additive", "decorrelated"))
    if dice.random() < 0.6:
        shape.deadline = seconds(20.0)
    if dice.random() < 0.2:
        shape.duration = seconds(10.0)
    if dice.random() < 0.4:
        shape.extra, shape.delay = dice.choice((1, 2)), seconds(3.0)
    shape.breaker = dice.random() < 0.5
    if dice.random() < 0.4 and (not shape.extra or shape.hedged):
        shape.limiter = seconds(3.0)
    if dice.random() < 0.4 and (not shape.extra or shape.hedged):
        shape.queue = seconds(3.0)
    if not shape.limiter and not shape.extra and dice.random() < 0.3:
        shape.throttled = {"constant": {"interval": seconds(4.0)}}
    return shape


def check_canonical(seed: int) -> None:
    shape = canonical(seed)
    said = estimate(shape.policies(), OP)
    slow = [play(shape.pipeline(plan), plan) for plan in slow_plans(shape)]
    eager = [play(shape.pipeline(plan), plan) for plan in eager_plans(shape)]
    longest, most = max(seconds for seconds, _ in slow), max(sent for _, sent in eager)
    told = f"seed {seed}: {shape}"
    assert math.isclose(longest, said.worst.latency, rel_tol=1e-6), told
    assert most == said.worst.sends, told
    for seconds, sent in (*slow, *eager):
        assert seconds <= said.worst.latency * (1 + 1e-9) + 1e-9, told
        assert sent <= said.worst.sends, told


def check_anything(seed: int) -> tuple[bool, bool]:
    """Whether the two bounds were attained; neither may be exceeded."""
    policies = anything(seed)
    said = estimate(policies, OP).worst
    measured = [play(Pipeline(*policies, classify=classify), plan) for plan in any_plans(seed, said.latency)]
    longest, most = max(seconds for seconds, _ in measured), max(sent for _, sent in measured)
    assert longest <= said.latency * (1 + 1e-6), f"seed {seed}: {longest} s, said {said}: {policies}"
    assert most <= said.sends, f"seed {seed}: {most} requests, said {said}: {policies}"
    return math.isclose(longest, said.latency, rel_tol=1e-6), most == said.sends


def check_orders(seeds: range) -> None:
    attained = [check_anything(seed) for seed in seeds]
    exact = [sum(column) / len(seeds) for column in zip(*attained, strict=True)]
    assert min(exact) > 0.4, f"a bound that is seldom met says little: {exact}"


def test_no_order_of_policies_exceeds_the_worst_case() -> None:
    """Random orders, retries in retries, and plans that know nothing of the pipeline: never more than was said."""
    check_orders(range(100))


@pytest.mark.sweep
def test_no_order_of_many_exceeds_the_worst_case() -> None:
    """The same for three thousand."""
    check_orders(range(100, 3100))


def test_the_worst_case_is_what_a_hostile_target_brings_about() -> None:
    """Latency and requests of a hundred pipelines in the canonical order, exactly."""
    for seed in range(100):
        check_canonical(seed)


@pytest.mark.sweep
def test_the_worst_case_of_many_pipelines() -> None:
    """The same for two thousand."""
    for seed in range(100, 2000):
        check_canonical(seed)
