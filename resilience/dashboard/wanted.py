"""What a request asks for: numbers and times of its query, the fields of a form."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

__all__ = ["form", "times", "whole"]


def form(body: bytes, request: web.Request) -> dict[str, str]:
    """The fields of a form, at most four. Raises `ValueError` for what is none."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise ValueError("not a form")
    return dict(parse_qsl(body.decode("ascii"), max_num_fields=4))


def _number(asked: Any, name: str) -> float | None:
    """A number of the query; None where it is not there. Raises 400."""
    text = asked.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1e16 < value < 1e16:
        raise web.HTTPBadRequest(text=f"{name} must be a number")
    return value


def times(asked: Any) -> tuple[float | None, float | None]:
    """From when and until when, in milliseconds since 1970: `since` and `until`, or the `last` so many. Raises 400."""
    last, until = _number(asked, "last"), _number(asked, "until")
    return (_number(asked, "since") if last is None else time.time() * 1000 - last), until


def whole(asked: Any, name: str, default: int, most: int) -> int:
    """A whole number of the query from 1 to `most`, to which it is cut. Raises 400."""
    value = _number(asked, name)
    return default if value is None else min(max(int(value), 1), most)
