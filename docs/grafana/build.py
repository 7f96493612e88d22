"""Makes dashboard.json, which Grafana imports. Run it after a change: ``python docs/grafana/build.py``.

Queries are written for the names that `resilience.telemetry.prometheus` exposes. They are the same as those that
OpenTelemetry's own translation makes of ours, so the dashboard serves for metrics that came over OTLP too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WHICH = 'resilience_pipeline=~"$pipeline"'
OPS = f'{WHICH},resilience_op=~"$op"'
RATE = "$__rate_interval"
RESETS = (
    "reset|disconnected|closing_transport|ConnectionResetError|ClientConnectionResetError|ServerDisconnectedError"
    "|BrokenPipeError"
)
TIMEOUTS = ".*timeout|deadline_exceeded|TimeoutError"
SOURCE = {"type": "prometheus", "uid": "${source}"}
STATES = ("closed", "half-open", "open", "forced_open", "disabled", "shadow")
COLOURS = ("green", "yellow", "red", "dark-red", "text", "purple")


def rate(metric: str, by: str = "", labels: str = OPS) -> str:
    """The sum of a counter's rates, told apart by some labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{labels}}}[{RATE}]))"


def share(metric: str) -> str:
    """The share of calls or attempts that went well; of those that a caller gave up, nobody knows."""
    known = f'{OPS},resilience_outcome!="cancelled"'
    good = rate(metric, labels=f'{OPS},resilience_outcome="ok"')
    return f"{good} / {rate(metric, labels=known)}"


def quantile(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, {rate(metric + '_bucket', 'le')})"


CALLS, ATTEMPTS = "resilience_calls_total", "resilience_attempts_total"
CALL_TIME, ATTEMPT_TIME = "resilience_call_duration_seconds", "resilience_attempt_duration_seconds"


class Board:
    """Panels from left to right in rows of 24 columns, as Grafana counts them."""

    def __init__(self) -> None:
        self.panels: list[dict[str, Any]] = []
        self._x = self._y = self._height = 0

    def row(self, title: str) -> None:
        self._break()
        self._add({"type": "row", "title": title, "collapsed": False, "panels": []}, 24, 1)

    def stat(self, title: str, text: str, expr: str, unit: str, steps: list[tuple[float | None, str]]) -> None:
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}
        self._query(
            "stat", title, text, {"": expr}, 4, 4, unit,
            defaults={"thresholds": thresholds, "noValue": "none"},
            options={"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"},
        )  # fmt: skip

    def lines(
        self,
        title: str,
        text: str,
        queries: dict[str, str],
        unit: str = "short",
        width: int = 8,
        exemplars: bool = False,
    ) -> None:
        custom = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        self._query(
            "timeseries", title, text, queries, width, 8, unit, exemplars=exemplars,
            defaults={"custom": custom, "min": 0},
            options={"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}},
        )  # fmt: skip

    def states(self, title: str, text: str, expr: str, legend: str) -> None:
        mappings = [
            {"type": "value", "options": {str(code): {"text": state, "color": colour}}}
            for code, (state, colour) in enumerate(zip(STATES, COLOURS, strict=True))
        ]
        self._query(
            "state-timeline", title, text, {legend: expr}, 12, 8, "short", defaults={"mappings": mappings},
            options={"mergeValues": True, "showValue": "auto"},
        )  # fmt: skip

    def heatmap(self, title: str, text: str, metric: str) -> None:
        self._query(
            "heatmap", title, text, {"{{le}}": rate(metric + "_bucket", "le")}, 12, 8, "s", shape="heatmap",
            options={"calculate": False, "yAxis": {"unit": "s"}, "color": {"scheme": "Spectral", "steps": 64}},
        )  # fmt: skip

    def _query(
        self, kind: str, title: str, text: str, queries: dict[str, str], width: int, height: int, unit: str, *,
        defaults: dict[str, Any] | None = None, options: dict[str, Any] | None = None, exemplars: bool = False,
        shape: str = "time_series",
    ) -> None:  # fmt: skip
        targets = [
            {
                "refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expr, "legendFormat": legend,
                "exemplar": exemplars, "format": shape, "range": True,
            }
            for number, (legend, expr) in enumerate(queries.items())
        ]  # fmt: skip
        panel = {
            "type": kind, "title": title, "description": text, "datasource": SOURCE, "targets": targets,
            "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": []}, "options": options or {},
        }  # fmt: skip
        self._add(panel, width, height)

    def _add(self, panel: dict[str, Any], width: int, height: int) -> None:
        if self._x + width > 24:
            self._break()
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, **panel, "gridPos": place})
        self._x += width
        self._height = max(self._height, height)

    def _break(self) -> None:
        self._x, self._y, self._height = 0, self._y + self._height, 0


