"""What one run came to, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from .play import Run
from .world import Trouble

__all__ = ["NEVER", "QUANTILES", "Measures", "measure", "quantile_of"]

_WINDOW = 3  # seconds over which a share of successes is taken
_WELL = 0.95  # of the share before the trouble
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one run. Latencies (seconds) are those of the calls that succeeded, by quantile; None where too few did.

    `load` is in requests per call, `peak` in requests in the fullest second. `recovery` is the longest time in seconds
    from a trouble's end until the calls that begin succeed as before it, infinite if they never do, None without a
    trouble. `refused` and `failed` are shares of the calls, by reason.
    """

    calls: int
    success: float
    stood_in: float
    latency: dict[str, float | None]
    load: float
    peak: float
    recovery: float | None
    refused: dict[str, float]
    failed: dict[str, float]


QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def measure(run: Run, troubles: Sequence[Trouble]) -> Measures:
    """The measures of a run in which there was at least one call."""
    calls = len(run.begun)
    good = sorted(seconds for seconds, ok in zip(run.seconds, run.good, strict=True) if ok)
    return Measures(
        calls=calls,
        success=len(good) / calls,
        stood_in=run.stood_in / calls,
        latency={name: quantile_of(good, q) for name, q in QUANTILES.items()},
        load=len(run.sent) / calls,
        peak=_peak(run.sent),
        recovery=_recovery(run, troubles),
        refused={reason: count / calls for reason, count in sorted(run.refused.items())},
        failed={reason: count / calls for reason, count in sorted(run.failed.items())},
    )


def quantile_of(ordered: Sequence[float], q: float) -> float | None:
    """The value that a share `q` does not exceed; None unless one value at least is expected beyond it."""
    count = len(ordered)
    return None if count * (1.0 - q) < 1.0 - 1e-9 else ordered[max(ceil(q * count - 1e-9) - 1, 0)]


def _peak(sent: Sequence[float]) -> float:
    """The most requests in any window of one second."""
    ordered = sorted(sent)
    most = first = 0
    for position, at in enumerate(ordered):
        while ordered[first] <= at - 1.0:
            first += 1
        most = max(most, position - first + 1)
    return float(most)


def _recovery(run: Run, troubles: Sequence[Trouble]) -> float | None:
    """The longest of all troubles: none is forgiven because another one was short."""
    if not troubles:
        return None
    last = int(max(run.begun)) + 1
    offered, good = [0] * last, [0] * last
    for begun, ok in zip(run.begun, run.good, strict=True):
        offered[int(begun)] += 1
        good[int(begun)] += ok
    slowest = 0.0
    for position, trouble in enumerate(troubles):
        until = int(troubles[position + 1].begins) if position + 1 < len(troubles) else last
        slowest = max(slowest, _after(trouble, offered, good, until))
    return slowest


def _after(trouble: Trouble, offered: Sequence[int], good: Sequence[int], until: int) -> float:
    """Seconds from the trouble's end until the share of successes is back, and stays until the next one."""
    wanted = _WELL * _share(offered, good, 0, int(trouble.begins))
    ends = ceil(trouble.ends - 1e-9)
    sick = [at for at in range(ends, until) if _share(offered, good, max(at - _WINDOW + 1, ends), at + 1) < wanted]
    if not sick:
        return 0.0
    return NEVER if sick[-1] >= until - 1 else sick[-1] + 1.0 - trouble.ends


def _share(offered: Sequence[int], good: Sequence[int], begins: int, ends: int) -> float:
    """Of the calls that began in these seconds; 1 where none did."""
    asked = sum(offered[begins:ends])
    return sum(good[begins:ends]) / asked if asked else 1.0
