"""What a policy is, as plain data: for tests of a configuration, for tools, and for `resilience.orders`."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["describe", "kind_of", "spelling"]

_OURS = "resilience.policies."


def describe(policy: object) -> dict[str, Any]:
    """``{"policy": "retry", "attempts": 5}``: its name as in YAML, and the settings that are not the default.

    Plain data all through: what is no number, text or truth is told by its name (functions, exception types) or its
    text.
    """
    return {"policy": kind_of(policy) or spelling(type(policy).__name__), **_settings(policy)}


def kind_of(policy: object) -> str | None:
    """Which of our policies it is (or is derived from), spelled as in YAML; None for one of somebody else's."""
    return _kind(type(policy))  # type: ignore[arg-type]  # a class is hashable, whatever its instances are


@functools.lru_cache(256)
def _kind(kind: type[Any]) -> str | None:
    for base in kind.__mro__:
        if base.__module__.startswith(_OURS):
            return spelling(base.__name__)
    return None


@functools.lru_cache(maxsize=256)  # the rules about orders ask for the same few names again and again
def spelling(name: str) -> str:
    """``"RateLimit"`` as in YAML: ``"rate_limit"``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _settings(thing: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(thing):
        return {}
    values = {item.name: (getattr(thing, item.name), _default(item)) for item in dataclasses.fields(thing)}
    return {name: _plain(value) for name, (value, default) in values.items() if not _same(value, default)}


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _settings(value)
    return getattr(value, "__qualname__", None) or repr(value)
