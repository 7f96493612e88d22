"""A snapshot as lines of text: operations, how states stand, and failures. Pure functions; sorted, filtered, and clean.

A *line* has a key (what it is about), cells, a tone (`ok`, `warn`, `bad` or none) and what a filter looks into.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from rich.cells import cell_len

from .words import ago, clean, count, ms, percent, seconds

__all__ = [
    "FAILURES",
    "OPERATIONS",
    "SORTS",
    "STATES",
    "Line",
    "Titles",
    "failures",
    "headline",
    "operations",
    "states",
]


class Titles(NamedTuple):
    """The heads of a table, which columns end at the right, and which give way first, down to how many cells."""

    names: tuple[str, ...]
    right: Collection[int]
    giving: tuple[tuple[int, int], ...]

    def widths(self, lines: Iterable[Line], width: int, gap: int = 2) -> list[int]:
        """How many cells each column gets, so that all and the gaps between them are at most `width` wide."""
        rows = [self.names, *(line.cells for line in lines)]
        wide = [max(cell_len(row[column]) for row in rows) for column in range(len(self.names))]
        for column, least in self.giving:
            over = sum(wide) + gap * len(wide) - width
            wide[column] -= min(max(over, 0), max(wide[column] - least, 0))
        return wide


OPERATIONS = Titles(
    ("Operation", "Calls/s", "Calls ok", "Att. ok", "Retries", "p50", "p99", "Errors"), range(1, 8), ((0, 12),)
)
STATES = Titles(("State of", "Is", "And"), (), ((2, 30), (0, 16), (2, 10)))
FAILURES = Titles(("Ago", "Operation", "Outcome", "Took", "Why"), (0, 3), ((4, 40), (2, 12), (1, 10), (4, 10)))

Data = Mapping[str, Any]


class Line(NamedTuple):
    """One row of a table."""

    key: str
    cells: tuple[str, ...]
    tone: str = ""
    haystack: str = ""


def _line(key: str, cells: Iterable[object], tone: str = "", more: str = "") -> Line:
    shown = tuple(clean(cell) for cell in cells)
    return Line(key, shown, tone, " ".join((*shown, clean(more))).lower())


def _found(lines: Iterable[Line], find: str) -> list[Line]:
    """Those that hold every word of the filter."""
    words = find.lower().split()
    return [line for line in lines if all(word in line.haystack for word in words)]


def _each(data: Data, name: str) -> list[Data]:
    rows = data.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


# -- operations ----------------------------------------------------------------------------------------------------


def recent(rate: Any) -> float:
    """Calls a second: the mean of the last five whole seconds, for the present one is not over."""
    before = [each for each in rate[-6:-1] if isinstance(each, (int, float))] if isinstance(rate, list) else []
    return sum(before) / len(before) if before else 0.0


def _errors(op: Data) -> float:
    errors = op.get("errors")
    return sum(each for each in errors if isinstance(each, (int, float))) if isinstance(errors, list) else 0.0


def _kind(op: Data, kind: str) -> float:
    kinds = op.get("attempts")
    found = kinds.get(kind) if isinstance(kinds, Mapping) else None
    return found if isinstance(found, (int, float)) else 0.0


SORTS: Mapping[str, Callable[[Data], float]] = {
    "errors": _errors,
    "calls/s": lambda op: recent(op.get("rate")),
    "p99": lambda op: op.get("p99_ms") or 0.0,
    "retries": lambda op: _kind(op, "retry"),
    "name": lambda op: 0.0,
}
"""How operations may be ordered, the largest first; by name where that is equal."""


def operations(snapshot: Data, sort: str = "errors", find: str = "") -> list[Line]:
    """Every operation of every pipeline; shares, quantiles and errors are of the last minute."""
    key = SORTS[sort]
    ordered = sorted(_each(snapshot, "ops"), key=lambda op: (-key(op), str(op.get("op")), str(op.get("pipeline"))))
    return _found(map(_operation, ordered), find)


def _operation(op: Data) -> Line:
    failed, name, pipeline = _errors(op), clean(op.get("op")), clean(op.get("pipeline"))
    title = f"{name} ({pipeline})" if pipeline else name  # the name first: it is what a narrow terminal has room for
    cells = (
        title, count(round(recent(op.get("rate")), 1)), percent(op.get("effective")),
        percent(op.get("actual")), count(_kind(op, "retry")), ms(op.get("p50_ms")), ms(op.get("p99_ms")), count(failed),
    )  # fmt: skip
    return _line(f"{pipeline}/{name}", cells, "bad" if failed else "")


def headline(snapshot: Data) -> str:
    """The last minute in one line of less than 80 characters."""
    now = snapshot.get("headline")
    now = now if isinstance(now, Mapping) else {}
    return (
        f"{count(round(now.get('rate') or 0.0, 1))}/s  ok {percent(now.get('effective'))}"
        f" (attempts {percent(now.get('actual'))})  p50 {ms(now.get('p50_ms'))}  p99 {ms(now.get('p99_ms'))}"
        f"  backoff {percent(now.get('backoff_share'))}"
    )


# -- states --------------------------------------------------------------------------------------------------------


def states(snapshot: Data, find: str = "") -> list[Line]:
    """Breakers, limits, pools, bulkheads, budgets and chaos: what is in trouble first."""
    lines = [how(row) for name, how in _READERS.items() for row in _each(snapshot, name)]
    rank = {"bad": 0, "warn": 1}
    return _found(sorted(lines, key=lambda line: rank.get(line.tone, 2)), find)


def readable(name: object, rate: str = "") -> str:
    """A state's name without what the core adds to keep names apart: ``rate_limit:bybit/ip/600/5s`` is ``bybit ip``."""
    said = clean(name)
    plain = re.sub(r"^[a-z_]+:", "", said)
    plain = plain.replace(f"/{rate}", "") if rate else re.sub(r"/[\d.]+( or |/).*$", "", plain)
    parts = [part.removeprefix("op:") for part in re.split(r"[ /]", plain) if part]
    kept = [part for number, part in enumerate(parts) if not number or part != parts[number - 1]]
    return " ".join(kept) or said


