"""How a manager's pools, breakers, limits and pipelines stand, as plain data in a fixed shape.

Read from the states that the policies keep, never counted twice: a state that several pipelines share is listed once,
under the first that has it. What has not been used yet has no state; only pools are listed before their first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from resilience import Pipeline

from .sessions import Sessions

__all__ = ["standing"]


def standing(
    pipelines: Iterable[Pipeline], shared: Mapping[str, Any], sessions: Mapping[str, Sessions]
) -> dict[str, dict[str, Any]]:
    """``{"pools": ..., "breakers": ..., "limits": ..., "pipelines": ...}``.

    Pools: by resource, see `_pool`. Breakers and limits: by ``"PIPELINE:KEY"``, where KEY is the host, the account or
    whatever the policy tells calls apart by. Pipelines: by name, their policies in order and what else they keep.
    """
    report: dict[str, dict[str, Any]] = {
        "pools": {name: _pool(shared.get(f"pool:{name}"), of) for name, of in sessions.items()},
        "breakers": {},
        "limits": {},
        "pipelines": {},
    }
    seen: set[int] = set()
    for pipeline in pipelines:
        row = report["pipelines"][pipeline.name] = {"policies": [type(policy).__name__ for policy in pipeline.policies]}
        for key, state in pipeline.states.items():
            if id(state) in seen or not hasattr(state, "status"):
                continue
            seen.add(id(state))
            kind, number = _parted(key)
            if kind == "breaker":
                report["breakers"] |= {f"{pipeline.name}{number}:{of}": row for of, row in state.status().items()}
            elif kind == "rate_limit":
                report["limits"] |= {f"{pipeline.name}{number}:{of}": row for of, row in state.status().items()}
            elif kind != "pool":
                row[key] = state.status()
    return report


def _parted(key: str) -> tuple[str, str]:
    """``breaker#2`` is the kind and ``#2``; ``rate_limit:bybit/ip/600/5s`` the kind and nothing."""
    kind, _, number = key.partition(":")[0].partition("#")
    return kind, number and f"#{number}"


def _pool(state: Any, sessions: Sessions) -> dict[str, Any]:
    """One resource: `opened` counts connections, `renewed` sessions that broke and were replaced, `requests` attempts.

    `active` attempts hold the session now, `waiting` ones wait until it is open, `idle` connections wait for work.
    """
    now = {} if state is None else state.status()
    return {
        "limit": sessions.settings.limit,
        "limit_per_host": sessions.settings.limit_per_host,
        "active": now.get("active", 0),
        "idle": now.get("idle", 0),
        "waiting": now.get("waiting", 0),
        "opened": sessions.connections(),
        "renewed": now.get("renewed", 0),
        "requests": now.get("requests", 0),
    }
