"""Which calls ask for the same thing: the key by which answers are remembered and flights are shared.

The surprising part is how much belongs to it. Two functions may have one operation's name, ``1`` and ``True`` are
equal, and one pipeline may serve two accounts: whoever is answered with another's answer trades on a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from .call import Call
from .errors import ConfigError

__all__ = ["NAMED", "Key", "hashable", "key_function", "same_call"]

Key = Callable[[Call], Hashable]
"""None, or what cannot be hashed, says that this call is like no other."""

NAMED: dict[str, Key] = {
    "account": lambda call: call.keys.get("account", ""),
    "host": lambda call: call.keys.get("host", ""),
    "op": lambda call: call.op.name,
}
"""Whose limit or budget it is, by the names that policies and files know."""


def same_call(call: Call) -> Hashable:
    """Everything by which calls differ: operation, function, arguments with their types, and the adapter's keys.

    It can be hashed if the function and the arguments can.
    """
    args, kwargs, keys = call.args, call.kwargs, call.keys
    if not kwargs and not keys:
        types: tuple[Any, ...] = tuple(map(type, args))
        if tuple in types:
            types = _types(args)
        return call.op.name, call.target, args, types
    named = tuple(sorted(kwargs.items()))  # names differ, so no two values are compared
    types = (*map(type, args), *(type(value) for _, value in named))
    if tuple in types:
        types = _types((*args, *named))
    return call.op.name, call.target, args, types, named, tuple(keys.items())


def _types(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The type of each, and of a tuple those of its members: ``(1,)`` and ``(True,)`` are equal as well."""
    return tuple([_types(value) if type(value) is tuple else type(value) for value in values])


def key_function(owner: str, key: Key | None) -> Key:
    """The function that finds the key of a call. Raises `ConfigError` for what is none."""
    if key is None:
        return same_call
    if not callable(key):
        raise ConfigError(f"{owner}: key is {key!r}, must be a function of the call")
    return key


def hashable(key: Hashable) -> Hashable:
    """The key, or None where a part of it cannot be hashed."""
    try:
        hash(key)
    except TypeError:
        return None
    return key
