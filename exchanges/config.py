"""The sections of an ``exchanges.yaml`` as frozen dataclasses: resources, exchanges, and which pipeline guards what.

The pipelines themselves are `resilience.config`'s business; here they are only named. Which adapters and which kinds of
resources there are stands in two tables, so a file can name only what exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from resilience.config import Document, Node, Problems, build_pipelines, convert
from resilience.config.load import read_settings, read_version
from resilience.config.shape import nearest

from .secret import Secret
from .transport.settings import RestSettings, check_base_url

if TYPE_CHECKING:
    from resilience.events import Emit
    from resilience.lint import Facts

__all__ = [
    "ADAPTERS",
    "Config",
    "Credentials",
    "ExchangeSettings",
    "Route",
    "check_exchanges",
    "check_resources",
    "read_config",
    "read_resources",
]

Environment = Literal["mainnet", "testnet", "demo", "simulator"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret, each ``${env:BYBIT_...}``. Public operations need none and use none."""

    key: Secret
    secret: Secret


@dataclass(frozen=True, slots=True)
class Route:
    """The pipeline of one operation."""

    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """One exchange. `pipeline` guards every operation but those that `operations` routes elsewhere.

    `base_url` overrides the address of `environment`; it is ``https``, or ``http`` on loopback. Raises `ConfigError`.
    """

    adapter: str
    pipeline: str
    environment: Environment = "mainnet"
    base_url: str | None = None
    credentials: Credentials | None = None
    operations: Mapping[str, Route] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base_url is not None:
            check_base_url(self.base_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class AiohttpSettings(RestSettings):
    """A resource of kind ``aiohttp``: one persistent HTTP session."""

    kind: Literal["aiohttp"]


ADAPTERS = {"bybit": ("exchanges.bybit.settings", "BybitSettings", "exchanges.bybit.ops")}
"""Adapter: where its settings stand, and the module whose `OPERATIONS` names what can be routed."""

KINDS: Mapping[str, type[RestSettings]] = {"aiohttp": AiohttpSettings}
"""Kind of resource: its settings."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole and sound file. `pipelines` is the file's own node, which each exchange builds its pipelines from.

    `starts` are the functions that start what observes (``telemetry:``, ``dashboard:``) and return the observer, or
    None. `places` says where in the file each exchange stands.
    """

    file: str
    resources: Mapping[str, RestSettings]
    pipelines: Node
    exchanges: Mapping[str, Any]
    starts: Sequence[Callable[[], Emit | None]]
    places: Mapping[str, Node] = field(default_factory=dict)


_SECTIONS = ("version", "resources", "pipelines", "exchanges", "telemetry", "dashboard", "lint")


def read_config(path: str) -> Config:
    """Read and check a file. With no ``resources:`` there is one, ``rest``, with the defaults of `RestSettings`.

    Raises `ConfigError` with all of its problems.
    """
    problems = Problems()
    root = Document.load(path, problems=problems)
    if root.kind != "mapping" or root.broken:
        problems.add(root.problem(f"found {root.found}, must be a mapping of {', '.join(_SECTIONS)}", "type"))
        problems.finish()
    for key, node in root.items():
        if key not in _SECTIONS:
            text = f"unknown key{nearest(key, _SECTIONS)} (allowed: {', '.join(_SECTIONS)})"
            problems.add(node.problem(text, "unknown-key", at_key=True))
    read_version(root, problems)
    starts = read_settings(root, problems)
    resources = read_resources(root, problems)
    exchanges = _exchanges(root, problems)
    pipelines = root.get("pipelines")
    if pipelines is not None:
        named = root.get("resources")
        with problems.catch():  # made again for each exchange; here only to tell all mistakes at once
            build_pipelines(pipelines, resources=dict.fromkeys(resources if named is None else named.keys(), _nothing))
    problems.finish()
    for section in ("pipelines", "exchanges"):  # after what is there, or a mistake on line 40 hides behind line 1
        if section not in root:
            problems.add(root.problem(f"the key {section} is missing", "missing-key"))
    problems.finish()
    assert pipelines is not None  # noqa: S101 (reported above)
    return Config(path, resources, pipelines, exchanges, starts, dict(_entries(root, "exchanges", Problems())))


def check_resources(root: Node) -> None:
    """The check of ``resources:`` for ``resilience check``. Raises `ConfigError` with its problems."""
    problems = Problems()
    read_resources(root, problems)
    problems.finish()


class _CheckExchanges:
    """The check of ``exchanges:`` for ``resilience check``; it also tells the linter how the pipelines are used."""

    def __call__(self, root: Node) -> None:
        """Raises `ConfigError` with the problems of the section."""
        problems = Problems()
        _exchanges(root, problems)
        problems.finish()

    def facts(self, root: Node) -> Mapping[str, Facts]:
        from .facts import facts  # the linter's: nobody else needs it

        return facts(root)


check_exchanges = _CheckExchanges()


# -- the sections -------------------------------------------------------------------------------------------------


def read_resources(root: Node, problems: Problems) -> dict[str, RestSettings]:
    """The settings of every resource; with no ``resources:`` there is one, ``rest``, with the defaults."""
    if "resources" not in root:
        return {"rest": RestSettings()}
    found = {}
    for name, node in _entries(root, "resources", problems):
        with problems.catch():
            kind = _named(node, "kind", KINDS)
            found[name] = convert(node, KINDS[kind])
    return found


def _exchanges(root: Node, problems: Problems) -> dict[str, Any]:
    found = {}
    pipelines = root.get("pipelines")
    used: dict[str, None] = {}
    for name, node in _entries(root, "exchanges", problems):
        with problems.catch():
            module, settings, ops = ADAPTERS[_named(node, "adapter", ADAPTERS)]
            found[name] = convert(node, getattr(import_module(module), settings))
            used |= dict.fromkeys(_check_routes(node, pipelines, import_module(ops).OPERATIONS, problems))
    for name in used:
        _check_pools(None if pipelines is None else pipelines.get(name), problems)
    return found


def _nothing() -> None:
    """What the pools of a pipeline lend that is only checked."""


def _entries(root: Node, section: str, problems: Problems) -> Iterator[tuple[str, Node]]:
    """The named entries of a section, which must hold at least one if it is there."""
    node = root.get(section)
    if node is None:
        return
    if node.broken:
        problems.add(node.broken)
    elif node.kind != "mapping" or not len(node):
        problems.add(node.problem(f"found {node.found}, must be a mapping of names to settings", "type"))
    else:
        yield from node.items()


def _named(node: Node, key: str, allowed: Mapping[str, Any]) -> str:
    """The name that decides what the rest of an entry means. Raises `ConfigError`."""
    child = node.get(key)
    if child is None:
        raise node.error(f"the key {key} is missing (allowed: {', '.join(allowed)})", "missing-key")
    if child.broken is None and child.text in allowed:
        return child.text
    text = f"unknown {key} {child.found}{nearest(child.text, list(allowed))} (allowed: {', '.join(allowed)})"
    raise child.error(text, f"unknown-{key}")


def _check_routes(node: Node, pipelines: Node | None, operations: Sequence[str], problems: Problems) -> list[str]:
    """The pipelines that an exchange names. Each must be in the file, and every operation in the adapter."""
    routes = node.get("operations")
    named = [node.get("pipeline")]
    for operation, route in [] if routes is None else routes.items():
        named.append(route.get("pipeline"))
        if operation not in operations:
            text = f"unknown operation{nearest(operation, list(operations))} (allowed: {', '.join(operations)})"
            problems.add(route.problem(text, "unknown-operation", at_key=True))
    for child in named:
        if child is not None and pipelines is not None and child.text not in pipelines:
            names = pipelines.keys()
            known = f"{nearest(child.text, names)} (in this file: {', '.join(names)})"
            problems.add(child.problem(f"no pipeline is named {child.found}{known}", "unknown-pipeline"))
    return [child.text for child in named if child is not None]


def _check_pools(pipeline: Node | None, problems: Problems) -> None:
    """A pipeline that guards an exchange lends the HTTP session, once; what else is in the file may do as it likes."""
    if pipeline is None or pipeline.broken or pipeline.kind != "sequence":
        return
    pools = sum("pool" in entry for entry in pipeline)
    if pools != 1:
        text = f"has {pools} pools, must have one that lends the HTTP session, such as - pool: rest"
        problems.add(pipeline.problem(text, "pools"))