def overview(board: Board) -> None:
    board.row("Overview")
    good: list[tuple[float | None, str]] = [(None, "red"), (0.95, "yellow"), (0.99, "green")]
    plain: list[tuple[float | None, str]] = [(None, "green")]
    board.stat(
        "Effective success", "Share of calls that succeeded, after all policies.", share(CALLS), "percentunit", good
    )
    board.stat(
        "Actual success",
        "Share of attempts that succeeded: what the other side does.",
        share(ATTEMPTS),
        "percentunit",
        good,
    )
    board.stat("Calls", "Calls that ended, a second.", rate(CALLS), "reqps", plain)
    amplification = f"{rate(ATTEMPTS)} / {rate(CALLS)}"
    board.stat(
        "Attempts per call",
        "1 where nothing is repeated.",
        amplification,
        "short",
        [*plain, (1.2, "yellow"), (1.5, "red")],
    )
    board.stat("p99", "Of whole calls, waits and all.", quantile(0.99, CALL_TIME), "s", plain)
    opened = f'sum(resilience_breaker_state{{{WHICH},resilience_state=~"open|forced_open"}})'
    board.stat("Breakers open", "Now.", opened, "short", [*plain, (1, "red")])
    board.lines(
        "Calls by outcome",
        "As verdicts name them.",
        {"{{resilience_outcome}}": rate(CALLS, "resilience_outcome")},
        "reqps",
    )
    failing = f'{OPS},error_type!=""'
    board.lines(
        "Failed calls by cause",
        "The same error.type as on spans.",
        {"{{error_type}}": rate(CALLS, "error_type", failing)},
        "reqps",
    )
    board.lines(
        "Attempts by kind", "Retries, hedges and probes are extra load.",
        {"{{resilience_attempt_kind}}": rate(ATTEMPTS, "resilience_attempt_kind")}, "reqps",
    )  # fmt: skip


def latency(board: Board) -> None:
    board.row("Response times")
    board.lines(
        "Calls", "With all waits. Dots are calls whose trace was kept.",
        {f"p{q * 100:g}": quantile(q, CALL_TIME) for q in (0.5, 0.9, 0.99, 0.999)}, "s", 12, exemplars=True,
    )  # fmt: skip
    board.heatmap("Calls, all of them", "Calls a second by duration.", CALL_TIME)
    board.lines("Attempts", "One attempt each.", {f"p{q * 100:g}": quantile(q, ATTEMPT_TIME) for q in (0.5, 0.99)}, "s")
    http = f"histogram_quantile(0.99, {rate('http_client_request_duration_seconds_bucket', 'le,server_address', '')})"
    board.lines("HTTP requests, p99", "By server, without our own queues.", {"{{server_address}}": http}, "s")
    waits = rate("resilience_wait_duration_seconds_sum", "resilience_wait")
    board.lines(
        "Time spent waiting", "Seconds a second, over all calls, by cause.", {"{{resilience_wait}}": waits}, "s"
    )


