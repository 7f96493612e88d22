"""The sections of an ``exchanges.yaml`` as frozen dataclasses: resources, exchanges, and which pipeline guards what.

The pipelines themselves are `resilience.config`'s business; here they are only named. Which adapters and which kinds of
resources there are stands in two tables, so a file can name only what exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

from resilience.config import Document, Node, Problems, convert
from resilience.config.build import read_pipelines
from resilience.config.extends import expand
from resilience.config.problems import Problem
from resilience.config.sections import Owned, read_settings, read_version
from resilience.config.shape import nearest
from resilience.config.shapes import fields_of
from resilience.units import Spelling

from .guards import Guards, read_guards, without_policies
from .secret import Secret
from .transport.settings import BASE_URL, RestSettings, check_base_url

if TYPE_CHECKING:
    from resilience.config.load import Start
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
    "read_exchanges",
    "read_resources",
]

Environment = Literal["mainnet", "testnet", "demo", "simulator"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret, each ``${env:BYBIT_...}``. Public operations need none and use none."""

    key: Annotated[Secret, Spelling(r"\S")]
    secret: Annotated[Secret, Spelling(r"\S")]


@dataclass(frozen=True, slots=True)
class Route:
    """The pipeline of one operation; None for that of the exchange, of which it overrides policies."""

    pipeline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """One exchange. `pipeline` guards every operation but those that `operations` routes elsewhere.

    `base_url` overrides the address of `environment`; it is ``https``, or ``http`` on loopback. Raises `ConfigError`.
    """

    adapter: str
    pipeline: str
    environment: Environment = "mainnet"
    base_url: Annotated[str, Spelling(BASE_URL)] | None = None
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
    """A whole and sound file. `pipelines` is its node, with lists alone; `guards` is what each exchange makes of it.

    `starts` are the functions that start what observes (``telemetry:``, ``dashboard:``) and return the observers.
    `places` says where in the file each exchange stands. `files` are all that were read.
    """

    file: str
    resources: Mapping[str, RestSettings]
    pipelines: Node
    exchanges: Mapping[str, Any]
    starts: Sequence[Start]
    guards: Mapping[str, Guards] = field(default_factory=dict)
    places: Mapping[str, Node] = field(default_factory=dict)
    files: Sequence[str] = ()


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
    exchanges, guards = read_exchanges(root, problems)
    pipelines = _stacks(root, problems)
    if pipelines is not None:
        read_pipelines(pipelines, problems, *_lending(root))  # made for each exchange; here to tell all at once
    problems.finish()
    for section in ("pipelines", "exchanges"):  # after what is there, or a mistake on line 40 hides behind line 1
        if section not in root:
            problems.add(_missing(root, section))
    problems.finish()
    assert pipelines is not None  # noqa: S101 (reported above)
    places = dict(_entries(root, "exchanges", Problems()))
    return Config(path, resources, pipelines, exchanges, starts, guards, places, root.source.files)


def _missing(root: Node, section: str) -> Problem:
    return root.problem(f"the key {section} is missing", "missing-key")


def _check_resources(root: Node) -> None:
    problems = Problems()
    read_resources(root, problems)
    problems.finish()


def _check_exchanges(root: Node) -> None:
    problems = Problems()
    read_exchanges(root, problems)
    stacks = _stacks(root, problems)
    if stacks is None:
        problems.add(_missing(root, "pipelines"))
    else:  # once more: here it is known what their pools can lend, even with no ``resources:``
        read_pipelines(stacks, problems, *_lending(root))
    problems.finish()


class _Exchanges(Owned):
    """The owner of ``exchanges:``, which also tells the linter how the pipelines are used."""

    __slots__ = ()

    def facts(self, root: Node) -> Mapping[str, Facts]:
        from .facts import facts  # the linter's: nobody else needs it

        return facts(root)


def _describe_resources(defs: dict[str, Any]) -> dict[str, Any]:
    from .schema import resources_schema

    return resources_schema(KINDS, defs)


def _describe_exchanges(defs: dict[str, Any]) -> dict[str, Any]:
    from .schema import exchanges_schema

    return exchanges_schema(ADAPTERS, defs)


check_resources = Owned(_check_resources, _describe_resources)
"""``resources:`` for ``resilience check`` and ``resilience schema``. Raises `ConfigError` with its problems."""

check_exchanges = _Exchanges(_check_exchanges, _describe_exchanges)
"""``exchanges:``, likewise."""


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


def read_exchanges(root: Node, problems: Problems) -> tuple[dict[str, Any], dict[str, Guards]]:
    """The settings of every exchange, and which pipelines guard it."""
    found: dict[str, Any] = {}
    guards: dict[str, Guards] = {}
    stacks = _stacks(root, problems)
    for name, node in _entries(root, "exchanges", problems):
        with problems.catch():
            module, kind, ops = ADAPTERS[_named(node, "adapter", ADAPTERS)]
            settings = getattr(import_module(module), kind)
            if stacks is not None and stacks.kind == "mapping" and stacks.broken is None:
                operations = import_module(ops).OPERATIONS
                guards[name] = read_guards(node, stacks, operations, problems, *_lending(root))
            found[name] = convert(without_policies(node, list(fields_of(settings).keys.shapes), problems), settings)
    return found, guards


def _stacks(root: Node, problems: Problems) -> Node | None:
    """The file's pipelines with a list for each."""
    node = root.get("pipelines")
    return None if node is None else expand(node, problems)


def _lending(root: Node) -> tuple[Callable[[str], Mapping[str, Any] | None], Sequence[str]]:
    """What the pools of a pipeline lend that is only checked, and the names of the file's resources."""
    node = root.get("resources")
    names = ["rest"] if node is None else node.keys()
    return lambda name: {"open": _nothing} if name in names else None, names


def _nothing() -> None:
    """Never called."""


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
