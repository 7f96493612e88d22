"""How the kept states of pipelines stand, as the rows of the overview. Read from `status()`, never counted twice.

A state that several pipelines share is listed once, under the first that has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..telemetry.histograms import BOUNDS
from .tally import Tally

__all__ = ["MOST_KEYS", "Standing"]

MOST_KEYS = 64
"""Keys of one state (hosts of a breaker, symbols of a limit) that are shown: a snapshot is built on the event loop."""

_FRESH = 60.0  # seconds for which what a server said of its limit is worth showing
_EDGES = (*(bound * 1000 for bound in BOUNDS), None)  # milliseconds
_MODES = {"forced_open": "forced open", "disabled": "disabled", "shadow": "shadow"}


class Standing:
    """Reads the states; remembers only how full each limit was, to tell when it will be empty."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], tuple[float, float]] = {}

    def rows(self, tallies: Iterable[Tally]) -> dict[str, list[dict[str, Any]]]:
        """``breakers``, ``limits``, ``bulkheads``, ``budgets``, ``pools`` and ``chaos``."""
        made: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("breakers", "limits", "bulkheads", "budgets", "pools", "chaos")
        }
        seen: set[int] = set()
        for tally in tallies:
            name = tally.pipeline.name
            for key, state in list(tally.pipeline.states.items()):
                read = _READERS.get(_kind(key))
                if read is None or id(state) in seen or not hasattr(state, "status"):
                    continue
                seen.add(id(state))
                where, how = read
                rows = islice(how(self, tally, key, state), MOST_KEYS)
                made[where] += [{"pipeline": name, **row} for row in rows]
        return made

    def _breakers(self, tally: Tally, key: str, circuits: Any) -> Iterator[dict[str, Any]]:
        if len(circuits) <= MOST_KEYS:
            circuits.status()  # which forgets those that nobody has used for long
        for circuit in list(circuits)[-MOST_KEYS:]:  # open and half-open ones come last, each kind in order of use
            row = circuit.status()
            rules, store = circuit.rules, circuit.store
            mode = row.get("mode", "normal")
            seconds = store.until - circuit.now() if row["state"] == "open" and mode == "normal" else None
            changes = [*tally.history.get(("breaker", circuit.key), ()), *tally.history.get(("breaker.mode", "*"), ())]
            yield {
                "key": circuit.key,
                "state": _MODES.get(mode, row["state"]),
                "since_s": row["since"],
                "next_probe_s": None if seconds is None else max(0.0, seconds),
                "failure_rate": row["failure_rate"],
                "calls": row["calls"],
                "window": {"calls": row["calls"], "min_calls": rules.min_calls, "seconds": rules.window},
                "opens": row["opens"],
                "generation": circuit.state.generation,
                "history": sorted(changes, key=lambda change: change["at"])[-20:],
            }

    def _limits(self, tally: Tally, key: str, limits: Any) -> Iterator[dict[str, Any]]:
        for name, row in limits.status(MOST_KEYS).items():
            used, most = row["used"], row["limit"]
            yield {
                "name": _named(key, name),
                "rate": row["rate"],
                "used": used,
                "limit": most,
                "headroom": max(0.0, most - used),
                "waiting": row["waiting"],
                "paused_for_s": row["paused_for"],
                "server": _server(tally, name),
                "empty_in_s": self._empty_in((tally.pipeline.name, f"{key}:{name}"), used, most),
            }

    def _empty_in(self, limit: tuple[str, str], used: float, most: float) -> float | None:
        """Seconds until nothing is left, if it goes on as since the last look; None if it does not run out."""
        now = time.monotonic()
        before, at = self._used.get(limit, (used, now))
        if now - at >= 1.0 or limit not in self._used:
            if len(self._used) > 10_000:
                self._used.clear()
            self._used[limit] = used, now
        if used >= most:
            return 0.0
        return (most - used) / ((used - before) / (now - at)) if used > before and now > at else None

    def _bulkheads(self, tally: Tally, key: str, state: Any) -> Iterator[dict[str, Any]]:
        kind = "adaptive" if _kind(key) == "adaptive_limit" else "bulkhead"
        for name, row in _each(state.status(), "busy"):
            wanted = {field: row[field] for field in ("limit", "busy", "waiting", "refused")}
            yield {"name": _named(key, name), **wanted, "kind": kind}

    def _budgets(self, tally: Tally, key: str, state: Any) -> Iterator[dict[str, Any]]:
        limits = state.limits()
        for name, row in state.status().items():
            left = row["balance"]
            most = max(limits.get(name, 0.0), left)  # calls may justify more than a quiet time would have
            spent = {"balance": left, "limit": most, "spent": row["scheduled"], "refused": row["refused"]}
            yield {"name": _named(key, name), **spent}

    def _pools(self, tally: Tally, key: str, state: Any) -> Iterator[dict[str, Any]]:
        row = state.status()
        opened, requests = row.get("connections_opened", row["opened"]), row["requests"]
        yield {
            "name": key.partition(":")[2] or key,
            **{field: row.get(field) for field in ("active", "idle", "waiting", "limit")},
            "opened": opened,
            "renewed": row["renewed"],
            "requests": requests,
            "reuse": max(0.0, 1.0 - opened / requests) if requests else None,
            "waits": _waits(tally),
        }

    def _chaos(self, tally: Tally, key: str, state: Any) -> Iterator[dict[str, Any]]:
        yield {"name": key, **state.status()}


