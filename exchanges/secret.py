"""A value that must not be seen: it prints, formats, copies and pickles as ``***``.

`reveal` is the one way out; search for it to find every place that handles a secret.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn, Self

__all__ = ["Secret"]

_SHOWN = "***"


class Secret:
    """Holds one text. Equality takes the same time whatever differs; it has no order, no length and no iteration."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def from_config(cls, text: str) -> Self:
        """From a scalar of a configuration file. Raises `ValueError` for an empty one."""
        if not text.strip():
            raise ValueError("is empty; leave the credentials out, or set the environment variable")
        return cls(text)

    def reveal(self) -> str:
        """The text itself. Keep it out of exceptions, logs and spans."""
        return self._text

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash is a fingerprint

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: hand over where it comes from, and read it there")
