"""The comparison as one HTML page that needs nothing else: a table, and a picture of success, p99 and load.

No script, no file, no address: it can be mailed and opened in ten years.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .compare import Comparison, Result
from .report import method, seconds_text, share_text

__all__ = ["as_page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --paper: #fff; --faint: #5d6b79; --line: #d5dce3; --good: #0b6e4f;
  --bad: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #10161d; --faint: #9aa7b4; --line: #2c3742;
  --good: #4cc38a; --bad: #e0a84b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.figure { white-space: nowrap; }
td.figure small { display: block; color: var(--faint); }
td.why { min-width: 11rem; }
tr.dominated { color: var(--faint); }
div.wide { overflow-x: auto; }
svg { width: 100%; min-width: 40rem; height: auto; margin: 1rem 0; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .axis, svg .tick { stroke: var(--line); }
svg .faint { fill: var(--faint); }
.front { fill: var(--good); stroke: var(--good); } .dominated { fill: var(--bad); stroke: var(--bad); }
circle { fill-opacity: .35; }
p.note { color: var(--faint); }
"""

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 900, 460, 90, 20, 200, 50
_NAME, _LINE = 150, 15  # how long and how high a name is, about
_FAR = 100.0  # times: an interval that goes farther is cut off, or it would be all of the picture
_LEAST = 1e-5  # failures below this share are drawn as this


def as_page(found: Comparison) -> str:
    """The page as text."""
    rows = "\n".join(_row(result) for result in found.results)
    titles = ("candidate", "success", "p50", "p99", "p99.9", "requests per call", "peak per second", "recovers", "")
    heads = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What if: {len(found.results)} candidates</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1>What if</h1>
<p>{escape(found.source)}, seed {found.seed}.</p>
<div class="wide">{_picture(found.results)}</div>
<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table></div>
<p class="note">{escape(method(found))}. Latencies are those of the calls that succeeded.</p>
</body></html>
"""


def _row(result: Result) -> str:
    recovery = (
        "-" if result.recovery is None else "never" if math.isinf(result.recovery) else f"{result.recovery:.3g} s"
    )
    reasons = [f"{reason} {value:.2%}" for reason, value in (*result.refused.items(), *result.failed.items())]
    by = "" if result.dominated_by is None else f"dominated by {result.dominated_by}; "
    cells = (
        result.name,
        share_text(result.success),
        *(seconds_text(figure) for figure in result.latency.values()),
        f"{result.load.mean.value:.3f}",
        f"{result.peak.mean.value:.0f}",
        recovery,
        by + (", ".join(reasons) or "nothing failed"),
    )
    kind = ' class="dominated"' if result.dominated_by is not None else ""
    name, *figures, why = cells
    middle = "".join(f'<td class="figure">{_figure(cell)}</td>' for cell in figures)
    return f'<tr{kind}><td>{escape(name)}</td>{middle}<td class="why">{escape(why)}</td></tr>'


def _figure(cell: str) -> str:
    """A number, and its interval beneath it."""
    value, bracket, interval = cell.partition(" (")
    return f"{escape(value)}<small>{escape(bracket + interval)}</small>" if bracket else escape(value)


# -- the picture ----------------------------------------------------------------------------------------------


class _Axis:
    """A logarithmic axis over some decades, from its values to places on the page."""

    def __init__(self, values: Sequence[float], begins: float, ends: float) -> None:
        self._low = math.floor(math.log10(min(values)) + 1e-9)
        self._high = max(math.ceil(math.log10(max(values)) - 1e-9), self._low + 1)
        self._begins, self._ends = begins, ends

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begins + share * (self._ends - self._begins)

    @property
    def ticks(self) -> list[float]:
        return [10.0**decade for decade in range(self._low, self._high + 1)]


def _picture(results: Sequence[Result]) -> str:
    """p99 to the right, failures upward, both logarithmic; the size of a point is its load. Best is lower left."""
    drawn = [result for result in results if result.latency["p99"] is not None]
    if not drawn:
        return "<p>Too few calls succeeded for a picture of p99.</p>"
    xs = [value for result in drawn for value in _p99(result)]
    ys = [value for result in drawn for value in _failures(result)]
    x = _Axis(xs, _LEFT, _WIDTH - _RIGHT)
    y = _Axis(ys, _HEIGHT - _BOTTOM, _TOP)
    taken: list[tuple[float, float]] = []
    marks = "\n".join(_mark(result, x, y, taken) for result in drawn)
    return f"""<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="picture">
<title id="picture">Failed calls against p99 of each candidate; a larger point sends more requests per call</title>
{_grid(x, y)}
{marks}
</svg>"""


def _grid(x: _Axis, y: _Axis) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in x.ticks:
        at = x.place(value)
        label = f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"
        parts.append(f'<line class="tick" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for value in y.ticks:
        at = y.place(value)
        parts.append(f'<line class="tick" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        parts.append(f'<text class="faint" x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value * 100:g} %</text>')
    parts.append(
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">p99 of successful calls</text>'
    )
    middle = (_TOP + bottom) / 2
    turned = f'transform="rotate(-90 18 {middle})"'
    parts.append(f'<text x="18" y="{middle}" text-anchor="middle" {turned}>failed calls</text>')
    return "\n".join(parts)


def _free(at: float, up: float, taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Where a name can be read: beneath those that are there already."""
    while any(abs(at - x) < _NAME and abs(up - y) < _LINE for x, y in taken):
        up += _LINE
    taken.append((at, up))
    return at, up


def _mark(result: Result, x: _Axis, y: _Axis, taken: list[tuple[float, float]]) -> str:
    low, value, high = _p99(result)
    best, share, worst = _failures(result)
    kind = "front" if result.dominated_by is None else "dominated"
    at, up = x.place(value), y.place(share)
    size = 4 + 4 * math.sqrt(max(result.load.mean.value, 0.0))
    dashed = "" if result.dominated_by is None else ' stroke-dasharray="3 2"'
    begins, line = _free(at + size + 4, up - 6, taken)
    name = result.name if len(result.name) <= 28 else f"...{result.name[-25:]}"
    return (
        f'<g class="{kind}"><line x1="{x.place(low):.1f}" y1="{up:.1f}" x2="{x.place(high):.1f}" y2="{up:.1f}"/>'
        f'<line x1="{at:.1f}" y1="{y.place(best):.1f}" x2="{at:.1f}" y2="{y.place(worst):.1f}"/>'
        f'<circle cx="{at:.1f}" cy="{up:.1f}" r="{size:.1f}"{dashed}/></g>'
        f'<text x="{begins:.1f}" y="{line:.1f}">{escape(name)}</text>'
    )


def _p99(result: Result) -> tuple[float, float, float]:
    figure = result.latency["p99"]
    mean = result.success.mean if figure is None else figure.mean
    value = max(mean.value, 1e-6)
    return max(mean.low, value / _FAR), value, min(max(mean.high, value), value * _FAR)


def _failures(result: Result) -> tuple[float, float, float]:
    mean = result.success.mean
    return max(1 - mean.high, _LEAST), max(1 - mean.value, _LEAST), max(1 - mean.low, _LEAST)
