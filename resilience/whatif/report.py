"""A comparison as text for people and as plain data for programs. The same comparison gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .compare import Comparison, Figure, Result

__all__ = ["as_data", "as_text", "method", "seconds_text", "share_text"]

_NO_KNOWLEDGE = 1000.0


def as_data(found: Comparison) -> dict[str, Any]:
    """Plain data, JSON throughout: an endless recovery is the text ``"never"``, an unknown figure None."""
    return {
        "source": found.source,
        "seed": found.seed,
        "replications": found.replications,
        "confidence": found.confidence,
        "seconds": round(found.seconds, 6),
        "calls_per_run": found.calls,
        "method": method(found),
        "candidates": [_data(result) for result in found.results],
        "pareto": [result.name for result in found.results if result.dominated_by is None],
    }


def _data(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "success": _figure(result.success),
        "latency": {name: None if figure is None else _figure(figure) for name, figure in result.latency.items()},
        "requests_per_call": _figure(result.load),
        "peak_requests_per_second": _figure(result.peak),
        "recovery_seconds": "never" if result.recovery == math.inf else result.recovery,
        "unrecovered_runs": result.unrecovered,
        "fallback": result.stood_in,
        "refused": dict(result.refused),
        "failed": dict(result.failed),
        "dominated_by": result.dominated_by,
    }


def _figure(figure: Figure) -> dict[str, Any]:
    mean, one = figure.mean, figure.one_run
    return {"value": mean.value, "interval": [mean.low, mean.high], "one_run": [one.low, one.high]}


def method(found: Comparison) -> str:
    """How the intervals were made, in words."""
    return (
        f"{found.replications} independent runs of {found.calls:.0f} calls, the same luck for all candidates; "
        f"{found.confidence:.4g} intervals: Student's t over the runs, for shares at least Clopper and Pearson's; "
        "one_run is where one further run of this length lies, its own noise included"
    )


# -- for people -----------------------------------------------------------------------------------------------

_TITLES = ("candidate", "success", "p50", "p99", "p99.9", "requests/call", "peak/s", "recovers", "")


def as_text(found: Comparison) -> str:
    """A table, what was refused and what failed, and how it was found."""
    rows = [_TITLES, *(_row(result) for result in found.results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths if width))
    lines += ["", *_reasons(found.results)]
    lines += ["", f"{found.source}, seed {found.seed}: {method(found)}.", *_words(found)]
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    latency = [seconds_text(figure) for figure in result.latency.values()]
    return (
        result.name,
        share_text(result.success),
        *latency,
        f"{result.load.mean.value:.3f}",
        f"{result.peak.mean.value:.0f}",
        _recovery(result.recovery),
        "" if result.dominated_by is None else f"dominated by {result.dominated_by}",
    )


def _reasons(results: Sequence[Result]) -> list[str]:
    lines = []
    for result in results:
        parts = [f"{reason} {value:.2%}" for reason, value in result.refused.items()]
        others = [f"{reason} {value:.2%}" for reason, value in result.failed.items()]
        stood = f"; a fallback answered {result.stood_in:.2%}" if result.stood_in else ""
        never = f"; {result.unrecovered} runs never recovered" if result.unrecovered else ""
        ours, theirs = ", ".join(parts) or "none", ", ".join(others) or "none"
        lines.append(f"{result.name}: refused by us: {ours}; failed: {theirs}{stood}{never}")
    return lines


def _words(found: Comparison) -> list[str]:
    return [
        "Latencies are those of the calls that succeeded. A dominated candidate is worse in one of success, p99 and "
        "requests per call, and better in none, beyond what chance explains."
    ]


def share_text(figure: Figure) -> str:
    """``99.93 % (99.90 to 99.95)``."""
    mean = figure.mean
    return f"{mean.value * 100:.2f} % ({mean.low * 100:.2f} to {mean.high * 100:.2f})"


def seconds_text(figure: Figure | None) -> str:
    """``815 ms (780 ms to 1.02 s)``; a dash where too few calls succeeded.

    An interval over three decades, as two runs have it, says nothing but that there are too few.
    """
    if figure is None:
        return "-"
    mean = figure.mean
    if mean.high > _NO_KNOWLEDGE * mean.low:
        return f"{_time(mean.value)} (too few runs)"
    return f"{_time(mean.value)} ({_time(mean.low)} to {_time(mean.high)})"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _recovery(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "never" if math.isinf(seconds) else f"{seconds:.3g} s"