_READERS: Mapping[str, tuple[str, Any]] = {
    "breaker": ("breakers", Standing._breakers),
    "rate_limit": ("limits", Standing._limits),
    "bulkhead": ("bulkheads", Standing._bulkheads),
    "adaptive_limit": ("bulkheads", Standing._bulkheads),
    "budget": ("budgets", Standing._budgets),
    "pool": ("pools", Standing._pools),
    "chaos": ("chaos", Standing._chaos),
}
"""By kind of state: the list that its rows belong to, and who reads it."""


def _kind(key: str) -> str:
    """``breaker#2`` and ``rate_limit:bybit/ip`` are a breaker and a rate_limit."""
    return key.partition(":")[0].partition("#")[0]


def _named(key: str, name: str) -> str:
    """``bulkhead`` where there is one for all, ``bulkhead#2 BTC`` where there is one by key."""
    return key if name in ("", "default") else f"{key} {name}"


def _each(status: Mapping[str, Any], field: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """A status of one thing, or of several by key."""
    return [("", status)] if isinstance(status.get(field), (int, float)) else status.items()


def _server(tally: Tally, name: str) -> dict[str, Any] | None:
    """What the server said lately: about the operation of this name, else the tightest of its words."""
    now = tally.now()
    reports = {
        op.op: (op.limits, now - op.limits_at)
        for op in tally.operations
        if op.limits is not None and 0 <= now - op.limits_at <= _FRESH
    }
    found = reports.get(name)
    if found is None and reports:
        found = min(reports.values(), key=lambda pair: pair[0].remaining / pair[0].limit if pair[0].limit else 0.0)
    if found is None:
        return None
    report, age = found
    left = None if report.reset_in is None else max(0.0, report.reset_in - age)
    return {"limit": report.limit, "remaining": report.remaining, "reset_in_s": left, "age_s": age}


def _waits(tally: Tally) -> list[dict[str, Any]]:
    """How often calls waited how long for the resource and for a connection of it."""
    waits = [op.waits[why].counts for op in tally.operations for why in ("pool", "connection") if why in op.waits]
    counts = list(map(sum, zip(*waits, strict=True))) if waits else [0] * (len(BOUNDS) + 1)
    return [{"le_ms": le, "count": count} for le, count in zip(_EDGES, counts, strict=True)]
