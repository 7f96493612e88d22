"""One reading of a `Metrics`: every metric of the catalogue with its points, ready for whoever writes them down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .catalogue import CATALOGUE, Spec
from .histograms import Example, Histogram
from .measures import Operation
from .metrics import Metrics

__all__ = ["BREAKER_STATES", "Family", "Labels", "Point", "read"]

BREAKER_STATES = ("closed", "half-open", "open", "forced_open", "disabled", "shadow")
"""In the order of their codes. A mode other than the normal one is told in place of the state beneath it."""
_MOST_KEYS = 200

Labels = tuple[tuple[str, str], ...]
"""(name, value) in the order of the catalogue; a label that does not apply is empty."""
Add = Callable[..., None]


class Point(NamedTuple):
    """A value; a histogram's buckets instead have counts, a sum, and the examples by bucket."""

    labels: Labels
    value: float
    counts: tuple[int, ...] = ()
    examples: Mapping[int, Example] = {}


class Family(NamedTuple):
    """A metric and its points."""

    spec: Spec
    points: list[Point]


def read(metrics: Metrics) -> list[Family]:
    """Everything, in the order of the catalogue; metrics without points are left out. No series comes twice."""
    table: dict[str, dict[Labels, Point]] = {name: {} for name in CATALOGUE}

    def add(name: str, value: Any, *labels: str) -> None:
        names = CATALOGUE[name].labels
        pairs = tuple(zip(names, labels, strict=True))
        if isinstance(value, Histogram):
            table[name][pairs] = Point(pairs, value.sum, tuple(value.counts), dict(value.examples))
        else:
            table[name][pairs] = Point(pairs, value)

    for op in metrics.operations:
        _operation(op, add)
    for (kind, key, new), count in list(metrics.changes.items()):
        add("resilience.state.changes", count, kind, key, new)
    states = metrics.states()
    _servers([status for _, policy, status in states if _kind(policy) == "pool"], add)
    for pipeline, policy, status in states:
        for reader in _READERS.get(_kind(policy), ()):
            reader(status, lambda name, value, *more, at=(pipeline, policy): add(name, value, *at, *more))
    add("resilience.metrics.unread", metrics.unread)
    return [Family(CATALOGUE[name], list(points.values())) for name, points in table.items() if points]


def _kind(policy: str) -> str:
    """``breaker#2`` is a breaker, ``rate_limit:bybit/ip/600/5s`` a rate limit."""
    return policy.partition(":")[0].partition("#")[0]


def _operation(op: Operation, add: Add) -> None:
    of = (op.pipeline, op.op)
    ok = op.ok.count
    if ok or not op.failures:
        add("resilience.calls", ok, *of, "ok", "")
    for (outcome, error), count in list(op.failures.items()):
        add("resilience.calls", count, *of, outcome, error)
    add("resilience.calls.active", op.active, *of)
    add("resilience.call.duration", op.ok, *of, "ok")
    for outcome, calls in list(op.others.items()):
        add("resilience.call.duration", calls, *of, outcome)
    add("resilience.attempts", op.originals, *of, "original", "ok", "")
    for (kind, outcome, error), count in list(op.attempts.items()):
        add("resilience.attempts", count, *of, kind, outcome, error)
    add("resilience.attempt.duration", op.attempt_ok, *of, "ok")
    for outcome, durations in list(op.attempt_others.items()):
        add("resilience.attempt.duration", durations, *of, outcome)
    for why, waits in list(op.waits.items()):
        add("resilience.wait.duration", waits, *of, why)
    for (method, address, port, status, error), durations in list(op.http.items()):
        add("http.client.request.duration", durations, method, address, str(port), str(status or ""), error)
    for use, count in list(op.connections.items()):
        add("resilience.connections", count, *of, use)
    if op.limits is not None:
        add("resilience.server_limit.limit", op.limits.limit, *of)
        add("resilience.server_limit.remaining", op.limits.remaining, *of)


