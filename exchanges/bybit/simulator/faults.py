"""Fault plans: which requests go wrong, and how.

A plan is a JSON or YAML file or a mapping::

    version: 1
    seed: 7                # optional; the simulator's seed otherwise
    stall_seconds: 30      # optional; for rules of `stall` that have no `seconds`
    rules:
      - {fault: reset_after_read, rate: 5%, operations: [ticker]}
      - {fault: stall, nth: [3, 4], seconds: 2}
      - {fault: reset_on_reuse, rate: 1}

A rule strikes the requests whose number (from 1, over all requests) is in `nth`, or the share `rate` of requests.
`reused_only` spares the first request of a connection; `close_on_reuse` and `reset_on_reuse` always do.
One random number is drawn for every request and the rates of its rules are laid side by side, so each is the exact
share of requests that it says, never two faults strike one request, and the same seed and order of requests
give the same faults.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .documents import DocumentError, read_document
from .errors import FaultPlanError
from .routes import NAMES

__all__ = ["FAULTS", "FaultDice", "FaultPlan", "FaultRule"]

FAULTS: Mapping[str, str] = {
    "reset_before_read": "RST as soon as the request's first bytes arrive; it is not executed",
    "reset_after_read": "the request is executed, then RST instead of an answer",
    "close_on_reuse": "FIN without an answer to the second or a later request of a connection",
    "reset_on_reuse": "RST without an answer to the second or a later request of a connection",
    "reset_mid_body": "status 200 and half of the body, then RST",
    "cut_body": "a Content-Length that half of the body falls short of, then FIN",
    "cut_gzip": "half of a gzip body under a Content-Length that fits it (cut_body for who takes no gzip)",
    "stall": "no answer for `seconds`, then FIN",
    "slow_drip": "headers at once, then one byte of the body every `seconds` (0.1)",
    "html_500": "HTTP 500 with a page of HTML",
    "html_502": "HTTP 502 with a page of HTML",
    "html_503": "HTTP 503 with a page of HTML",
    "http_429": "HTTP 429, with Retry-After if the rule has `retry_after`",
    "http_403": "HTTP 403 'access too frequent'",
    "ret_10006": "HTTP 200, retCode 10006, the limit used up until `seconds` (1) from now",
    "ret_10016": "HTTP 200, retCode 10016 (server error)",
    "ret_10000": "HTTP 200, retCode 10000 (server timeout)",
    "invalid_json": "HTTP 200 with a body that is no JSON",
    "html_200": "HTTP 200 with a page of HTML",
    "empty_200": "HTTP 200 with an empty body",
}
"""Every fault that a rule may name, and what it does."""

_SECONDS = {"stall": 30.0, "slow_drip": 0.1, "ret_10006": 1.0}
_ON_REUSE = ("close_on_reuse", "reset_on_reuse")
_PLAN_KEYS = ("version", "seed", "rules", "stall_seconds")
_RULE_KEYS = ("fault", "rate", "nth", "reused_only", "operations", "seconds", "retry_after")


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One row of a plan. An empty `operations` means all of them; an empty `nth` means that `rate` decides."""

    fault: str
    rate: float = 0.0
    nth: frozenset[int] = frozenset()
    reused_only: bool = False
    operations: frozenset[str] = frozenset()
    seconds: float = 0.0
    retry_after: str | None = None

    def concerns(self, operation: str | None) -> bool:
        """Whether the rule speaks of this operation (None: a path that is no operation)."""
        return not self.operations or operation in self.operations


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A checked plan."""

    rules: tuple[FaultRule, ...] = ()
    seed: int | None = None

    @classmethod
    def load(cls, path: str | Path) -> FaultPlan:
        """The plan in a JSON or YAML file. Raises `FaultPlanError`, one line that names the file."""
        try:
            return cls.parse(read_document(Path(path)))
        except (DocumentError, FaultPlanError) as exc:
            raise FaultPlanError(f"fault plan {path}: {exc}") from exc

    @classmethod
    def parse(cls, data: Any) -> FaultPlan:
        """The plan in a mapping. Raises `FaultPlanError`, one line that names the place."""
        plan = _mapping(data, "the plan", _PLAN_KEYS)
        if plan.get("version") != 1 or isinstance(plan["version"], bool):
            raise FaultPlanError(f"version is {plan.get('version')!r}, must be 1")
        seed = plan.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise FaultPlanError(f"seed is {seed!r}, must be a whole number")
        rows = plan.get("rules", [])
        if not isinstance(rows, list):
            raise FaultPlanError(f"rules is {rows!r}, must be a list")
        stall = _number(plan.get("stall_seconds", _SECONDS["stall"]), "stall_seconds")
        rules = tuple(_rule(row, f"rules[{index}]", stall) for index, row in enumerate(rows))
        for operation in sorted(NAMES):
            total = sum(rule.rate for rule in rules if rule.concerns(operation))
            if total > 1 + 1e-9:
                raise FaultPlanError(f"the rates for {operation} add up to {total:g}, must be at most 1")
        return cls(rules, seed)


class FaultDice:
    """Decides for each request in turn; the only state of a plan at work."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self._scripted = [rule for rule in plan.rules if rule.nth]
        self._rated = [rule for rule in plan.rules if not rule.nth]
        self._random = random.Random(seed if plan.seed is None else plan.seed)  # noqa: S311  not for secrets

    def draw(self, index: int, operation: str | None, reused: bool) -> FaultRule | None:
        """The rule that strikes request number `index`, or None. `nth` rules come first."""
        chance = self._random.random()
        for rule in self._scripted:
            if index in rule.nth and rule.concerns(operation) and (reused or not rule.reused_only):
                return rule
        for rule in self._rated:
            if rule.concerns(operation):
                chance -= rule.rate
                if chance < 0:
                    return rule if reused or not rule.reused_only else None
        return None


