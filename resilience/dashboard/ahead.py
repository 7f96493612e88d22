"""What a page will need, told to the browser with the page's first reply, so that it need not find out one by one.

These are the modules of the page and the question that it asks first, in the words in which it asks: a browser takes
the answer to a preload only for the very same address. `route` and `QUESTIONS` in api.js say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote, urlencode

__all__ = ["Modules", "question"]

_MOST_CHARACTERS = 2_000  # of a question: it goes into a header
_IMPORT = re.compile(rb'^import [^"\n]*"\./([\w.-]+)";$', re.MULTILINE)
_PAGES = ("traces", "latency", "errors", "compare")
_Asked = Mapping[str, str]


class Modules:
    """The modules of a page, by what each imports."""

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._imports = {name: _imported(body, found) for name, body in found.items() if name.endswith(".js")}

    def of(self, path: str) -> list[str]:
        """Those of the page at this address."""
        wanted = ["app.js", f"{_page(path)}.js"]
        for name in wanted:  # which grows meanwhile
            wanted += [other for other in self._imports.get(name, ()) if other not in wanted]
        return [name for name in wanted if name in self._imports]


def _imported(body: bytes, found: Collection[str]) -> list[str]:
    return [name for name in map(bytes.decode, _IMPORT.findall(body)) if name in found]


def question(path: str, asked: _Asked) -> str:
    """The address that the page at `path`, with these parameters, asks first; "" where it is too long for a header."""
    where, params = _QUESTIONS[_page(path)](path, asked)
    given = {name: value for name, value in params.items() if value}
    # As URLSearchParams writes them.
    words = urlencode(given, safe="*", errors="replace").replace("~", "%7E")
    address = f"{where}?{words}" if words else where
    return address if len(address) <= _MOST_CHARACTERS else ""


def _page(path: str) -> str:
    """The name of the page at an address, which is that of its module."""
    _, first, *rest = path.split("/")
    if first == "traces" and any(rest):
        return "trace"
    return first if first in _PAGES else "overview"


def _trace(path: str, asked: _Asked) -> tuple[str, _Asked]:
    return "/api/traces/" + quote(path.split("/")[2], safe="!*'()", errors="replace"), {}


def _traces(path: str, asked: _Asked) -> tuple[str, _Asked]:
    return "/api/traces", {**{name: asked.get(name, "") for name in ("q", "since", "until")}, "limit": "100"}


def _latency(path: str, asked: _Asked) -> tuple[str, _Asked]:
    span = asked.get("span", "")
    last = span if span.isascii() and span.isdecimal() and not span.startswith("0") else "300000"
    return "/api/heatmap", {"op": asked.get("op", ""), "last": last, "bins": "80"}


def _compare(path: str, asked: _Asked) -> tuple[str, _Asked]:
    a, b = asked.get("a", ""), asked.get("b", "")
    return ("/api/compare", {"a": a, "b": b}) if a and b else ("/api/traces", {"limit": "12"})


_QUESTIONS: Mapping[str, Callable[[str, _Asked], tuple[str, _Asked]]] = {
    "overview": lambda path, asked: ("/api/snapshot", {}),
    "traces": _traces,
    "trace": _trace,
    "latency": _latency,
    "errors": lambda path, asked: ("/api/errors", {"last": "3600000"}),
    "compare": _compare,
}
