"""Candidates side by side: every one through the same runs, its figures with intervals, and who is dominated.

Method: independent replications (Law, Simulation Modeling and Analysis, chapter 9). Each run has other dice; in one run
all candidates have the same. A figure is the mean over the runs, its *interval* Student's t; the interval of *one run*
is where one further run of this length will lie, its own sampling noise included: that is what a real afternoon is
to be compared with. Latencies are averaged as logarithms, since they are skewed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from ..errors import ConfigError
from ..estimates import Interval, prediction, share
from ..estimates.beta import student_quantile
from .candidates import Candidate
from .dice import Dice
from .measure import QUANTILES, Measures, measure
from .play import play
from .world import World

__all__ = ["AXES", "Comparison", "Figure", "Result", "compare"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number: its mean over the runs and the interval of that, and the interval of one further run."""

    mean: Interval
    one_run: Interval


@dataclass(frozen=True, slots=True)
class Result:
    """What one candidate came to.

    `recovery` is the median over the runs in seconds (infinite: never), None without a trouble; `unrecovered` counts
    the runs that never recovered. `refused` and `failed` are shares of all calls, by reason. `dominated_by` names
    another candidate that is better in something and worse in nothing.
    """

    name: str
    success: Figure
    latency: Mapping[str, Figure | None]
    load: Figure
    peak: Figure
    recovery: float | None
    unrecovered: int
    stood_in: float
    refused: Mapping[str, float]
    failed: Mapping[str, float]
    dominated_by: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All candidates. `calls` is the number of calls of one run, on average."""

    source: str
    seed: int
    replications: int
    confidence: float
    seconds: float
    calls: float
    results: Sequence[Result]


_Axis = Callable[[Measures], float | None]
AXES: Mapping[str, tuple[_Axis, bool]] = {
    "success": (lambda found: found.success, True),
    "p99": (lambda found: found.latency["p99"], False),
    "load": (lambda found: found.load, False),
}
"""What candidates are judged by, and whether more of it is better."""


def compare(
    candidates: Sequence[Candidate],
    world: World,
    *,
    seed: int = 0,
    replications: int = 10,
    confidence: float = 0.95,
    told: Callable[[str, int], None] | None = None,
) -> Comparison:
    """Try every candidate. `told` hears of each run that begins: the candidate's name and the run's number, from 0.

    The same arguments give the same result, to the last bit. Raises `ConfigError` where there is nothing to try.
    """
    measured: dict[str, list[Measures]] = {candidate.name: [] for candidate in candidates}
    if len(measured) != len(candidates):
        raise ConfigError("two candidates have one name; give each file once")
    for replication in range(replications):
        dice = Dice(seed, replication)
        if not world.arrivals(dice):
            raise ConfigError(f"{world.source}: no call arrives in {world.seconds:g} s; raise the rate, or --seconds")
        for candidate in candidates:
            if told is not None:
                told(candidate.name, replication)
            measured[candidate.name].append(measure(play(candidate, world, dice), world.troubles))
    dominated = {name: _dominator(name, measured, confidence) for name in measured}
    return Comparison(
        source=world.source,
        seed=seed,
        replications=replications,
        confidence=confidence,
        seconds=world.seconds,
        calls=fmean(found.calls for found in next(iter(measured.values()))),
        results=[_result(name, runs, confidence, dominated[name]) for name, runs in measured.items()],
    )


def _result(name: str, runs: Sequence[Measures], confidence: float, dominated_by: str | None) -> Result:
    recoveries = [found.recovery for found in runs if found.recovery is not None]
    return Result(
        name=name,
        success=_share_of(runs, confidence),
        latency={name: _latency(runs, name, confidence) for name in QUANTILES},
        load=_figure([found.load for found in runs], confidence),
        peak=_figure([found.peak for found in runs], confidence),
        recovery=_middle(recoveries) if recoveries else None,
        unrecovered=sum(math.isinf(seconds) for seconds in recoveries),
        stood_in=fmean(found.stood_in for found in runs),
        refused=_averaged([found.refused for found in runs]),
        failed=_averaged([found.failed for found in runs]),
        dominated_by=dominated_by,
    )


def _middle(recoveries: Sequence[float]) -> float:
    """The median; of an even number the later one, since the mean of "never" and a number is none."""
    return median(recoveries) if all(map(math.isfinite, recoveries)) else sorted(recoveries)[len(recoveries) // 2]


def _figure(values: Sequence[float], confidence: float) -> Figure:
    return Figure(*prediction(values, confidence))


def _share_of(runs: Sequence[Measures], confidence: float) -> Figure:
    """Runs without a failure vary by nothing, which is no certainty: the binomial intervals are the least width."""
    mean, one_run = prediction([found.success for found in runs], confidence)
    calls = sum(found.calls for found in runs)
    pooled = share(sum(found.success * found.calls for found in runs), calls, confidence)
    single = calls / len(runs)
    one = share(pooled.value * single, single, confidence)
    mean, one_run = mean.widened(pooled.low, pooled.high), one_run.widened(one.low, one.high)
    return Figure(*(Interval(i.value, max(i.low, 0.0), min(i.high, 1.0)) for i in (mean, one_run)))


def _latency(runs: Sequence[Measures], name: str, confidence: float) -> Figure | None:
    """None unless every run had enough successes; means and intervals of logarithms."""
    logs = [math.log(max(seconds, 1e-9)) for found in runs if (seconds := found.latency[name]) is not None]
    if len(logs) < len(runs):
        return None
    mean, one_run = (
        Interval(math.exp(i.value), math.exp(min(i.low, 700)), math.exp(min(i.high, 700)))
        for i in prediction(logs, confidence)
    )
    return Figure(mean, one_run)


def _averaged(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    reasons = sorted({reason for found in shares for reason in found})
    return {reason: fmean(found.get(reason, 0.0) for found in shares) for reason in reasons}


# -- who is dominated -----------------------------------------------------------------------------------------


def _dominator(name: str, measured: Mapping[str, Sequence[Measures]], confidence: float) -> str | None:
    """The first that is better in one of `AXES` and worse in none, as far as the runs can tell them apart."""
    for other, runs in measured.items():
        if other != name:
            verdicts = [_better(runs, measured[name], axis, confidence) for axis in AXES.values()]
            if min(verdicts) >= 0 and max(verdicts) > 0:
                return other
    return None


def _better(runs: Sequence[Measures], others: Sequence[Measures], axis: tuple[_Axis, bool], confidence: float) -> int:
    """1 if the first are better, -1 if worse, 0 if nobody can tell: by the paired differences, run by run.

    Where only one of the two has the figure at all (too few calls succeeded for it), that one is better.
    """
    value, more = axis
    pairs = [(value(run), value(other)) for run, other in zip(runs, others, strict=True)]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(whole) < len(pairs):
        return sum(a is not None for a, _ in pairs) - sum(b is not None for _, b in pairs)
    differences = [(a - b) * (1 if more else -1) for a, b in whole]
    reach = student_quantile((1.0 + confidence) / 2, len(pairs) - 1) * stdev(differences) / math.sqrt(len(pairs))
    mean = fmean(differences)
    return 0 if abs(mean) <= max(reach, 1e-12) else 1 if mean > 0 else -1
