"""Asks a dashboard, and listens to it; begins anew when it was away. Redirects are not followed: they could lead the
token elsewhere. What comes back is bounded, and an error is one line in which no token stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

from ...errors import ConfigError

__all__ = ["Client", "Event", "Unreachable", "checked"]

_MOST = 32 * 2**20  # bytes of an answer
_SECONDS = 10.0  # for an answer
_SILENCE = 40.0  # a stream says something every 15 s
_FIRST, _LAST = 0.5, 5.0  # seconds until it is tried again


class Unreachable(Exception):
    """There is no dashboard, or it does not let us in. One line."""


class Event(NamedTuple):
    """`kind`: ``snapshot``, ``trace``, ``skipped`` as the dashboard has them; ``here``; ``away`` with the reason."""

    kind: str
    data: Any


class _Token:
    """A word that no traceback shows."""

    __slots__ = ("_word",)

    def __init__(self, word: str) -> None:
        self._word = word

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._word}"}

    def __repr__(self) -> str:
        return "***"


def checked(url: str) -> str:
    """The address, without a slash at its end. Raises `ConfigError` for what is none, and for one with secrets."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError("top: --url must be an address such as http://127.0.0.1:8787")
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ConfigError("top: --url takes an address alone, such as http://127.0.0.1:8787; a token goes to --token")
    return f"{parts.scheme}://{parts.netloc}"


class Client:
    """Use it as ``async with Client(url, token) as client``. `place` is the address. Raises `ConfigError`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.place = checked(url)
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise ConfigError("top: the token is empty or has characters that no header can carry")
        self._token = None if token is None else _Token(token.strip())
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**18)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str, **asked: str) -> Any:
        """The JSON of an address. Raises `Unreachable`."""
        trouble = "it does not answer"
        try:
            async with asyncio.timeout(_SECONDS), self._request(path, asked) as reply:
                await self._check(reply)
                return json.loads(await _body(reply))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            trouble = _reason(error)
        except ValueError:
            trouble = "what answers there is no dashboard of resilience"
        raise Unreachable(f"no dashboard at {self.place}: {trouble}")

    async def snapshot(self) -> dict[str, Any]:
        """How everything stands, without the word that controls need. Raises `Unreachable`."""
        found = await self.get("/api/snapshot")
        if not isinstance(found, dict) or "headline" not in found:
            raise Unreachable(f"no dashboard at {self.place}: what answers there is no dashboard of resilience")
        found.pop("csrf", None)
        return found

    async def calls(self, filter: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Kept calls that fit a filter, the newest first. Raises `Unreachable`."""
        found = await self.get("/api/traces", q=filter, limit=str(limit))
        rows = found.get("traces") if isinstance(found, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def follow(self) -> AsyncIterator[Event]:
        """What the dashboard sends, for ever: ``here`` when it is reached, ``away`` when it is not any more."""
        pause = _FIRST
        while True:
            trouble = "it went away"
            try:
                async with self._request("/api/stream", {}) as reply:
                    await self._check(reply)
                    yield Event("here", None)
                    pause = _FIRST
                    async for event in self._events(reply):
                        yield event
            except (aiohttp.ClientError, OSError) as error:
                trouble = _reason(error)
            except Unreachable as error:
                trouble = str(error).partition(": ")[2]
            except ValueError:
                trouble = "what answers there is no dashboard of resilience"
            yield Event("away", f"{trouble}; trying again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST)

    def _request(self, path: str, asked: dict[str, str]) -> Any:
        if self._session is None:
            raise RuntimeError("use it as: async with Client(...)")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SILENCE)
        return self._session.get(
            self.place + path,
            params=asked,
            headers={} if self._token is None else self._token.headers(),
            allow_redirects=False,
            timeout=timeout,
        )

    async def _check(self, reply: aiohttp.ClientResponse) -> None:
        """Raises `Unreachable` for a refusal."""
        if reply.status in (401, 403):
            raise Unreachable(f"no dashboard at {self.place}: {self._refused(reply.status)}")
        if reply.status != 200:
            text = _told(await reply.content.read(4096))
            raise Unreachable(f"no dashboard at {self.place}: it answers {reply.status}{text}")

    def _refused(self, status: int) -> str:
        if status == 403:
            return "it refuses"
        return "it needs a token; give --token" if self._token is None else "that is not its token"

    async def _events(self, reply: aiohttp.ClientResponse) -> AsyncIterator[Event]:
        waiting = b""
        async for part in reply.content.iter_any():
            waiting += part
            if len(waiting) > _MOST:
                raise ValueError("too long")
            *blocks, waiting = waiting.split(b"\n\n")
            for block in blocks:
                event = _event(block.decode("utf-8", "replace"))
                if event is not None:
                    yield event


async def _body(reply: aiohttp.ClientResponse) -> bytes:
    """All of it. Raises ValueError for what is too much."""
    parts, size = [], 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > _MOST:
            raise ValueError("too long")
        parts.append(part)
    return b"".join(parts)


def _event(block: str) -> Event | None:
    """An event of the stream; None for a comment. Raises ValueError."""
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
    if "event" not in fields or "data" not in fields:
        return None
    data = json.loads(fields["data"])
    if isinstance(data, dict):
        data.pop("csrf", None)
    return Event(fields["event"], data)


def _told(body: bytes) -> str:
    """What an error's JSON says."""
    try:
        said = json.loads(body)
        text = said.get("error") if isinstance(said, dict) else None
    except ValueError:
        text = None
    return f", {text}" if isinstance(text, str) else ""


def _reason(error: BaseException) -> str:
    """Why it was not reached, in a few words of ours: an exception's text may hold an address or a header."""
    if isinstance(error, (ConnectionRefusedError, aiohttp.ClientConnectorError)):
        return "the connection is refused" if getattr(error, "errno", 0) in (61, 111, 10061) else "it cannot be reached"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return "the connection broke"
