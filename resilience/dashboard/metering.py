"""What ``/metrics`` exposes: the application's own `Metrics` if it observes with one, or one of ours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["Metering"]


class Metering:
    """Sees to it that every watched pipeline is counted by one and the same `Metrics`."""

    def __init__(self) -> None:
        self._metrics: Any = None
        self._observed: list[Pipeline] = []

    def follow(self, pipelines: Sequence[Pipeline]) -> None:
        """Count the calls of these from now on."""
        if not pipelines or find_spec("resilience.telemetry.metrics") is None:
            return
        kind = import_module("resilience.telemetry.metrics").Metrics
        for pipeline in pipelines:
            self._metrics = self._metrics or next((one for one in pipeline.observers if isinstance(one, kind)), None)
        if self._metrics is None:
            self._metrics = kind()
        for pipeline in pipelines:
            if not any(isinstance(one, kind) for one in pipeline.observers):
                pipeline.observe(self._metrics)
                self._observed.append(pipeline)

    def leave(self, pipelines: Sequence[Pipeline] | None = None) -> None:
        """Stand aside: of these, or of all."""
        for pipeline in [
            one for one in self._observed if pipelines is None or any(one is other for other in pipelines)
        ]:
            pipeline.unobserve(self._metrics)
            self._observed.remove(pipeline)

    def render(self, accept: str) -> tuple[str, str] | None:
        """The content type and the text, by what the scraper accepts; None where nothing is counted."""
        if self._metrics is None or find_spec("resilience.telemetry.prometheus") is None:
            return None
        prometheus = import_module("resilience.telemetry.prometheus")
        openmetrics = prometheus.accepts(accept)
        kind = prometheus.OPENMETRICS if openmetrics else prometheus.TEXT
        return kind, prometheus.render(self._metrics, openmetrics)
