"""Metrics as text: Prometheus' format 0.0.4, and OpenMetrics 1.0 with exemplars that carry the ids of traces."""

from __future__ import annotations

import math
import re

from .catalogue import Spec, prometheus_label, prometheus_name
from .families import Family, Point, read
from .measures import BOUNDS, Example
from .metrics import Metrics

__all__ = ["OPENMETRICS", "TEXT", "accepts", "render"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of the one."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The content type of the other."""
_UNITS = {"s": "seconds", "1": "ratio"}
_TYPES = {"counter": "counter", "updown": "gauge", "gauge": "gauge", "histogram": "histogram"}
_LE = [*map(repr, BOUNDS), "+Inf"]
_SPECIAL = re.compile(r'[\\"\n]')
_ESCAPED = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def accepts(header: str) -> bool:
    """Whether a scraper that sends this ``Accept`` header should be given OpenMetrics."""
    return "application/openmetrics-text" in header


def render(metrics: Metrics, openmetrics: bool = False) -> str:
    """Everything that there is to tell now. Serve it as `OPENMETRICS` or as `TEXT`."""
    lines: list[str] = []
    for family in read(metrics):
        _family(family, openmetrics, lines)
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _family(family: Family, openmetrics: bool, lines: list[str]) -> None:
    spec = family.spec
    name, kind = prometheus_name(spec), _TYPES[spec.kind]
    sample = f"{name}_total" if kind == "counter" else name
    title = name if openmetrics else sample
    lines.append(f"# HELP {title} {_help(spec, openmetrics)}")
    lines.append(f"# TYPE {title} {kind}")
    if openmetrics and spec.unit in _UNITS:
        lines.append(f"# UNIT {title} {_UNITS[spec.unit]}")
    for point in family.points:
        labels = ",".join(f'{prometheus_label(label)}="{_escape(value)}"' for label, value in point.labels)
        if kind == "histogram":
            _buckets(name, labels, point, openmetrics, lines)
        else:
            lines.append(f"{sample}{f'{{{labels}}}' if labels else ''} {_number(point.value)}")


def _buckets(name: str, labels: str, point: Point, openmetrics: bool, lines: list[str]) -> None:
    total = 0
    for position, (count, le) in enumerate(zip(point.counts, _LE, strict=True)):
        total += count
        example = point.examples.get(position) if openmetrics else None
        lines.append(f'{name}_bucket{{{labels},le="{le}"}} {total}{"" if example is None else _exemplar(example)}')
    lines.append(f"{name}_sum{{{labels}}} {_number(point.value)}")
    lines.append(f"{name}_count{{{labels}}} {total}")


def _exemplar(example: Example) -> str:
    ids = f'{{trace_id="{example.trace_id}",span_id="{example.span_id}"}}'
    return f" # {ids} {_number(example.seconds)} {example.at:.3f}"


def _help(spec: Spec, openmetrics: bool) -> str:
    """OpenMetrics escapes quotes here, the older format does not."""
    text = spec.help.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if openmetrics else text


def _escape(value: str) -> str:
    """A label's value: anything but a lone surrogate, which UTF-8 cannot write, and which becomes a question mark."""
    value = value.encode("utf-8", "replace").decode()
    return _SPECIAL.sub(lambda found: _ESCAPED[found[0]], value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