def _state(kind: str, row: Data, name: str, standing: str, rest: Iterable[str], tone: str) -> Line:
    pipeline = clean(row.get("pipeline"))
    plain = "" if name in ("default", kind, "adaptive_limit") else name
    title = " ".join(filter(None, (kind, plain or pipeline)))
    return _line(f"{kind}/{pipeline}/{clean(name)}", (title, standing, ", ".join(filter(None, rest))), tone, pipeline)


def _breaker(row: Data) -> Line:
    state = str(row.get("state"))
    tone = {"closed": "", "open": "bad", "forced open": "bad"}.get(state, "warn")
    probe, failing = row.get("next_probe_s"), row.get("failure_rate")
    rest = (
        f"for {seconds(row.get('since_s'))}",
        "" if probe is None else f"probes in {seconds(probe)}",
        "" if failing is None else f"{percent(failing)} failing",
        f"opened {count(row.get('opens'))}x" if row.get("opens") else "",
    )
    return _state("breaker", row, clean(row.get("key")), state, rest, tone)


def _limit(row: Data) -> Line:
    left, most, paused, server = (row.get(name) for name in ("headroom", "limit", "paused_for_s", "server"))
    said = server if isinstance(server, Mapping) else None
    tone = "bad" if paused else "warn" if row.get("waiting") or (most and (left or 0) < most * 0.1) else ""
    rest = (
        f"paused for {seconds(paused)}" if paused else "",
        f"{count(row.get('waiting'))} waiting" if row.get("waiting") else "",
        "" if said is None else f"server {count(said.get('remaining'))}/{count(said.get('limit'))}",
        "" if row.get("empty_in_s") is None else f"empty in {seconds(row.get('empty_in_s'))}",
    )
    name = readable(row.get("name"), str(row.get("rate") or ""))
    name = f"{'' if name in ('rate_limit', 'default') else name} {clean(row.get('rate'))}".strip()
    return _state("limit", row, name, f"{count(left)} of {count(most)} left", rest, tone)


def _pool(row: Data) -> Line:
    rest = (
        f"{count(row.get('idle'))} idle",
        f"{count(row.get('waiting'))} waiting" if row.get("waiting") else "",
        f"{percent(row.get('reuse'))} reused",
        f"renewed {count(row.get('renewed'))}x" if row.get("renewed") else "",
    )
    tone = "warn" if row.get("waiting") else ""
    return _state("pool", row, readable(row.get("name")), f"{count(row.get('active'))} active", rest, tone)


def _bulkhead(row: Data) -> Line:
    kind = "adaptive" if row.get("kind") == "adaptive" else "bulkhead"
    rest = (
        f"{count(row.get('waiting'))} waiting" if row.get("waiting") else "",
        f"{count(row.get('refused'))} refused" if row.get("refused") else "",
    )
    busy = f"{count(row.get('busy'))} of {count(row.get('limit'))} busy"
    return _state(kind, row, readable(row.get("name")), busy, rest, "warn" if row.get("waiting") else "")


def _budget(row: Data) -> Line:
    rest = (f"{count(row.get('spent'))} spent", f"{count(row.get('refused'))} refused" if row.get("refused") else "")
    tone = "" if row.get("balance") else "warn"
    return _state("budget", row, readable(row.get("name")), f"{count(row.get('balance'))} left", rest, tone)


def _chaos(row: Data) -> Line:
    on = bool(row.get("enabled"))
    standing = f"on, {percent(row.get('rate'))}" if on else "off"
    return _state(
        "chaos", row, readable(row.get("name")), standing, (f"{count(row.get('struck'))} struck",), "warn" if on else ""
    )


_READERS: Mapping[str, Callable[[Data], Line]] = {
    "breakers": _breaker, "limits": _limit, "pools": _pool, "bulkheads": _bulkhead, "budgets": _budget, "chaos": _chaos,
}  # fmt: skip


# -- failures ------------------------------------------------------------------------------------------------------


def failures(traces: Iterable[Data], now: float | None = None, find: str = "") -> list[Line]:
    """Summaries of calls as they come (newest first); `now` in epoch milliseconds."""
    here = time.time() * 1000 if now is None else now
    return _found((_failure(trace, here) for trace in traces), find)


def _failure(trace: Data, now: float) -> Line:
    outcome, error = clean(trace.get("outcome")), clean(trace.get("error_type"))
    said = error if error and outcome != "ok" else outcome
    why = trace.get("why") or f"{count(trace.get('attempts'))} attempts"
    cells = (ago(trace.get("start"), now), trace.get("op"), said, ms(trace.get("duration_ms")), why)
    tone = {"ok": "ok", "cancelled": "", "refused": "warn", "throttled": "warn"}.get(outcome, "bad")
    more = f"{trace.get('pipeline')} {trace.get('service')} {outcome} {trace.get('reason')}"
    return _line(str(trace.get("trace_id")), cells, tone, more)
