"""The checks that Bybit makes on query parameters; each failure is retCode 10001 with HTTP 200.

The text for a wrong symbol is recorded. The texts for the others follow the same pattern and are not recorded.
"""

from __future__ import annotations

from collections.abc import Mapping

from .catalog import CATEGORIES, Catalog, Instrument
from .replies import Refusal, bad_parameter

__all__ = ["category", "choice", "instrument", "integer", "limit", "window"]

_MAX_MS = 253_402_300_799_000  # the year 9999: beyond it no calendar helps


def category(query: Mapping[str, str], allowed: tuple[str, ...] = CATEGORIES, default: str | None = None) -> str:
    """The category, which must be one of `allowed`."""
    return choice(query, "category", allowed, default)


def choice(query: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """The value of `name`, which must be one of `allowed`."""
    found = query.get(name) or default
    if found not in allowed:
        raise bad_parameter(name)
    return found


def instrument(query: Mapping[str, str], catalog: Catalog, within: str) -> Instrument:
    """The instrument that `symbol` names in the category `within`."""
    found = catalog.get(within, query.get("symbol", ""))
    if found is None:
        raise bad_parameter("symbol")
    return found


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of at least 0, or None where the parameter is absent or empty."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15) or int(text) > _MAX_MS:
        raise bad_parameter(name)
    return int(text)


def limit(query: Mapping[str, str], most: int, default: int) -> int:
    """How many rows are wanted: 1 to `most`."""
    found = integer(query, "limit")
    if found is None:
        return default
    if not 1 <= found <= most:
        raise bad_parameter("limit")
    return found


def window(query: Mapping[str, str], start: str, end: str) -> tuple[int | None, int | None]:
    """The two times (ms) named `start` and `end`, either of which may be absent."""
    first, last = integer(query, start), integer(query, end)
    if first is not None and last is not None and first > last:
        raise Refusal(10001, f"params error: {start} is later than {end}")
    return first, last
