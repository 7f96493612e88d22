"""One error for many who wait: each of them is raised a copy of its own.

A raised exception is changed by whoever handles it: it gathers notes and a traceback. Callers that share one object
would read each other's history in it. `copy.copy` does not serve, since it calls the constructor once more with `args`:
``Gone("BTC")`` whose constructor words the text becomes "no such symbol: no such symbol: BTC", and a constructor with
keyword-only arguments fails. So the copy is made beneath all constructors, and its fields are set to those of the
original.
"""

from __future__ import annotations

from contextlib import suppress
from types import MemberDescriptorType
from typing import TypeVar

__all__ = ["copy_error"]

E = TypeVar("E", bound=BaseException)

_UNSET = object()
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a class statement


def copy_error(error: E) -> E:
    """An exception of the same type, text, fields, notes, cause and traceback, that shares no list with the original.

    Returns the original where its type does not allow a copy. Something that is no `Exception` (a cancellation, an
    exit) is never copied.
    """
    if not isinstance(error, Exception):
        return error
    try:
        return _copied(error)
    except Exception:  # a type that forbids it: better one object for all than another error
        return error


def _copied(error: E) -> E:
    kind = type(error)
    built_in: type = kind
    while built_in.__flags__ & _HEAP_TYPE and built_in.__base__ is not None:
        built_in = built_in.__base__
    twin: E = built_in.__new__(kind, *error.args)
    for base in kind.__mro__:  # what lies outside the dictionary: errno, and the like; and the slots of a class
        for name, field in vars(base).items():
            if isinstance(field, MemberDescriptorType) and not name.startswith("__"):
                _set(field, error, twin)
    twin.args = error.args
    vars(twin).update(vars(error))
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


def _set(field: MemberDescriptorType, error: BaseException, twin: BaseException) -> None:
    """Set one field of the copy, unless it is the same already: a None that C would tell from nothing, say."""
    with suppress(AttributeError):  # a slot that was never set, or one that only its constructor sets
        value = field.__get__(error)
        if getattr(twin, field.__name__, _UNSET) is not value:
            field.__set__(twin, value)
