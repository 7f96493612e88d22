"""One request's way through aiohttp: where its time went, and whether a byte of it may have left.

aiohttp tells neither in its exceptions. The way is followed from four public places: `TraceConfig` (waiting for a
connection, DNS, connecting, the first piece of a body), an `SSLContext` that notices the handshake beginning, a
`ClientRequest` that is asked to send itself, and the bytes that arrive (see `wire`). A context variable leads from each
of them to the journey, because aiohttp hands nothing of ours through to the last three.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp

from resilience.call import Attempt

if TYPE_CHECKING:
    from .wire import Wire

__all__ = ["Journey", "current", "tls_context", "trace_config"]

current: ContextVar[Journey] = ContextVar("exchanges_transport_journey")


class Journey:
    """What is known about one request, written on its attempt as it happens.

    The phases (``wait.connection phase.dns phase.connect phase.tls phase.first_byte phase.body``, seconds) follow one
    another without gaps, so a request that is cut short still shows which of them took the time.
    """

    __slots__ = (
        "_clock",
        "_over",
        "_phase",
        "_since",
        "_written",
        "attempt",
        "fresh",
        "reused",
        "server",
        "status",
        "wire",
    )

    def __init__(self, attempt: Attempt, server: tuple[str, int]) -> None:
        self.attempt = attempt
        self.server = server
        self.fresh = attempt.fresh
        self.reused = False
        self.status: int | None = None
        self.wire: Wire | None = None
        self._clock = asyncio.get_running_loop().time
        self._phase = ""
        self._since = 0.0
        self._written = False
        self._over = False

    def enter(self, phase: str, at: float | None = None) -> None:
        """The phase before ends and this one begins, now or at a time on the loop's clock. "" for none."""
        if self._over:  # a name look-up can outlive the request that asked for it
            return
        now = self._clock() if at is None else at
        if self._phase:
            seconds = max(0.0, now - self._since)
            notes = self.attempt.notes
            notes[self._phase] = notes.get(self._phase, 0.0) + seconds
            if self._phase == "wait.connection":
                self.attempt.waited += seconds
        self._phase, self._since = phase, now

    def end(self) -> None:
        """Nothing more will happen to this request."""
        self.enter("")
        self._over = True

    def board(self, wire: Wire) -> None:
        """The request goes out on this connection, in this very turn of the loop."""
        self.reused = wire.board(self)
        self.wire = wire
        self.attempt.sent = wire.is_connected()
        self.attempt.notes["connection"] = "reused" if self.reused else "new"
        self.enter("phase.first_byte")

    def writes(self) -> None:
        """A piece of the request is about to be written, the headers in front of the first one.

        A request with a body is written one turn after it boarded. If the connection began to close meanwhile, nothing
        of it leaves, and this is the only proof of that.
        """
        if not self._written:
            self._written = True
            self.attempt.sent = self.wire is not None and self.wire.is_connected()

    @property
    def answered(self) -> bool:
        """Whether a byte of an answer has arrived."""
        return self.wire is not None and self.wire.journey is self and self.wire.first_byte is not None

    @property
    def garbled(self) -> bool:
        """Whether what arrived was not HTTP."""
        return self.wire is not None and self.wire.journey is self and self.wire.garbled


def trace_config() -> aiohttp.TraceConfig:
    """Hooks that tell the current journey about its way to a connection."""

    def enters(phase: str) -> Any:
        async def note(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
            current.get().enter(phase)

        return note

    async def writes(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
        current.get().writes()

    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(enters("wait.connection"))
    config.on_connection_queued_end.append(enters(""))
    config.on_connection_create_start.append(enters("phase.connect"))
    config.on_dns_resolvehost_start.append(enters("phase.dns"))
    config.on_dns_resolvehost_end.append(enters("phase.connect"))
    config.on_connection_create_end.append(enters(""))
    config.on_request_chunk_sent.append(writes)
    return config


class _Noticing(ssl.SSLContext):
    """A context that tells the current journey when a handshake begins, for which aiohttp has no trace signal."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        journey = current.get(None)
        if journey is not None:
            journey.enter("phase.tls")
        return super().wrap_bio(*args, **kwargs)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifies host name and chain, TLS 1.2 or newer; the same settings as `ssl.create_default_context`.

    That function cannot make a subclass, and would write keys to the file that ``SSLKEYLOGFILE`` names: the environment
    has no say here. Reads files (the system's authorities take some 30 ms to load): run it in a thread. A re-made
    session gets the same context, as long as the file is the same.
    """
    return _context(ca_file, os.stat(ca_file).st_mtime_ns if ca_file else 0)


@functools.lru_cache(maxsize=8)
def _context(ca_file: str | None, _changed: int) -> ssl.SSLContext:
    context = _Noticing(ssl.PROTOCOL_TLS_CLIENT)  # verifies by default
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context
