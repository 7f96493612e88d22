"""No key, signature, header, query or body gets into an error, its chain, its traceback, a log or a note."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.rest import Rest, RestSettings
from resilience.call import Attempt
from resilience.verdict import Kind

CANARY = "c4n4ry"
HEADERS = {"X-BAPI-API-KEY": CANARY, "X-BAPI-SIGN": CANARY, "Authorization": CANARY}
QUERY = f"/v5/order?symbol=X&api_key={CANARY}"
BODY = f'{{"qty":"{CANARY}"}}'.encode()

FAULTS: dict[str, bytes | None] = {
    "answer": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "disconnect": b"",
    "reset": None,
    "half a head": b"HTTP/1.1 200 OK\r\nConte",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "half a gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "echo in the status line": f"HTTP/1.1 {CANARY} \x00\r\n\r\n".encode(),
    "echo in a header": f"HTTP/1.1 200 OK\r\n{CANARY}\x00: {CANARY}\r\n\r\n".encode(),
    "echo in a chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n".encode(),
    "echo in the coding": f"HTTP/1.1 200 OK\r\nContent-Encoding: {CANARY}\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
    "echo in the length": f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n".encode(),
    "silence": b"HTTP/1.1 200 OK\r\n",
}


def everything(exc: BaseException | None) -> str:
    """All that a tool could show of an error: texts, notes, arguments, and the local variables of every frame."""
    shown = ""
    while exc is not None:
        shown += f"{exc!r} {exc} {exc.args!r} {getattr(exc, '__notes__', '')} {vars(exc)!r}"
        tree = traceback.TracebackException(type(exc), exc, exc.__traceback__, capture_locals=True)
        ours = [frame for frame in tree.stack if "/exchanges/" in frame.filename.replace("tests/exchanges", "")]
        foreign = [frame for frame in tree.stack if "site-packages" in frame.filename]
        shown += "".join(f"{frame.name} {frame.locals}" for frame in [*ours, *foreign])
        exc = exc.__cause__ or exc.__context__
    return shown


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_shows_a_secret(run: Any, serve: Any, caplog: Any, fault: str, method: str) -> None:
    """A canary rides in headers, query and body through every fault, cancellation included; nothing repeats it."""
    caplog.set_level(logging.DEBUG)
    answer = FAULTS[fault]

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            if answer is None:
                peer.reset()
                return
            await peer.send(answer)
            if fault == "silence":
                await peer.gone()

        async with serve(handler) as server:
            rest = await Rest.open()
            attempt = Attempt()
            error: BaseException | None = None
            try:
                async with asyncio.timeout(0.05 if fault == "silence" else 5):
                    await rest.request(
                        attempt, method, server.url + QUERY, headers=HEADERS, body=BODY if method == "POST" else None
                    )
            except (TransportError, TimeoutError) as exc:
                error = exc
            assert (error is None) == (fault == "answer")
            assert isinstance(error, TransportError | None) or fault == "silence"
            assert len(server.requests) == 1
            assert CANARY in server.requests[0].target
            assert CANARY not in everything(error)
            assert CANARY not in repr(attempt.notes)
            assert CANARY not in repr(rest.status())
            assert CANARY not in caplog.text
            await rest.aclose()

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"X-A": f"{CANARY}\r\nX-B: 1"}),
        ("GET", "/", {"X-A": f"{CANARY}\n"}),
        ("GET", "/", {"X-A": f"\x00{CANARY}"}),
        ("GET", "/", {f"X-{CANARY}\r\nX-B": "1"}),
        ("GET", "/", {f"X {CANARY}": "1"}),
        ("GET", f"/{CANARY} HTTP/1.1\r\nX-B: 1\r\n\r\n", None),
        ("GET", f"/?a={CANARY}\n", None),
        (f"GET /{CANARY}", "/", None),
        ("get", "/", None),
    ],
)
def test_what_could_split_a_request_is_refused_without_being_repeated(
    run: Any, serve: Any, answer: Any, method: str, path: str, headers: dict[str, str] | None
) -> None:
    """CR, LF, NUL and spaces in method, path, header name or value: REJECTED, no connection made, nothing shown."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            attempt = Attempt()
            with pytest.raises(TransportError) as caught:
                await rest.request(attempt, method, server.url + path, headers=headers)
            assert (caught.value.verdict.kind, caught.value.reason) == (Kind.REJECTED, "bad_request")
            assert not attempt.sent
            assert server.accepted == 0
            assert CANARY not in everything(caught.value)
            await rest.aclose()

    run(main())


@pytest.mark.parametrize(
    "url",
    [
        f"http://{CANARY}:{CANARY}@127.0.0.1/",
        f"http://198.51.100.1/?a={CANARY}",
        f"ftp://127.0.0.1/?a={CANARY}",
        f"//127.0.0.1/{CANARY}",
        f"https:///{CANARY}",
        f"https://[::1/{CANARY}",
        f"https://h:99999/{CANARY}",
        f"/{CANARY}",
        "",
    ],
)
def test_an_address_that_must_not_be_spoken_to_is_refused(run: Any, url: str) -> None:
    """No plain HTTP beyond this machine, no user name, no other scheme; the address is not repeated."""

    async def main() -> None:
        rest = await Rest.open(RestSettings(connect_timeout=0.1))
        with pytest.raises(TransportError) as caught:
            await rest.request(Attempt(), "GET", url)
        assert (caught.value.verdict.kind, caught.value.reason) == (Kind.REJECTED, "bad_request")
        assert CANARY not in everything(caught.value)
        assert caught.value.__context__ is None
        await rest.aclose()

    run(main())
