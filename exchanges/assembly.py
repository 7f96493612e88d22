"""What a configuration becomes: sessions, the pipelines of each exchange, and how each adapter is set up.

The same for the first load and for a reload, where the pipelines are only candidates, and sessions whose settings have
not changed are those that are open already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resilience import ConfigError, Pipeline
from resilience.config import build_pipelines
from resilience.events import Emit

from .bybit.codes import classify
from .config import Config
from .sessions import Sessions, broken

__all__ = ["Assembly", "assemble"]


@dataclass(slots=True)
class Assembly:
    """All that is made of one `config`. `pipelines` are by full name (``bybit.market``), `setups` by exchange."""

    config: Config
    sessions: dict[str, Sessions]
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    setups: dict[str, tuple[Mapping[str, str], dict[str, Any]]] = field(default_factory=dict)
    """Of each exchange: the pipeline of each operation, by full name, and the other arguments of the adapter."""

    def news(self, before: Assembly) -> Iterator[str]:
        """What differs from an earlier one beside the pipelines, in words for a log. No values: some are secret."""
        for what, old, new in (
            ("resource", {name: of.settings for name, of in before.sessions.items()},
             {name: of.settings for name, of in self.sessions.items()}),
            ("exchange", before.config.exchanges, self.config.exchanges),
        ):  # fmt: skip
            for name in dict.fromkeys([*new, *old]):
                if old.get(name) != new.get(name):
                    yield f"{what} {name} {'added' if name not in old else 'changed' if name in new else 'removed'}"


def assemble(
    config: Config, sessions: Mapping[str, Sessions], shared: dict[str, Any], observers: Sequence[Emit]
) -> Assembly:
    """Make it all; nothing is opened. `sessions` are those that there are. Raises `ConfigError`."""
    made = Assembly(
        config,
        {
            name: sessions[name] if name in sessions and sessions[name].settings == settings else Sessions(settings)
            for name, settings in config.resources.items()
        },
    )
    resources = {name: {"open": of.open, "broken": broken} for name, of in made.sessions.items()}
    for name, settings in config.exchanges.items():
        guards = config.guards[name]
        pipelines = build_pipelines(
            guards.pipelines, resources=resources, classify=classify, shared=shared, scope=name, prefix=f"{name}.",
            observers=observers,
        )  # fmt: skip
        made.pipelines |= {pipeline.name: pipeline for pipeline in pipelines.values()}
        routes = {operation: f"{name}.{pipeline}" for operation, pipeline in guards.routes.items()}
        made.setups[name] = routes, _arguments(config, name, settings)
    return made


def _arguments(config: Config, name: str, settings: Any) -> dict[str, Any]:
    try:  # only now: what `load` was given may stand in for what the file lacks
        address = settings.address()
    except ConfigError as exc:
        raise config.places[name].error(str(exc)) from None
    return {
        "base_url": address,
        "category": settings.category,
        "rules": settings.rules,
        "encode_cursor": settings.encode_cursor,
    }
