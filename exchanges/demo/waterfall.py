"""One retried call, drawn: a line for each attempt and each wait, on a common time axis."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from resilience.telemetry.why import why

from .tally import Bar, Story

__all__ = ["waterfall"]

_WIDTH = 36
_PHASES = {"phase.dns": "DNS", "phase.connect": "connect", "phase.tls": "TLS", "phase.first_byte": "first byte"}


def waterfall(story: Story) -> Iterator[Text]:
    """The lines of the picture, widest about 110 columns."""
    total = story.ended - story.begun
    failed = len(story.bars) - 1
    yield Text(_why(story, total))
    yield Text(f"{story.op}: {total:.2f} s, {len(story.bars)} attempts, {failed} of them in vain", style="bold")
    last = story.begun
    for bar in story.bars:
        wait = bar.begun - last
        if wait > 0.001:
            yield _line("", _wait_name(bar), story, last, bar.begun, "░", "dim", f"{wait:.2f} s")
        style = "red" if bar.reason else "green"
        said = f"{bar.ended - bar.begun:.3f} s  {bar.reason or 'ok'}{_detail(bar)}"
        yield _line(str(bar.number), bar.kind, story, bar.begun, bar.ended, "█", style, said)
        last = bar.ended


def _why(story: Story, total: float) -> str:
    """The sentence that the call's span would carry, from what the demonstration counted itself."""
    attempts = [
        {f"resilience.{key}": value for key, value in bar.notes.items()}
        | {"resilience.attempt.number": bar.number, "resilience.attempt.kind": bar.kind}
        | ({"error.type": bar.reason} if bar.reason not in ("", "cancelled") else {})
        | {"resilience.attempt.outcome": "failed" if bar.reason else "ok"}
        for bar in story.bars
    ]
    waits = {
        f"resilience.{key}": sum(bar.notes.get(key, 0.0) for bar in story.bars)
        for key in {key for bar in story.bars for key in bar.notes if key.startswith("wait.")}
    }
    return why({"resilience.outcome": "ok" if story.ok else "failed", **waits}, attempts, total)


def _wait_name(bar: Bar) -> str:
    return "as ordered" if bar.notes.get("retry") == "retry_after" else "backoff"


def _detail(bar: Bar) -> str:
    """Which connection it rode on, and how long a new one took to make."""
    connection = bar.notes.get("connection")
    if connection is None:
        return ""
    phases = [f"{name} {bar.notes[key] * 1000:.1f} ms" for key, name in _PHASES.items() if key in bar.notes]
    again = ", sent again at once" if bar.notes.get("retry") == "transparent" else ""
    return f", {connection} connection{again}" + (f" ({', '.join(phases)})" if phases else "")


def _line(number: str, name: str, story: Story, begun: float, ended: float, mark: str, style: str, said: str) -> Text:
    scale = _WIDTH / max(1e-9, story.ended - story.begun)
    left = min(_WIDTH - 1, int((begun - story.begun) * scale))
    length = max(1, min(_WIDTH - left, round((ended - begun) * scale)))
    line = Text(f"{number:>3} {name:<10} ")
    line.append(" " * left)
    line.append(mark * length, style=style)
    line.append(" " * (_WIDTH - left - length) + " ")
    line.append(said, style=style)
    return line
