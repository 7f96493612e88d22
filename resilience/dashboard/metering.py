"""Who counts the calls of watched pipelines: the application's own `Metrics` if it observes with one, or one of ours.

Calls are counted once; ``/metrics`` and the overview read the same fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..telemetry import prometheus
from ..telemetry.metrics import Metrics

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["Metering"]


class Metering:
    """Sees to it that every watched pipeline is counted, by its own `Metrics` or by one and the same."""

    def __init__(self) -> None:
        self._metrics: Metrics | None = None
        self._observed: list[Pipeline] = []

    def follow(self, pipelines: Sequence[Pipeline]) -> list[Metrics]:
        """Count the calls of these from now on; returns who counts each."""
        own = [next((one for one in pipeline.observers if isinstance(one, Metrics)), None) for pipeline in pipelines]
        if pipelines and self._metrics is None:
            self._metrics = next((one for one in own if one is not None), None) or Metrics()
        found = []
        for pipeline, mine in zip(pipelines, own, strict=True):
            if mine is None and self._metrics is not None:
                pipeline.observe(self._metrics)
                self._observed.append(pipeline)
            found.append(mine or self._metrics or Metrics())
        return found

    def leave(self, pipelines: Sequence[Pipeline]) -> None:
        """Stand aside."""
        for pipeline in [one for one in self._observed if any(one is other for other in pipelines)]:
            if self._metrics is not None:
                pipeline.unobserve(self._metrics)
            self._observed.remove(pipeline)

    def render(self, accept: str) -> tuple[str, str] | None:
        """The content type and the text, by what the scraper accepts; None where nothing is counted."""
        if self._metrics is None:
            return None
        openmetrics = prometheus.accepts(accept)
        kind = prometheus.OPENMETRICS if openmetrics else prometheus.TEXT
        return kind, prometheus.render(self._metrics, openmetrics)
