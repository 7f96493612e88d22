"""The ``telemetry:`` section of a configuration file, as a frozen dataclass.

Needs no OpenTelemetry: a file is checked on machines where nothing is traced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..units import Seconds, Share, check

__all__ = ["Parenting", "TelemetrySettings", "Traces"]

Traces = Literal["tail", "always", "inherit", "off"]
Parenting = Literal["on", "auto", "off"]


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Which calls become spans, where the spans go, and whether calls are counted and logged.

    `traces`: ``tail`` decides when a call ends (all that were retried, hedged, failed, refused or slow, all inside a
    recorded trace, and the share `sample` of the others), ``always`` keeps all, ``inherit`` keeps what is inside a
    recorded trace, ``off`` keeps nothing. `slow`: seconds from which a call counts as slow; None for the adaptive
    limit. `parenting`: is a running attempt the current span, so that spans made inside it hang beneath it? ``on``
    always, ``off`` never, ``auto`` always where others make spans in this process (known when a pipeline links),
    elsewhere only if the call is certain to be kept.

    `otlp` (an OTLP/HTTP address) and `console` (one JSON line a span on stderr) say where spans go when the application
    has set no global `TracerProvider`; otherwise they go to that one. `metrics` counts every call exactly: for the
    dashboard's ``/metrics``, the global `MeterProvider`, and `otlp` where there is none. `logs` writes a line for each
    call that failed or was retried, to the logger ``resilience.calls``. Raises `ConfigError`.
    """

    traces: Traces = "tail"
    sample: Share = 0.01
    slow: Seconds | None = None
    parenting: Parenting = "on"
    otlp: str | None = None
    console: bool = False
    metrics: bool = False
    logs: bool = False

    def __post_init__(self) -> None:
        _one_of("traces", self.traces, get_args(Traces))
        _one_of("parenting", self.parenting, get_args(Parenting))
        check("telemetry", "sample", self.sample, least=0, most=1)
        if self.slow is not None:
            check("telemetry", "slow", self.slow, above=0)
        if self.otlp is not None:
            _check_address(self.otlp)
        for name in ("console", "metrics", "logs"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(f"telemetry: {name} is {value!r}, must be true or false")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"telemetry: {name} is {value!r}, must be one of {', '.join(allowed)}")


def _check_address(address: object) -> None:
    """An OTLP address shows in errors and in this object's repr, so it must not carry a secret."""
    if isinstance(address, str) and ("@" in address or "?" in address):
        raise ConfigError(
            "telemetry: otlp holds credentials or a query; write the bare address, and put what is secret into "
            "OTEL_EXPORTER_OTLP_HEADERS"
        )
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"telemetry: otlp is {address!r}, must be an address such as http://127.0.0.1:4318")
