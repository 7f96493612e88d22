"""How breakers, limits, pools, bulkheads, budgets and chaos stand, as lines of text: what is in trouble first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from .rows import Data, Line, Titles, fitting, make_line, rows_of
from .words import clean, count, percent, seconds

__all__ = ["STATES", "readable", "states"]

STATES = Titles(("State of", "Is", "And"), (), ((2, 30), (0, 16), (2, 10)))


def states(snapshot: Data, find: str = "") -> list[Line]:
    """Breakers, limits, pools, bulkheads, budgets and chaos: what is in trouble first."""
    lines = [how(row) for name, how in _READERS.items() for row in rows_of(snapshot, name)]
    rank = {"bad": 0, "warn": 1}
    return fitting(sorted(lines, key=lambda line: rank.get(line.tone, 2)), find)


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
    return make_line(
        f"{kind}/{pipeline}/{clean(name)}", (title, standing, ", ".join(filter(None, rest))), tone, pipeline
    )


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
