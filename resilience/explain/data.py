"""The explanation as plain data, for machines. What has no bound is null."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..analysis import Case, Estimate
from ..descriptor import describe
from .gather import Chapter
from .words import repeats_unknown

__all__ = ["as_data"]


def as_data(chapters: Sequence[Chapter]) -> dict[str, Any]:
    """``{"operations": {NAME or "*": {"worst": {"latency", "sends"}, ...}}, "pipelines": {...}}``.

    A name that more than one pipeline has stands as ``pipeline/NAME``.
    """
    named = [(chapter, name, row.estimate) for chapter in chapters for row in chapter.rows for name in row.names]
    often = Counter(name for _, name, _ in named)
    operations = {
        name if often[name] == 1 else f"{chapter.name}/{name}": {
            "pipeline": chapter.name,
            "repeats_unknown": repeats_unknown(estimate, chapter.policies),
            **_estimate(estimate),
        }
        for chapter, name, estimate in named
    }
    pipelines = {chapter.name: [describe(policy) for policy in chapter.policies] for chapter in chapters}
    return {"operations": operations, "pipelines": pipelines}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "idempotent": estimate.op.idempotent,
        "best": _case(estimate.best),
        "typical": _case(estimate.typical),
        "worst": _case(estimate.worst),
        "unbounded": list(estimate.unbounded),
        "without_deadline": _finite(estimate.uncapped),
        "without_queues": _finite(estimate.work),
        "apart": {
            "transparent": {"sends": estimate.transparent},
            "ordered": None if estimate.ordered is None else {"latency": _finite(estimate.ordered)},
        },
        "timeline": [
            {
                "kind": step.kind,
                "start": _finite(step.start),
                "end": _finite(step.end),
                "lane": step.lane,
                "note": step.note,
            }
            for step in estimate.timeline
        ],
        "load": [
            {
                "failing": load.share,
                "errors": round(load.errors, 4),
                "silence": round(load.silence, 4),
                "budgeted": round(load.budgeted, 4),
                "shed": round(load.shed, 4),
                "breaker_opens": load.opens,
            }
            for load in estimate.load
        ],
    }


def _case(case: Case) -> dict[str, Any]:
    return {"latency": _finite(case.latency), "sends": case.sends}


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 9)
