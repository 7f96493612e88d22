"""The tables of the demonstration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .tally import Tally, quantile

__all__ = ["live_table", "summary"]

_OUTCOMES = ("ok", "reset", "timeout", "bad payload", "exchange error", "refused")


def live_table(tally: Tally, server: Mapping[str, Any], done: float) -> Group:
    """How it stands now, per operation; `done` is the share of the time that has passed."""
    # Without rules between its columns it fits into 80, cut nowhere.
    table = Table(title="calls through the pipeline", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("operation", "calls", "succeeded", "retried", "attempts", "p50", "p99"):
        table.add_column(name, justify="left" if name == "operation" else "right", no_wrap=True)
    for op in sorted(tally.calls):
        latencies = tally.latencies[op]
        table.add_row(
            op,
            str(tally.calls[op]),
            f"{tally.succeeded[op] / tally.calls[op]:.1%}",
            str(tally.retried[op]),
            str(tally.attempts[op]),
            _time(quantile(latencies, 0.5)),
            _time(quantile(latencies, 0.99)),
        )
    faults = sum(server.get("faults", {}).values())
    said = f"{server['requests']} requests on {server['connections']} connections, {faults} faults injected"
    return Group(table, ProgressBar(total=1.0, completed=done, width=60), Text(""), Text(said, style="dim"))


def summary(tally: Tally, outcomes: Counter[str], naive: Counter[str], server: Mapping[str, Any]) -> Group:
    """With and without the pipeline, under the same plan of faults."""
    table = Table(title="what reached the caller, under the same plan of faults", title_justify="left")
    table.add_column("outcome")
    table.add_column("with the pipeline", justify="right")
    table.add_column("session per request, no retry", justify="right")
    for name in _OUTCOMES:
        if outcomes[name] or naive[name]:
            table.add_row(name, _share(outcomes, name), _share(naive, name))
    calls, attempts = sum(tally.calls.values()), sum(tally.attempts.values())
    latencies = [value for values in tally.latencies.values() for value in values]
    causes = ", ".join(f"{count} {cause}" for cause, count in tally.causes.most_common(12))
    bad = ", ".join(f"{who} {count['bad payload']}" for who, count in (("pipeline", outcomes), ("without", naive)))
    lines = [
        f"calls {calls}, attempts {attempts} ({attempts / max(1, calls):.2f} per call), "
        f"p50 {_time(quantile(latencies, 0.5))}, p99 {_time(quantile(latencies, 0.99))} with all retries",
        f"connections opened {server['connections']} for {server['requests']} requests "
        f"(session re-made {server['pool']['renewed']} times)",
        f"bad payloads (HTML, invalid JSON, cut bodies) that reached the caller: {bad}",
        f"what the attempts met: {causes or 'nothing'}",
        f"breaker transitions: {sum(1 for change in tally.changes if change.kind == 'breaker')} (before the outage)",
    ]
    return Group(table, *(Text(line) for line in lines))


def _share(outcomes: Counter[str], name: str) -> str:
    return f"{outcomes[name]} ({outcomes[name] / max(1, outcomes.total()):.1%})"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