def connections(board: Board) -> None:
    board.row("Connections")
    resets, timeouts = (rate(ATTEMPTS, "error_type", f'{OPS},error_type=~"{which}"') for which in (RESETS, TIMEOUTS))
    board.lines(
        "Resets",
        "Attempts that lost their connection, such as 'Cannot write to closing transport'.",
        {"{{error_type}}": resets},
        "reqps",
    )
    board.lines("Timeouts", "Attempts that got no answer in time.", {"{{error_type}}": timeouts}, "reqps")
    board.lines(
        "Reuse",
        "Requests by the connection they rode on.",
        {"{{resilience_connection}}": rate("resilience_connections_total", "resilience_connection")},
        "reqps",
    )
    count = "sum by (resilience_state) (resilience_pool_open_connections)"
    board.lines(
        "Open connections",
        "By state, and the most there may be.",
        {"{{resilience_state}}": count, "most": "sum(resilience_pool_connection_max)"},
        width=12,
    )
    servers = "sum by (server_address, http_connection_state) (http_client_open_connections)"
    board.lines(
        "Connections by server", "Of all pools.", {"{{server_address}} {{http_connection_state}}": servers}, width=6
    )
    under_way = "sum by (server_address) (http_client_active_requests)"
    board.lines("HTTP requests under way", "By server, of all pools.", {"{{server_address}}": under_way}, width=6)
    pool = "resilience_policy"
    stability = {
        "opened": rate("resilience_pool_connection_opened_total", labels=""),
        "discarded before use": rate("resilience_pool_connection_discarded_total", labels=""),
        "sessions renewed": rate("resilience_pool_renewed_total", labels=""),
    }
    board.lines("Stability of the pool", "Each discarded connection would have been a reset.", stability, "ops", 12)
    use = {
        "{{resilience_policy}} in use": f"sum by ({pool}) (resilience_pool_usage)",
        "{{resilience_policy}} waiting": f"sum by ({pool}) (resilience_pool_pending_requests)",
    }
    board.lines("Use of the pool", "Attempts that hold the resource, or wait for it.", use, width=12)


def policies(board: Board) -> None:
    board.row("Policies")
    board.states(
        "Breakers",
        "By pipeline and key.",
        f"resilience_breaker_state_code{{{WHICH}}}",
        "{{resilience_pipeline}} {{resilience_key}}",
    )
    board.lines(
        "Failure rate that breakers see", "Share of failures in the window.",
        {"{{resilience_pipeline}} {{resilience_key}}": f"resilience_breaker_failure_rate_ratio{{{WHICH}}}"},
        "percentunit", 12,
    )  # fmt: skip
    key = "{{resilience_policy}} {{resilience_key}}"
    board.lines(
        "Rate limits: used",
        "Share of our own limits.",
        {key: "max by (resilience_policy, resilience_key) (resilience_limiter_utilization_ratio)"},
        "percentunit",
    )
    board.lines(
        "Rate limits: headroom",
        "Tokens left.",
        {key: "min by (resilience_policy, resilience_key) (resilience_limiter_headroom)"},
    )
    server = (
        f"min by (resilience_op) (resilience_server_limit_remaining{{{OPS}}} / resilience_server_limit_limit{{{OPS}}})"
    )
    board.lines(
        "Rate limits: left, says the server",
        "As a share of its limit, at the last answer.",
        {"{{resilience_op}}": server},
        "percentunit",
    )
    board.lines("Held up by limits", "Calls waiting now, and how long the server's pause lasts.", {
        "waiting": "sum(resilience_limiter_waiting)", "pause, s": "max(resilience_limiter_pause_seconds)",
    })  # fmt: skip
    full = f"max by (resilience_pipeline, resilience_key) (resilience_bulkhead_utilization_ratio{{{WHICH}}})"
    board.lines(
        "Bulkheads", "Share of the places taken.", {"{{resilience_pipeline}} {{resilience_key}}": full}, "percentunit"
    )
    board.lines("Budgets", "Extra requests that would be granted now; refused ones a second.", {
        "balance": "min(resilience_budget_balance)", "refused": rate("resilience_budget_refused_total", labels=""),
    })  # fmt: skip


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "includeAll": True, "multi": True, "allValue": ".*", "refresh": 2, "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def dashboard() -> dict[str, Any]:
    board = Board()
    for part in (overview, latency, connections, policies):
        part(board)
    source = {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "current": {}}
    variables = [
        source,
        variable("pipeline", "Pipeline", f"label_values({CALLS}, resilience_pipeline)"),
        variable("op", "Operation", f'label_values({CALLS}{{resilience_pipeline=~"$pipeline"}}, resilience_op)'),
    ]
    return {
        "uid": "resilience", "title": "Resilience", "tags": ["resilience"], "schemaVersion": 39, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser", "templating": {"list": variables}, "annotations": {"list": []}, "links": [],
        "panels": board.panels,
    }  # fmt: skip


def text() -> str:
    """What dashboard.json must hold."""
    return json.dumps(dashboard(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "dashboard.json").write_text(text())
