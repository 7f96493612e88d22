"""Two hundred hostile requests at once, from a process of its own: ``python siege.py HOST PORT SECONDS``.

It says that it is ready, and begins with the first line that it is sent.

Bodies that are nothing, too large, or grow when they are unpacked; wrong tokens, Hosts and methods; heads and bodies
that never end; clients that ask for much and read nothing, and forty that listen for ever. Prints, as one line of JSON,
how often which status came back; those that got no answer, as most of these want none, count as ``-``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
from collections import Counter

CLIENTS = 200
PATIENCE = 20.0  # seconds for which those who read wait longer than the others, on a machine that is busy


def request(head: str, body: bytes = b"", host: str = "localhost", promise: int | None = None) -> bytes:
    length = f"Content-Length: {len(body) if promise is None else promise}\r\n" if body or promise else ""
    return f"{head}\r\nHost: {host}\r\nConnection: close\r\n{length}\r\n".encode() + body


def _take(body: bytes, more: str = "", kind: str = "application/json") -> bytes:
    return request(f"POST /v1/traces HTTP/1.1\r\nContent-Type: {kind}{more}", body)


def _zipped(body: bytes) -> bytes:
    return _take(gzip.compress(body, 1), "\r\nContent-Encoding: gzip")


SPAN = b'{"traceId":"%032x","spanId":"%016x","name":"x","attributes":[{"key":"k","value":{"stringValue":"v"}}]}'
MANY = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join(SPAN % (n, n) for n in range(1, 3_000)) + b"]}]}]}"
DICE = random.Random(4)

KINDS: list[tuple[bytes, bool]] = [  # what is sent, made before the first is sent; and whether the answer is read
    (_take(DICE.randbytes(2_000)), True),
    (_take(DICE.randbytes(2_000), kind="application/x-protobuf"), True),
    (_take(b"[" * 100_000), True),
    (_take(b" " * 5_000_000), True),
    (_zipped(b" " * 20_000_000), True),
    (_zipped(b"[" * 7_000_000), True),
    (_zipped(MANY), True),
    (_take(b"\x0a\x00" * 1_000_000, kind="application/x-protobuf"), True),
    (request(f"GET /api/snapshot HTTP/1.1\r\nAuthorization: Bearer {DICE.random()}"), True),
    (request("GET /api/snapshot HTTP/1.1", host="evil.example"), True),
    (request("DELETE /api/traces HTTP/1.1"), True),
    (request("GET /api/bubble?q=op:x HTTP/1.1"), True),
    (request("GET /api/heatmap?bins=500 HTTP/1.1"), True),
    (request("GET /api/traces?limit=1000 HTTP/1.1"), False),
    (request("POST /v1/traces HTTP/1.1\r\nContent-Type: application/json", b"{", promise=4_000_000), False),
    (b"GET / HTTP/1.1\r\nHost: loc", False),
    *[(request("GET /api/stream HTTP/1.1"), False)] * 4,
]


async def client(number: int, host: str, port: int, seconds: float, seen: Counter[str]) -> None:
    what, reads = KINDS[number % len(KINDS)]
    said = "-"
    try:
        async with asyncio.timeout(seconds + (PATIENCE if reads else 0)):
            reader, writer = await asyncio.open_connection(host, port, limit=4_096)
            try:
                writer.write(what)
                if reads:
                    said = (await reader.readline()).decode("latin-1").split(" ")[1]
                else:
                    await asyncio.sleep(seconds)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, IndexError):
        pass
    seen[said] += 1


async def attack(host: str, port: int, seconds: float) -> Counter[str]:
    seen: Counter[str] = Counter()
    await asyncio.gather(*(client(number, host, port, seconds, seen) for number in range(CLIENTS)))
    return seen


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))), flush=True)
