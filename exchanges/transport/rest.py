"""REST over one persistent HTTP session: one request, one answer, or one `TransportError` that says what is known.

Nothing is repeated here. aiohttp would send a GET a second time, in secret, when the connection dies before the answer;
that is switched off, because a request that nobody counts escapes every limit, breaker and trace. A connection that is
seen to be unusable *before* anything was written is replaced by the next one, which is no repetition.

A request that must ride on a new connection (`attempt.fresh`) gets one from the same session: aiohttp's pool is passed
over for it, so its idle connections and its limits stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from resilience.call import Attempt
from resilience.errors import ConfigError

from ..errors import TransportError
from .body import Body, BodyError
from .dns import Resolver
from .failures import refuse, translate
from .journey import Journey, current, tls_context
from .outgoing import check, parse, promised, redacted
from .session import check_aiohttp, make_session
from .settings import RestSettings, check_base_url
from .wire import Connector, Ledger, Unusable

__all__ = ["Reply", "Rest", "RestSettings", "broken", "check_base_url"]

_CONDEMNS = {"closing_transport", "session_closed"}
_MOST_DISCARDS = 3
_GRACE = 5.0


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer, complete and unpacked. `headers` is case-insensitive. No `status` is judged here, no 3xx followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


def broken(exc: BaseException) -> bool:
    """Whether this error condemns the whole session, for ``Pool(broken=...)``; most condemn only one connection."""
    return isinstance(exc, TransportError) and exc.reason in _CONDEMNS


class Rest:
    """The session, for a `Pool` to lend. Make it with `open`, and close it: nothing else releases its connections."""

    def __init__(
        self, settings: RestSettings, session: aiohttp.ClientSession, resolver: Resolver, ledger: Ledger
    ) -> None:
        self.settings = settings
        self._session = session
        self._resolver = resolver
        self._ledger = ledger

    @classmethod
    async def open(cls, settings: RestSettings | None = None) -> Rest:
        """A session; connections are made when they are needed. Raises `ConfigError`."""
        settings = settings or RestSettings()
        check_aiohttp()
        try:
            context = await asyncio.to_thread(tls_context, settings.ca_file)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise ConfigError(f"ca_file {settings.ca_file!r} holds no certificates; give a PEM file") from None
        ledger = Ledger()
        resolver = Resolver(settings.connect_timeout)
        return cls(settings, make_session(settings, context, resolver, ledger), resolver, ledger)

    @property
    def closed(self) -> bool:
        return self._session.closed

    async def request(
        self,
        attempt: Attempt,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        safe_query: frozenset[str] = frozenset(),
    ) -> Reply:
        """Send one request and read its whole answer. Raises `TransportError`, and nothing of aiohttp's.

        `url` is sent byte for byte, so what was signed is what is sent. Writes on the attempt: `sent`, `stale`,
        `waited`, timings, and ``url.full`` with the values of all query keys but `safe_query` replaced by ``REDACTED``.
        No time limit but the connect timeout: the caller's policies own the time. A cancellation passes, and closes the
        connection.
        """
        target = parse(url)
        if target is None:
            del method, url, headers, body
            raise refuse("the address of the request has no host, or a user name, a space or a line break in it")
        server = (target.host or "", target.port or 0)
        journey = Journey(attempt, server)
        failure: TransportError | None = None
        reply: Reply | None = None
        task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        token = current.set(journey)
        self._ledger.began(server)
        try:
            check(method, target, headers)
            self._note(attempt, method, target, headers, safe_query)
            reply = await self._exchange(journey, method, target, headers, body)
        except asyncio.CancelledError as exc:
            # Closing aiohttp's pool cancels whoever waits in it, though nobody cancelled the task.
            if not self.closed or task is None or task.cancelling() > cancelling:
                del method, url, target, headers, body
                raise exc.with_traceback(None)  # noqa: B904 (the same one, without frames that hold signed headers)
            failure = translate(exc, journey, target, True)
        except TransportError as exc:
            failure = exc
        except Exception as exc:
            failure = translate(exc, journey, target, self.closed)
            self._forget_address(target, failure)
        finally:
            journey.end()
            self._ledger.ended(server)
            current.reset(token)
        if reply is not None:
            return reply
        assert failure is not None  # noqa: S101 (either of the two is set)
        # Raised out here, so that it drags no foreign exception along, and without what a debugger would show.
        del method, url, target, headers, body, journey
        raise failure.with_traceback(None)

    async def _exchange(
        self, journey: Journey, method: str, target: URL, headers: Mapping[str, str] | None, body: bytes | None
    ) -> Reply:
        discards = 0
        while True:
            try:
                response = await self._session.request(
                    method, target, headers=headers, data=body or None, allow_redirects=False
                )
                break
            except Unusable:
                discards += 1
                journey.attempt.notes["connection.discarded"] = discards
                journey.fresh = journey.fresh or discards >= _MOST_DISCARDS
        journey.status = response.status
        journey.attempt.notes["http.response.status_code"] = response.status
        wire = journey.wire
        assert wire is not None  # noqa: S101 (it brought the answer)
        journey.enter("phase.body", wire.first_byte)
        try:
            wire.reads(response.content)
            content, end = await self._read(response, method)
        except BaseException:
            response.close()
            wire.drop(journey)
            raise
        wire.settle(journey, end, promised(response.headers.get("Keep-Alive", "")))
        response.release()
        return Reply(response.status, response.headers, content)

    async def _read(self, response: aiohttp.ClientResponse, method: str) -> tuple[bytes, bytes]:
        """The unpacked body, and the last bytes of the message as they came over the wire."""
        status, headers = response.status, response.headers
        if status < 200:
            raise BodyError("protocol", f"the server answered with an unexpected {status}")
        limit = self.settings.max_body
        length = headers.get("Content-Length", "")
        bare = method == "HEAD" or status in (204, 304)
        if not bare and length.isdecimal() and int(length) > limit:
            raise BodyError("body_too_large", f"the body is longer than {limit} bytes")
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        if not (bare or length or chunked or status >= 400):
            # Its end is the end of the connection, which anything can cause. An error's status says enough without it.
            raise BodyError("unframed", "the body has neither a length nor chunks, so nobody can tell if it is whole")
        body = Body(headers.get("Content-Encoding", ""), limit, self.settings.max_ratio)
        while data := await response.content.readany():
            body.feed(data)
        content = body.finish()
        if chunked and not bare:
            return content, b"\r\n0\r\n\r\n"
        return content, body.end or b"\r\n\r\n"

    def _note(
        self, attempt: Attempt, method: str, target: URL, headers: Mapping[str, str] | None, safe: frozenset[str]
    ) -> None:
        notes = attempt.notes
        notes["http.request.method"] = method
        notes["server.address"] = target.host
        notes["server.port"] = target.port
        notes["network.protocol.name"] = "http"
        notes["url.full"] = redacted(target, safe)
        if headers and "cdn-request-id" in headers:
            notes["request.id"] = headers["cdn-request-id"]

    def _forget_address(self, target: URL, failure: TransportError) -> None:
        """After a failed connection the name is looked up again: the host may have moved within the cache's time."""
        connector = self._session.connector
        moved = failure.reason in ("connect_refused", "connect_timeout", "connect")
        if moved and isinstance(connector, Connector) and target.host and target.port:
            connector.clear_dns_cache(target.host, target.port)

    def status(self) -> dict[str, Any]:
        """How the session stands: limits, open and idle connections, and how many there were, as plain data."""
        ledger = self._ledger
        return {
            "limit": self.settings.limit,
            "limit_per_host": self.settings.limit_per_host,
            "open": len(ledger.live),
            "idle": ledger.idle(),
            "connections_opened": ledger.opened,
            "connections_discarded": ledger.discarded,
            "servers": ledger.servers(),
        }

    async def aclose(self) -> None:
        """Close every connection and wait until each is really gone, TLS ones included. Harmless when repeated."""
        await self._session.close()
        await self._resolver.close()
        for wire in tuple(self._ledger.live):
            wire.cut()
        try:
            async with asyncio.timeout(_GRACE):
                await self._ledger.empty.wait()
        except TimeoutError:  # an aborted connection ends in two turns of the loop; nothing depends on it
            pass
        # One that was given up during its handshake is not on the list: it ends in the next turn. The other two let a
        # server in the same loop (a simulator, a test's) see the end before the caller closes the loop.
        for _ in range(3):
            await asyncio.sleep(0)
