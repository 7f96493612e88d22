"""Rules about numbers that have to fit each other: circuits and traffic, limits and quotas, places and connections."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ...units import rate
from ..subject import Found, Rule, Subject, counted, seconds

__all__ = ["RULES"]

_LONG = 60.0  # seconds
_SLACK = 1 + 1e-9
_BURST, _FEWEST, _PACE = 0.1, 20.0, 0.93  # as `resilience.limiting.limiter` paces what it lets through


def let_through(text: str, window: float) -> float:
    """The most calls that a limit of this rate lets through in any `window` seconds."""
    count, own = rate(text)
    most = count * math.ceil(window / own / _SLACK)
    if count > _FEWEST:
        most = min(most, max(_FEWEST, count * _BURST) + count * _PACE * window / own)
    return most


def _counts_for_all(key: Any) -> bool:
    return key in (None, "ip")


def _breaker_minimum_unreachable(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        by_rate = policy.failure_rate is not None or policy.slow_after is not None
        if policy.window is None or not by_rate or policy.consecutive is not None:
            continue
        needed = policy.min_calls if policy.count_window is None else min(policy.min_calls, policy.count_window)
        for most, why, silent in _traffic(subject, position, policy.window):
            if most < needed and policy.count_window is None:
                never = "it never trips on calls that get no answer" if silent else "it can never trip"
                yield Found(
                    position,
                    f"{never}: it wants {counted(needed, 'call')} within {seconds(policy.window)}, and {why} "
                    f"lets no more than {most:.4g} come to an end in that time; lower min_calls, lengthen the "
                    "window, or "
                    "trip on consecutive failures",
                    "min_calls",
                    "warning" if silent else None,
                )
                break


def _traffic(subject: Subject, position: int, window: float) -> Iterator[tuple[float, str, bool]]:
    """How many calls can end within a window, by each thing that bounds them; whether only where all time out."""
    for _, policy in subject.each("rate_limit"):
        for limit in (policy, *policy.also):
            if _counts_for_all(limit.key):
                yield let_through(limit.rate, window), f"the rate limit of {limit.rate}", False
    if subject.settings.calls_per_second is not None:
        sends = max(subject.sends(op) for op in subject.ops)
        yield (
            subject.settings.calls_per_second * window * sends,
            f"the stated rate of {subject.settings.calls_per_second:g} calls/s, each of at most "
            f"{counted(sends, 'request')},",
            False,
        )
    for at, policy in subject.each("bulkhead"):
        longest = max(subject.beneath(at, op) for op in subject.ops)
        if policy.key is None and math.isfinite(longest):
            rounds = math.floor(window / longest) + 1
            yield (
                policy.limit * rounds,
                f"a bulkhead of {policy.limit}, when all calls time out after {seconds(longest)},",
                True,
            )


def _breaker_open_too_long(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        if policy.open_for > _LONG:
            yield Found(
                position,
                f"one bad moment refuses all calls for {seconds(policy.open_for)} at least, however soon the target "
                "is well "
                "again; open_for doubles by itself while probes fail, so begin with a few seconds",
                "open_for",
            )


def _breaker_hair_trigger(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        one = policy.failure_rate is not None and min(policy.min_calls, policy.count_window or policy.min_calls) == 1
        if one or policy.consecutive == 1:
            field = "min_calls" if one else "consecutive"
            yield Found(
                position,
                f"{field} of 1: a single failure, which a retry would have mended, opens the circuit for all calls; "
                "5 or more",
                field,
            )


def _breaker_switched(subject: Subject) -> Iterator[Found]:
    for position, policy in subject.each("breaker"):
        if policy.mode != "normal":
            does = {"forced_open": "refuses every call", "disabled": "protects nothing", "shadow": "only counts"}
            yield Found(position, f"mode {policy.mode} {does[policy.mode]}; was it left there?", "mode")


def _pool_smaller_than_bulkhead(subject: Subject) -> Iterator[Found]:
    for _, pool in subject.each("pool"):
        connections = subject.facts.connections.get(pool.name)
        if connections is None:
            continue
        for position, policy in subject.each("bulkhead", "adaptive_limit"):
            places = policy.initial if hasattr(policy, "initial") else policy.limit
            key = getattr(policy, "key", None)
            fewest, which = min((connections.limit, "limit"), (connections.limit_per_host, "limit_per_host"))
            if key in (None, "host") and places > fewest:
                yield Found(
                    position,
                    f"{places} calls at once, but {pool.name} opens no more than {fewest} connections ({which}): the "
                    "others "
                    "queue inside the connector, under the timeout, where no policy sees them; as many of one as of "
                    "the other",
                    "initial" if hasattr(policy, "initial") else "limit",
                )


def _keepalive_above_server(subject: Subject) -> Iterator[Found]:
    server = subject.settings.server_keepalive
    for position, pool in subject.each("pool"):
        connections = subject.facts.connections.get(pool.name)
        if connections is not None and connections.keepalive >= server:
            node = connections.node
            yield Found(
                position,
                f"idle connections are kept for {seconds(connections.keepalive)}, and the server closes them after "
                f"{seconds(server)} (lint.server_keepalive): a request that is written just then is lost, and for a "
                "write "
                "nobody knows whether it was executed; keep them for less",
                place=node and (node.get("keepalive") or node),
            )


def _rate_limit_above_quota(subject: Subject) -> Iterator[Found]:
    for quota in subject.facts.quotas:
        allowed, window = rate(quota.rate)
        for position, policy in subject.each("rate_limit"):
            limits = [limit for limit in (policy, *policy.also) if _fits(limit.key, quota.key)]
            most = min((let_through(limit.rate, window) for limit in limits), default=None)
            if most is not None and most > allowed * _SLACK:
                yield Found(
                    position,
                    f"it lets up to {most:.4g} calls through in {seconds(window)}, and {quota.whose} allows "
                    f"{quota.rate}; "
                    f"rate: {quota.rate}",
                    "rate",
                )


def _fits(key: Any, quota: str) -> bool:
    """Whether a limit by this key is meant for a quota by that one."""
    return key == quota or (quota == "ip" and key in (None, "ip", "host"))


def _no_rate_limit(subject: Subject) -> Iterator[Found]:
    for quota in subject.facts.quotas:
        if not any(
            _fits(limit.key, quota.key) for _, policy in subject.each("rate_limit") for limit in (policy, *policy.also)
        ):
            yield Found(None, f"nothing keeps these calls within what {quota.whose} allows, {quota.rate}")


RULES: dict[str, Rule] = {
    "breaker-minimum-unreachable": Rule("error", _breaker_minimum_unreachable),
    "breaker-open-too-long": Rule("warning", _breaker_open_too_long),
    "breaker-hair-trigger": Rule("warning", _breaker_hair_trigger),
    "breaker-switched": Rule("warning", _breaker_switched),
    "pool-smaller-than-bulkhead": Rule("warning", _pool_smaller_than_bulkhead),
    "keepalive-above-server": Rule("warning", _keepalive_above_server),
    "rate-limit-above-quota": Rule("error", _rate_limit_above_quota),
    "no-rate-limit": Rule("note", _no_rate_limit),
}
