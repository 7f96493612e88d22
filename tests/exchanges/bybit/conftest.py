"""Recorded replies, and a server that answers with exactly the bytes it is given."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

OURS = Path(__file__).parents[2] / "data" / "bybit"


@dataclass
class Recording:
    """One recorded reply: what was asked, and the body byte for byte."""

    path: str
    query: dict[str, str]
    status: int
    body: bytes
    name: str = field(default="")


def recordings() -> list[Recording]:
    """All recorded replies to single requests: ours, and those of the folder that BYBIT_RECORDED_DIR names."""
    found: dict[str, Recording] = {}
    for folder in (OURS, *map(Path, filter(None, [os.environ.get("BYBIT_RECORDED_DIR")]))):
        for entry in json.loads((folder / "replay.json").read_text())["entries"]:
            name = entry["file"]
            if name.endswith(".json"):
                body = (folder / name).read_bytes()
                found[name] = Recording(entry["path"], entry["query"], entry["status"], body, name)
    return list(found.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recording" in metafunc.fixturenames:
        every = recordings()
        metafunc.parametrize("recording", every, ids=[one.name for one in every])


class Canned:
    """A server on loopback that answers the n-th request with the n-th reply, and the last one for ever.

    A reply is (status, headers, body) or a function of the request's target. `targets` holds what was asked for, and
    `heads` the whole request heads, as sent. Replies can be exchanged while it runs: `replies` is the list.
    """

    def __init__(self, replies: Iterable[Any]) -> None:
        self.replies = list(replies)
        self.targets: list[str] = []
        self.heads: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._writers: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ")[1].decode()
                reply = self.replies[min(len(self.targets), len(self.replies) - 1)]
                self.targets.append(target)
                self.heads.append(head.decode())
                status, headers, body = reply(target) if callable(reply) else reply
                lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def canned() -> Callable[..., Canned]:
    return lambda *replies: Canned(replies)


@pytest.fixture
def envelope() -> Callable[..., bytes]:
    """Bybit's envelope around a result, as bytes."""

    def make(result: Any, code: Any = 0, text: str = "OK", time: Any = 1_700_000_000_000) -> bytes:
        return json.dumps({"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": time}).encode()

    return make
