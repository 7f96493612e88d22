"""Every metric there is: its name, kind, unit, labels and meaning. docs/metrics.md is checked against this table.

Names follow OpenTelemetry's conventions (dots, no ``_total``, seconds, ``.limit .usage .utilization``); those for
Prometheus are made from them by the rules of OpenTelemetry's own translation, so that one Grafana dashboard serves for
both ways.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["CATALOGUE", "KEY", "OP", "PIPELINE", "POLICY", "Kind", "Spec", "prometheus_label", "prometheus_name"]

Kind = Literal["counter", "updown", "gauge", "histogram"]

PIPELINE, OP, OUTCOME, ERROR = "resilience.pipeline", "resilience.op", "resilience.outcome", "error.type"
POLICY, KEY = "resilience.policy", "resilience.key"
_HTTP = ("http.request.method", "server.address", "server.port", "http.response.status_code", ERROR)
_SERVER = ("server.address", "server.port")
_OP, _STATE, _KEYED = (PIPELINE, OP), (PIPELINE, POLICY), (PIPELINE, POLICY, KEY)


class Spec(NamedTuple):
    """One metric. `unit` in OpenTelemetry's notation (UCUM): ``s``, ``{call}``, ``1`` for a share."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str


_SPECS = (
    Spec("resilience.calls", "counter", "{call}", (*_OP, OUTCOME, ERROR), "Calls that ended."),
    Spec("resilience.calls.active", "updown", "{call}", _OP, "Calls under way."),
    Spec("resilience.call.duration", "histogram", "s", (*_OP, OUTCOME), "From the call to its end, with all waits."),
    Spec(
        "resilience.attempts", "counter", "{attempt}", (*_OP, "resilience.attempt.kind", OUTCOME, ERROR),
        "Attempts that ended.",
    ),
    Spec(
        "resilience.attempt.duration", "histogram", "s", (*_OP, OUTCOME),
        "One attempt, with its waits in queues, limiters and pools beneath the retry.",
    ),
    Spec("resilience.wait.duration", "histogram", "s", (*_OP, "resilience.wait"), "Time that calls waited, by cause."),
    Spec("http.client.request.duration", "histogram", "s", _HTTP, "One HTTP request, without our own queues."),
    Spec(
        "http.client.open_connections", "updown", "{connection}", ("http.connection.state", *_SERVER),
        "Open connections of all pools by server: active or idle.",
    ),
    Spec("http.client.active_requests", "updown", "{request}", _SERVER, "HTTP requests under way, of all pools."),
    Spec(
        "resilience.connections", "counter", "{request}", (*_OP, "resilience.connection"),
        "Requests by the connection they rode on: new or reused.",
    ),
    Spec("resilience.server_limit.limit", "gauge", "{token}", _OP, "The server's own limit, as it said last."),
    Spec("resilience.server_limit.remaining", "gauge", "{token}", _OP, "What was left of it, as the server said last."),
    Spec(
        "resilience.state.changes", "counter", "{change}", ("resilience.kind", KEY, "resilience.state"),
        "Changes of state, by the new one: of breakers, pools ...",
    ),
    Spec(
        "resilience.breaker.state", "gauge", "", (*_KEYED, "resilience.state"),
        "1 for the state that the breaker is in, 0 for the others.",
    ),
    Spec(
        "resilience.breaker.state.code", "gauge", "", _KEYED,
        "0 closed, 1 half-open, 2 open, 3 forced_open, 4 disabled, 5 shadow.",
    ),
    Spec("resilience.breaker.state.age", "gauge", "s", _KEYED, "Time since the last change of state."),
    Spec("resilience.breaker.failure_rate", "gauge", "1", _KEYED, "Share of failures among the calls of the window."),
    Spec("resilience.breaker.window.calls", "updown", "{call}", _KEYED, "Calls in the window."),
    Spec("resilience.breaker.opened", "counter", "{change}", _KEYED, "How often it opened."),
    Spec("resilience.budget.balance", "gauge", "{request}", _KEYED, "Extra requests that would be granted now."),
    Spec("resilience.budget.scheduled", "counter", "{request}", _KEYED, "Extra requests (retries, hedges) granted."),
    Spec("resilience.budget.refused", "counter", "{request}", _KEYED, "Extra requests refused."),
    Spec("resilience.limiter.usage", "updown", "{token}", _KEYED, "Tokens of the rate limit used now."),
    Spec("resilience.limiter.limit", "updown", "{token}", _KEYED, "Tokens that the rate limit has."),
    Spec("resilience.limiter.utilization", "gauge", "1", _KEYED, "Usage as a share of the limit."),
    Spec("resilience.limiter.headroom", "gauge", "{token}", _KEYED, "Tokens left: limit less usage, never below 0."),
    Spec("resilience.limiter.waiting", "updown", "{call}", _KEYED, "Calls that the limiter holds up."),
    Spec("resilience.limiter.pause", "gauge", "s", _KEYED, "How long the server's pause still lasts; 0 for none."),
    Spec("resilience.bulkhead.usage", "updown", "{call}", _KEYED, "Places taken, adaptive limits too."),
    Spec("resilience.bulkhead.limit", "updown", "{call}", _KEYED, "Places there are; an adaptive limit moves."),
    Spec("resilience.bulkhead.utilization", "gauge", "1", _KEYED, "Usage as a share of the limit."),
    Spec("resilience.bulkhead.waiting", "updown", "{call}", _KEYED, "Calls in its queue."),
    Spec("resilience.bulkhead.refused", "counter", "{call}", _KEYED, "Calls refused."),
    Spec(
        "resilience.pool.open_connections", "updown", "{connection}", (*_STATE, "resilience.state"),
        "Open connections: idle or used.",
    ),
    Spec("resilience.pool.connection.max", "updown", "{connection}", _STATE, "The most there may be; 0 for no bound."),
    Spec("resilience.pool.connection.opened", "counter", "{connection}", _STATE, "Connections opened."),
    Spec(
        "resilience.pool.connection.discarded", "counter", "{connection}", _STATE,
        "Idle connections found closing, or about to, and not used: each would have been a reset.",
    ),
    Spec("resilience.pool.usage", "updown", "{request}", _STATE, "Attempts that hold the resource."),
    Spec("resilience.pool.pending_requests", "updown", "{request}", _STATE, "Attempts that wait until it is open."),
    Spec("resilience.pool.requests", "counter", "{request}", _STATE, "Attempts that were lent the resource."),
    Spec("resilience.pool.opened", "counter", "{resource}", _STATE, "Resources (sessions) opened."),
    Spec("resilience.pool.renewed", "counter", "{resource}", _STATE, "Resources that broke and were replaced."),
    Spec(
        "resilience.cache.requests", "counter", "{call}", (*_STATE, "resilience.cache"),
        "Calls by what the cache did: hit, miss, stale, passed.",
    ),
    Spec("resilience.cache.size", "updown", "{answer}", _STATE, "Answers kept."),
    Spec("resilience.coalesce.flights", "counter", "{flight}", _STATE, "Calls made for one caller or several."),
    Spec("resilience.coalesce.joined", "counter", "{call}", _STATE, "Calls that joined the flight of another."),
    Spec("resilience.shed.refused", "counter", "{call}", _STATE, "Calls held back because too few were accepted."),
    Spec(
        "resilience.shed.probability", "gauge", "1", (*_STATE, "resilience.priority"), "The chance of a refusal now."
    ),
    Spec("resilience.fallback.used", "counter", "{call}", _STATE, "Errors replaced by the last good answer."),
    Spec("resilience.chaos.enabled", "gauge", "", _STATE, "1 while faults are injected."),
    Spec("resilience.chaos.strikes", "counter", "{call}", _STATE, "Calls struck by an injected fault."),
    Spec("resilience.hedge.left_behind", "updown", "{attempt}", _STATE, "Cancelled losers that still run."),
    Spec("resilience.metrics.unread", "counter", "{read}", (), "States that could not be read for a scrape."),
)  # fmt: skip

CATALOGUE = {spec.name: spec for spec in _SPECS}


def prometheus_name(spec: Spec) -> str:
    """The metric's family name in Prometheus, without the ``_total`` that a counter's samples carry."""
    suffix = {"s": "_seconds", "1": "_ratio"}.get(spec.unit, "")
    return spec.name.replace(".", "_") + suffix


def prometheus_label(label: str) -> str:
    return label.replace(".", "_")
