"""The ``lint:`` section of a file: what the linter should know, and what it should keep quiet about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError
from ..events import Emit
from ..units import Seconds, check

__all__ = ["LintSettings", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LintSettings:
    """Read by ``resilience check`` alone; loading a file passes over it.

    `allow` silences: a rule's name, or ``pipeline.rule``, and the reason. `most_sends`: requests that one call may
    become. `server_keepalive`: seconds after which the other side closes an idle connection; 60 is what load balancers
    use. `calls_per_second`: how often these pipelines are called, if it is known. `not_idempotent`: the operations that
    must not happen twice.
    """

    allow: Mapping[str, str] = field(default_factory=dict)
    most_sends: int = 10
    server_keepalive: Seconds = 60.0
    calls_per_second: float | None = None
    not_idempotent: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("lint", "most_sends", self.most_sends, least=1, whole=True)
        check("lint", "server_keepalive", self.server_keepalive, above=0)
        if self.calls_per_second is not None:
            check("lint", "calls_per_second", self.calls_per_second, above=0)
        for name, reason in self.allow.items():
            if not reason.strip():
                raise ConfigError(f"lint: allow: {name} has no reason; say why it is right here")


def start(settings: LintSettings) -> Emit | None:
    """Nothing: the section is for the linter alone."""
    return None
