"""Which errors a policy's ``on=`` means: exception types, names of types, or a predicate.

Names exist for configuration files, where values are data and never import paths: ``on: [NetworkError]`` matches any
error that has a class of that name among its bases, whoever wrote it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias, Union

from .errors import ConfigError

__all__ = ["Matches", "On", "holds", "matcher"]

_log = logging.getLogger("resilience")

Matches: TypeAlias = Callable[[Exception], bool]
On: TypeAlias = Union[type[Exception], str, Sequence[Union[type[Exception], str]], Matches, None]  # noqa: UP007


def matcher(owner: str, on: On, field: str = "on") -> Matches | None:
    """A predicate for `on`, None for None. Raises `ConfigError` for anything that cannot be one, naming the field."""
    if on is None:
        return None
    if not isinstance(on, (type, str, tuple, list)):
        if callable(on):
            return on
        raise ConfigError(f"{owner}: {field} is {on!r}, must be exception types, their names, or a predicate")
    items = on if isinstance(on, (tuple, list)) else (on,)
    if not items:
        raise ConfigError(f"{owner}: {field} is empty; leave it out, or name exception types")
    types: list[type[Exception]] = []
    names: set[str] = set()
    for item in items:
        if isinstance(item, type) and issubclass(item, Exception):
            types.append(item)
        elif isinstance(item, str) and item.isidentifier():
            names.add(item)
        else:
            raise ConfigError(f"{owner}: {field} names {item!r}, must name exception types (subclasses of Exception)")
    kinds = tuple(types)
    if not names:
        return lambda exc: isinstance(exc, kinds)
    return lambda exc: isinstance(exc, kinds) or any(base.__name__ in names for base in type(exc).__mro__)


def holds(predicate: Matches, error: Exception, *, unsure: bool, told: str) -> bool:
    """Ask the user's predicate about an error; `unsure` if it fails, which must not hide what became of the attempt.

    `told` is what the log says then, with ``%s`` for the type of the error.
    """
    try:
        return predicate(error)
    except Exception:
        _log.exception(told, type(error).__name__)
        return unsure