def _rule(data: Any, place: str, stall: float) -> FaultRule:
    row = _mapping(data, place, _RULE_KEYS)
    fault = row.get("fault")
    if not isinstance(fault, str) or fault not in FAULTS:
        raise FaultPlanError(f"{place}: fault is {fault!r}, must be one of {', '.join(FAULTS)}")
    if row.get("reused_only") not in (None, True, False):
        raise FaultPlanError(f"{place}: reused_only is {row['reused_only']!r}, must be true or false")
    reused_only = bool(row.get("reused_only")) or fault in _ON_REUSE
    nth = _whole_numbers(row["nth"], f"{place}: nth") if "nth" in row else frozenset()
    if nth and "rate" in row:
        raise FaultPlanError(f"{place}: has both rate and nth, must have one of them")
    if not nth and "rate" not in row and not reused_only:
        raise FaultPlanError(f"{place}: needs rate, nth or reused_only, to say which requests it strikes")
    rate = _share(row.get("rate", 1), f"{place}: rate") if not nth else 0.0
    if "seconds" in row and fault not in _SECONDS:
        raise FaultPlanError(f"{place}: seconds means nothing to {fault}, only to {', '.join(_SECONDS)}")
    default = stall if fault == "stall" else _SECONDS.get(fault, 0.0)
    seconds = _number(row.get("seconds", default), f"{place}: seconds")
    if "retry_after" in row and fault != "http_429":
        raise FaultPlanError(f"{place}: retry_after means nothing to {fault}, only to http_429")
    retry_after = _header(row["retry_after"], f"{place}: retry_after") if "retry_after" in row else None
    return FaultRule(fault, rate, nth, reused_only, _operations(row, place), seconds, retry_after)


def _mapping(data: Any, place: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise FaultPlanError(f"{place} must be a mapping with the keys {', '.join(known)}")
    for key in data:
        if key not in known:
            raise FaultPlanError(f"{place}: unknown key {key!r}, must be one of {', '.join(known)}")
    return data


def _operations(row: Mapping[str, Any], place: str) -> frozenset[str]:
    names = row.get("operations", [])
    if not isinstance(names, list) or ("operations" in row and not names):
        raise FaultPlanError(f"{place}: operations is {names!r}, must be a list of names")
    for name in names:
        if not isinstance(name, str) or name not in NAMES:
            hint = " (the current rate is part of the ticker)" if name == "funding_rate" else ""
            known = ", ".join(sorted(NAMES))
            raise FaultPlanError(f"{place}: unknown operation {name!r}{hint}, must be one of {known}")
    return frozenset(names)


def _number(value: Any, place: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 86_400:
        raise FaultPlanError(f"{place} is {value!r}, must be a number of seconds from 0 to 86400")
    return float(value)


def _share(value: Any, place: str) -> float:
    share = value
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?%", value, re.ASCII):
        share = float(value[:-1]) / 100
    if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
        raise FaultPlanError(f"{place} is {value!r}, must be a share from 0 to 1, or a percentage such as 5%")
    return float(share)


def _whole_numbers(value: Any, place: str) -> frozenset[int]:
    if (
        not isinstance(value, list)
        or not value
        or any(not isinstance(one, int) or isinstance(one, bool) or one < 1 for one in value)
    ):
        raise FaultPlanError(f"{place} is {value!r}, must be a list of request numbers from 1")
    return frozenset(value)


def _header(value: Any, place: str) -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or not text.isprintable() or not text:
        raise FaultPlanError(f"{place} is {value!r}, must be a number of seconds or one line of text")
    return text