def _rows(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows by key, a bounded number of them; a state that has no keys is one row of its own."""
    if not all(isinstance(row, Mapping) for row in status.values()):
        yield "default", status
        return
    yield from list(status.items())[:_MOST_KEYS]


def _breaker(status: Mapping[str, Any], add: Add) -> None:
    for key, row in _rows(status):
        now = row.get("mode") or row["state"]
        for state in BREAKER_STATES:
            add("resilience.breaker.state", int(state == now), key, state)
        add("resilience.breaker.state.code", BREAKER_STATES.index(now), key)
        add("resilience.breaker.state.age", max(0.0, row["since"]), key)
        add("resilience.breaker.failure_rate", row["failure_rate"], key)
        add("resilience.breaker.window.calls", row["calls"], key)
        add("resilience.breaker.opened", row["opens"], key)


def _budget(status: Mapping[str, Any], add: Add) -> None:
    for key, row in _rows(status):
        for name in ("balance", "scheduled", "refused"):
            add(f"resilience.budget.{name}", row[name], key)


def _limiter(status: Mapping[str, Any], add: Add) -> None:
    for key, row in _rows(status):
        used, limit = row["used"], row["limit"]
        _triple("resilience.limiter", used, limit, key, add)
        add("resilience.limiter.headroom", max(0.0, limit - used), key)
        add("resilience.limiter.waiting", row["waiting"], key)
        add("resilience.limiter.pause", row["paused_for"], key)


def _bulkhead(status: Mapping[str, Any], add: Add) -> None:
    for key, row in _rows(status):
        _triple("resilience.bulkhead", row["busy"], row["limit"], key, add)
        add("resilience.bulkhead.waiting", row["waiting"], key)
        add("resilience.bulkhead.refused", row["refused"], key)


def _triple(name: str, used: float, limit: float, key: str, add: Add) -> None:
    add(f"{name}.usage", used, key)
    add(f"{name}.limit", limit, key)
    add(f"{name}.utilization", used / limit if limit else 0.0, key)


def _pool(status: Mapping[str, Any], add: Add) -> None:
    for field, name in _POOL.items():
        if field in status:
            add(f"resilience.pool.{name}", status[field])
    if "open" in status and "idle" in status:
        add("resilience.pool.open_connections", status["idle"], "idle")
        add("resilience.pool.open_connections", max(0, status["open"] - status["idle"]), "used")


def _servers(pools: Iterable[Mapping[str, Any]], add: Add) -> None:
    """Connections and requests by server, over all pools, for the conventions know of none.

    A pool's resource tells them as ``servers``: by ``host:port`` how many are ``active``, ``idle``, and ``requests``.
    """
    found: dict[tuple[str, str], Counter[str]] = {}
    for status in pools:
        told = status.get("servers")
        for name, row in list(told.items())[:_MOST_KEYS] if isinstance(told, Mapping) else ():
            address, _, port = str(name).rpartition(":")
            if isinstance(row, Mapping):
                counts = found.setdefault((address.strip("[]"), port), Counter())
                counts.update({key: int(row.get(key, 0)) for key in ("active", "idle", "requests")})
    for server, counts in found.items():
        for state in ("active", "idle"):
            add("http.client.open_connections", counts[state], state, *server)
        add("http.client.active_requests", counts["requests"], *server)


_POOL = {
    "active": "usage",
    "waiting": "pending_requests",
    "requests": "requests",
    "opened": "opened",
    "renewed": "renewed",
    "limit": "connection.max",
    "connections_opened": "connection.opened",
    "connections_discarded": "connection.discarded",
}
"""From the fields of a pool's status, and of the session's in it, to metrics."""


def _cache(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.cache.size", status["size"])
    for field, what in (("hits", "hit"), ("misses", "miss"), ("stale", "stale"), ("passed", "passed")):
        add("resilience.cache.requests", status[field], what)


def _coalesce(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.coalesce.flights", status["flights"])
    add("resilience.coalesce.joined", status["coalesced"])


def _shed(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.shed.refused", status["refused"])
    for priority, chance in status["refusal"].items():
        add("resilience.shed.probability", chance, priority)


def _fallback(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.fallback.used", status["used"])


def _chaos(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.chaos.enabled", int(status["enabled"]))
    add("resilience.chaos.strikes", status["struck"])


def _hedge(status: Mapping[str, Any], add: Add) -> None:
    add("resilience.hedge.left_behind", status["left_behind"])


_READERS: dict[str, tuple[Callable[[Mapping[str, Any], Add], None], ...]] = {
    "breaker": (_breaker,), "budget": (_budget,), "rate_limit": (_limiter,), "bulkhead": (_bulkhead,),
    "adaptive_limit": (_bulkhead,), "pool": (_pool,), "cache": (_cache,), "coalesce": (_coalesce,), "shed": (_shed,),
    "fallback": (_fallback,), "chaos": (_chaos,), "hedge": (_hedge,),
}  # fmt: skip
