"""The pictures, as SVG: the course of the call in which everything fails, and the load by the share of failures.

Colours are the page's; every picture says in words what it shows, for those who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ..analysis import Load, Step
from .words import duration

__all__ = ["load_picture", "timeline_picture"]

_WIDTH, _LEFT, _ROW, _BAR = 720, 96, 26, 16


def timeline_picture(steps: Sequence[Step]) -> str:
    """One row for each step; what has no end runs out of the picture."""
    *steps, last = steps
    ends = [step.end for step in steps if math.isfinite(step.end)] + [step.start for step in steps]
    span = max(ends, default=0.0) or 1.0
    endless = any(math.isinf(step.end) for step in steps)
    scale = (_WIDTH - _LEFT - 8) / span * (0.85 if endless else 1.0)
    rows, number = [], 0
    for at, step in enumerate(steps):
        number += step.kind == "attempt"
        name = f"attempt {number}" if step.kind == "attempt" else step.kind
        x, y = _LEFT + step.start * scale, at * _ROW + 4
        width = _WIDTH - x if math.isinf(step.end) else max(2.0, (step.end - step.start) * scale)
        until = "no end" if math.isinf(step.end) else f"until {duration(step.end)}"
        said = escape(f"{name}: from {duration(step.start)} {until}{f', {step.note}' if step.note else ''}")
        rows.append(
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{escape(step.kind)}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2">'
            f"<title>{said}</title></rect>"
        )
    height = len(steps) * _ROW + 28
    axis = f'<line class="axis" x1="{_LEFT}" y1="{height - 22}" x2="{_WIDTH - 8}" y2="{height - 22}"/>'
    marks = "".join(_mark(span * part / 4, _LEFT + span * part / 4 * scale, height) for part in range(5))
    return _svg(height, f"The failing call: {last.note}", "".join(rows) + axis + marks)


def _mark(value: float, x: float, height: int) -> str:
    anchor = "end" if x > _WIDTH - 60 else "middle"
    return f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{escape(duration(float(f"{value:.3g}")))}</text>'


def load_picture(loads: Sequence[Load]) -> str:
    """Three bars for each share of failures: at once, by silence, within the budget."""
    most = max(1.0, *(max(load.errors, load.silence) for load in loads))
    scale = (_WIDTH - _LEFT - 90) / most
    rows, y = [], 4
    for load in loads:
        rows.append(f'<text x="{_LEFT - 8}" y="{y + 24}" text-anchor="end">{100 * load.share:.0f} % fail</text>')
        for kind, value in (("errors", load.errors), ("silence", load.silence), ("budgeted", load.budgeted)):
            rows.append(
                f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{max(2.0, value * scale):.1f}" height="11" rx="2">'
                f"<title>{kind}: {value:.3g} requests a call</title></rect>"
                f'<text x="{_LEFT + value * scale + 6:.1f}" y="{y + 10}">{value:.3g}</text>'
            )
            y += 14
        y += 12
    worst = loads[-1]
    plain = max(worst.errors, worst.silence)
    said = f"Requests a call: up to {plain:.3g} if all fail, {worst.budgeted:.3g} within the budget"
    return _svg(y, said, "".join(rows))


def _svg(height: float, said: str, inside: str) -> str:
    said = escape(said)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" width="100%" role="img" aria-label="{said}">'
        f"<title>{said}</title>{inside}</svg>"
    )
