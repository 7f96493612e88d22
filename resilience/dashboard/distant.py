"""What other processes' spans say of operations, breakers and limits, for the overview.

Calls count with one over the probability that they were kept with, so that rates come out right; of breakers and limits
there is the last word of each, on an attempt.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from .rows import Span
from .summary import error_of, number, outcome_of, text
from .tally import Row

__all__ = ["Distant"]

_MOST = 2_000  # operations, breakers and limits, each
_MOST_EARLY = 50  # attempts of one call
_SERVER_LIMIT = "resilience.server_limit."


class Distant:
    """Counts spans as they arrive. `version` grows with what it heard."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.rows: dict[tuple[str, str], Row] = {}
        self._breakers: dict[tuple[str, str], dict[str, Any]] = {}
        self._limits: dict[tuple[str, str], dict[str, Any]] = {}
        self._early: dict[tuple[str, str], list[Span]] = {}  # attempts by their call, which has not come yet
        self.version = 0

    def heard(self, spans: Iterable[Span]) -> None:
        """Spans of other processes, a batch. Attempts are counted with their call, which ends after them."""
        calls, attempts = [], defaultdict(list)
        for span in spans:
            if span.is_call:
                calls.append(span)
            elif span.is_attempt:
                attempts[span.trace_id, span.parent_id].append(span)
        self.version += 1
        pipelines = {}
        for call in calls:
            of = (call.trace_id, call.span_id)
            pipelines[of] = _pipeline(call)
            self._count(call, [*self._early.pop(of, ()), *attempts.get(of, ())])
        for parent in attempts.keys() - pipelines.keys():  # a batch ended between them and their call
            self._early[parent] = [*self._early.pop(parent, ()), *attempts[parent]][-_MOST_EARLY:]
            if len(self._early) > _MOST:
                del self._early[next(iter(self._early))]
        for parent, mine in attempts.items():
            for span in mine:
                self._last_word(span, pipelines.get(parent, span.service))

    def _count(self, call: Span, attempts: Iterable[Span]) -> None:
        key = _pipeline(call), text(call, "resilience.op") or call.name
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= _MOST:
                del self.rows[next(iter(self.rows))]
            row = self.rows[key] = Row(*key)
        now = self._now()
        row.turn_if_due(now)
        probability = number(call, "resilience.sampling.probability", 1.0)
        weight = 1 / min(max(probability, 1e-4), 1.0)
        for span in attempts:
            kind, outcome = text(span, "resilience.attempt.kind"), outcome_of(span)
            if kind in row.kinds:
                row.kinds[kind] += weight
            if outcome == "ok":
                row.good += weight
            elif outcome not in ("refused", "cancelled") or error_of(span) == "timeout":
                row.bad += weight
        for why in ("backoff", "retry_after"):
            row.backoff += weight * max(0.0, number(call, f"resilience.wait.{why}"))
        outcome = outcome_of(call)
        row.ended(
            self._now(), (call.end_ns - call.start_ns) / 1e9, outcome if outcome in row.outcomes else "failed", weight
        )

    def _last_word(self, span: Span, pipeline: str) -> None:
        key = text(span, "server.address") or span.service
        at = span.end_ns / 1e6
        state = text(span, "resilience.breaker.state")
        if state:
            before = self._breakers.get((pipeline, key))
            if before is None or before["at"] <= at:
                _keep(self._breakers, (pipeline, key), _breaker(span, state, at, before))
        most = number(span, f"{_SERVER_LIMIT}limit")
        op = text(span, "resilience.op")
        if most > 0 and self._limits.get((pipeline, op), {"at": at})["at"] <= at:
            left, reset = number(span, f"{_SERVER_LIMIT}remaining"), span.attributes.get(f"{_SERVER_LIMIT}reset_in")
            reset = reset if isinstance(reset, (int, float)) else None
            _keep(self._limits, (pipeline, op), {"at": at, "limit": most, "remaining": left, "reset_in_s": reset})

    def breakers(self, at: float) -> list[dict[str, Any]]:
        """As attempts saw them last; `at` is now, in epoch milliseconds."""
        return [
            {
                "pipeline": pipeline, "key": key, "state": row["state"], "since_s": max(0.0, at - row["since"]) / 1000,
                "next_probe_s": None, "failure_rate": None, "calls": None,
                "window": {"calls": None, "min_calls": None, "seconds": None},
                "opens": row["opens"], "generation": row["generation"], "history": row["history"],
            }
            for (pipeline, key), row in self._breakers.items()
        ]  # fmt: skip

    def limits(self, at: float) -> list[dict[str, Any]]:
        """What servers said last of each operation's limit."""
        made = []
        for (pipeline, op), row in self._limits.items():
            most, left, age = row["limit"], row["remaining"], max(0.0, at - row["at"]) / 1000
            reset = None if row["reset_in_s"] is None else max(0.0, row["reset_in_s"] - age)
            server = {"limit": most, "remaining": left, "reset_in_s": reset, "age_s": age}
            made.append({
                "pipeline": pipeline, "name": op, "rate": "", "used": most - left, "limit": most, "headroom": left,
                "waiting": 0, "paused_for_s": 0.0, "server": server, "empty_in_s": None,
            })  # fmt: skip
        return made


def _breaker(span: Span, state: str, at: float, before: dict[str, Any] | None) -> dict[str, Any]:
    generation = int(number(span, "resilience.breaker.generation"))
    row = {"at": at, "since": at, "state": state, "opens": 0, "generation": generation, "history": []}
    if before is not None:
        row |= {name: before[name] for name in ("since", "opens", "history")}
        if before["state"] != state:
            change = {"at": at, "old": before["state"], "new": state, "cause": "as an attempt saw it"}
            row |= {"since": at, "history": [*before["history"], change][-20:]}
            row["opens"] = before["opens"] + (state == "open")
    return row


def _keep(home: dict[Any, dict[str, Any]], key: Any, row: dict[str, Any]) -> None:
    if key not in home and len(home) >= _MOST:
        del home[next(iter(home))]
    home[key] = row


def _pipeline(call: Span) -> str:
    return text(call, "resilience.pipeline") or call.service
