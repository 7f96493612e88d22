"""What broke, in our words: every foreign exception becomes one `TransportError`.

The kind follows from one fact, `attempt.sent`, and not from the exception: FAILED if nothing left, UNKNOWN if something
may have, whether it was a GET or an order. Only what no repetition can cure is REJECTED.

Nothing of the foreign exception is kept. Its `repr` can hold signed headers and its `str` the whole URL, and aiohttp's
"status 400" for a garbled answer is no answer of the server at all.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl

import aiohttp
from yarl import URL

from resilience.verdict import Kind, Verdict

from ..errors import TransportError
from .body import BodyError
from .journey import Journey

__all__ = ["refuse", "translate"]

_log = logging.getLogger("exchanges")

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
_NO_FILES = {errno.EMFILE, errno.ENFILE}
_STALE = {"reset", "disconnected", "closing_transport"}
# What OpenSSL says when the other side does not speak TLS at all; which of them depends on its version.
_PLAINTEXT = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}

_Case = tuple[str, str]  # reason, what happened and what to do


def translate(exc: BaseException, journey: Journey, url: URL, closed: bool) -> TransportError:
    """The error to raise instead of `exc`. Marks the attempt as stale where that is what happened."""
    attempt = journey.attempt
    reason, text = _case(exc, journey, closed)
    kind = Kind.UNKNOWN if attempt.sent else Kind.FAILED
    if not attempt.sent and reason in ("certificate", "tls_missing", "bad_request"):
        kind = Kind.REJECTED
    attempt.stale = journey.reused and not journey.answered and reason in _STALE
    where = f"{url.host_subcomponent}:{url.port}"
    unsure = "; the request may have been carried out" if attempt.sent else ""
    if reason == "certificate":
        _log.error("%s: %s", where, text)  # nobody should have to find this among retries
    return TransportError(
        f"{where}: {text}{unsure}", verdict=Verdict(kind, reason), sent=attempt.sent, status=journey.status
    )


def refuse(text: str) -> TransportError:
    """The error for a request that may not be sent as it is."""
    return TransportError(text, verdict=Verdict(Kind.REJECTED, "bad_request"))


def _case(exc: BaseException, journey: Journey, closed: bool) -> _Case:
    if isinstance(exc, BodyError):
        return exc.reason, f"{exc.what}; the answer was thrown away, try again"
    if closed:
        return "session_closed", "the HTTP session was closed; the next request opens a new one"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return _connecting(exc)
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return "connect_timeout", "no connection within the connect timeout; check base_url and the network"
    if isinstance(exc, aiohttp.ClientResponseError) or journey.garbled:  # aiohttp's invented "400" is no status
        return "protocol", "the answer is not valid HTTP; check that base_url is the exchange's API"
    if isinstance(exc, aiohttp.ClientPayloadError):
        return "body_cut", "the connection ended in the middle of the body; try again"
    if isinstance(exc, (aiohttp.ClientConnectionError, OSError)):
        return _broken(exc, journey)
    if isinstance(exc, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError)):
        return "bad_request", "the address or a header of the request cannot be sent; check base_url"
    return "transport", f"the request failed with {type(exc).__name__}; please report this"


def _broken(exc: BaseException, journey: Journey) -> _Case:
    """There was a connection, and it broke before the answer was whole."""
    if not journey.attempt.sent:
        if journey.reused:
            return "closing_transport", "the connection was closing before the request was written; try again"
        return "connect", "the server dropped the connection as soon as it was made; try again"
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return "disconnected", "the server closed the connection instead of answering; try again"
    if isinstance(exc, ssl.SSLError) or isinstance(exc.__cause__, ssl.SSLError):
        return "tls", "the TLS connection broke; try again"
    return "reset", "the connection was reset; try again"


def _connecting(exc: aiohttp.ClientConnectorError) -> _Case:
    """Nothing was sent yet: name look-up, TCP or TLS did not come through."""
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return "dns", f"the host name was not found ({exc.os_error.strerror}); check base_url and the name server"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        why = getattr(exc.certificate_error, "verify_message", "") or "it does not verify"
        return "certificate", f"the TLS certificate is refused: {why}; do not go on before you know why"
    cause = exc.os_error
    if isinstance(exc, aiohttp.ClientConnectorSSLError):
        if getattr(cause, "reason", "") in _PLAINTEXT:
            return "tls_missing", "the server does not speak TLS on this port; check scheme and port of base_url"
        return "tls", f"the TLS handshake failed ({getattr(cause, 'reason', None) or 'no reason given'}); try again"
    number = cause.errno
    if isinstance(cause, ConnectionRefusedError):
        return "connect_refused", "connection refused; check base_url and that the server runs"
    if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        return "connect", "the server dropped the connection while it was being made; try again"
    if number in _UNREACHABLE:
        return "connect", "the host cannot be reached; check the network"
    if number in _NO_FILES:
        return "connect", "this process has no file descriptors left; raise its limit (ulimit -n)"
    if isinstance(cause, asyncio.TimeoutError) or number == errno.ETIMEDOUT:
        return "connect_timeout", "no connection in time; check base_url and the network"
    name = errno.errorcode.get(number, "unknown error") if number is not None else "unknown error"
    return "connect", f"no connection ({name}); check base_url and the network"
