"""What Bybit's answers mean: a retCode or an HTTP status becomes a verdict, by a table.

The surprising part: one code may mean two things. After "server timeout" a read is simply repeated, while an order may
stand in the book; both are UNKNOWN, and whether to repeat is the retry's question (is the operation idempotent?).
A 429 is a plain "later" for a read, and no promise of anything for a write.
Source: Bybit V5 documentation, pages Error Codes and Rate Limit Rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from resilience import Kind, Op, Verdict
from resilience.verdict import classify as default_classify

from ..errors import ExchangeError

__all__ = ["BAN_SECONDS", "BAN_TEXT", "CODES", "Code", "classify", "meaning", "of_code", "of_status"]

BAN_SECONDS = 600.0
"""Bybit asks for at least ten minutes of silence after "access too frequent"."""

BAN_TEXT = "access too frequent"
"""The words of that HTTP 403, in lower case. From the documentation; no recording has them."""

_LIMIT_SECONDS = 1.0
"""The window of Bybit's limit per account and endpoint: the pause after 10006 where no header names the time."""

_REJECTED, _THROTTLED, _FAILED, _UNKNOWN = Kind.REJECTED, Kind.THROTTLED, Kind.FAILED, Kind.UNKNOWN


@dataclass(frozen=True, slots=True)
class Code:
    """One retCode: what it means for a read and for a write, in words, and whom a pause concerns.

    `secret`: Bybit's own text may repeat the string that was signed, with the API key in it, so it is never shown.
    """

    read: Kind
    text: str
    write: Kind | None = None  # None: as for a read
    scope: str = "op"
    wait: float | None = None  # seconds, unless the reply names a time
    secret: bool = False


def _refused(text: str, **more: bool | str) -> Code:
    return Code(_REJECTED, text, **more)  # type: ignore[arg-type]


_KEY = "check the API key, its secret, its permissions and its environment"
_AMBIGUOUS = "whether it was executed is not known"

CODES: dict[int, Code] = {
    10000: Code(_UNKNOWN, f"the server timed out; {_AMBIGUOUS}"),
    10001: _refused("a parameter is wrong; check the symbol and the category"),
    10002: Code(_FAILED, "the request's time is outside the window; check the clock"),
    10003: _refused(f"the API key is invalid; {_KEY}", secret=True, scope="account"),
    10004: _refused(f"the signature is wrong; {_KEY}", secret=True, scope="account"),
    10005: _refused(f"permission denied; {_KEY}", secret=True, scope="account"),
    10006: Code(_THROTTLED, "too many requests to this endpoint", wait=_LIMIT_SECONDS),
    10007: _refused(f"authentication failed; {_KEY}", secret=True, scope="account"),
    10008: _refused("the account is banned; ask Bybit", scope="account"),
    10009: _refused("this IP address is banned; ask Bybit", scope="ip"),
    10010: _refused(f"the API key is bound to other IP addresses; {_KEY}", secret=True, scope="account"),
    10014: Code(_REJECTED, "the request is a duplicate; the first one may have been executed", write=_UNKNOWN),
    10016: Code(_UNKNOWN, f"an error inside the server; {_AMBIGUOUS}"),
    10017: _refused("no such path"),
    10018: Code(_THROTTLED, "too many requests from this IP address", scope="ip", wait=BAN_SECONDS),
    10019: Code(_THROTTLED, "the service is restarting"),
    10024: _refused("not allowed in this region or for this account", scope="account"),
    10027: _refused("trading is banned for this account", scope="account"),
    10403: Code(_THROTTLED, "too many requests from this IP address", scope="ip"),
    10404: _refused("unknown operation or category"),
    10429: Code(_THROTTLED, "the system is overloaded", write=_UNKNOWN),
    429: Code(_THROTTLED, "the system is overloaded", write=_UNKNOWN),
    20001: _refused("authenticated twice"),
    20003: Code(_THROTTLED, "too many requests in one session"),
    20006: Code(_REJECTED, "the request id is a duplicate", write=_UNKNOWN),
    33004: _refused(f"the API key has expired; {_KEY}", secret=True, scope="account"),
    -1: Code(_FAILED, "the request has expired; check the clock"),
    -2015: _refused(f"the API key, its IP address or its permissions are wrong; {_KEY}", secret=True, scope="account"),
    30035: Code(_THROTTLED, "too many cancellations"),
    40004: Code(_THROTTLED, "the order is being changed"),
    110001: _refused("no such order; a new one may not be visible yet"),
    110025: _refused("nothing to change: it is so already"),
    110026: _refused("nothing to change: it is so already"),
    110043: _refused("nothing to change: it is so already"),
    110072: _refused("an order with this orderLinkId exists"),
    110079: Code(_THROTTLED, "the order is being processed"),
    170001: Code(_UNKNOWN, f"an error inside the server; {_AMBIGUOUS}"),
    170005: Code(_THROTTLED, "too many new orders"),
    170007: Code(_UNKNOWN, f"the server timed out; {_AMBIGUOUS}"),
    170032: Code(_UNKNOWN, f"a network error inside the server; {_AMBIGUOUS}"),
    170141: _refused("an order with this orderLinkId exists"),
    170146: Code(_UNKNOWN, f"creating the order timed out; {_AMBIGUOUS}"),
    170147: Code(_UNKNOWN, f"cancelling the order timed out; {_AMBIGUOUS}"),
    170191: Code(_THROTTLED, "the order cannot be cancelled yet"),
    170213: _refused("no such order; a new one may not be visible yet"),
    170222: Code(_THROTTLED, "too many requests"),
    170310: Code(_UNKNOWN, f"changing the order timed out; {_AMBIGUOUS}"),
}
"""retCode: meaning. A code that is not listed is a business refusal, which no repetition changes."""

_OTHER = _refused("refused")

STATUSES: dict[int, Code] = {
    400: _refused("the request is malformed"),
    401: _refused(f"not authenticated; {_KEY}", secret=True, scope="account"),
    404: _refused("no such path, or the category is not open to this account"),
    429: CODES[429],
}
"""HTTP status: meaning, where no retCode says more. 403 is decided by its text (`exchanges.bybit.answers`)."""

_CLIENT_ERROR = _refused("refused")
_SERVER_ERROR = Code(_UNKNOWN, f"the server or a gateway failed; {_AMBIGUOUS}")
_REDIRECT = Code(_REJECTED, "redirected, which is never followed; check base_url", write=_UNKNOWN)
_UNEXPECTED = Code(_UNKNOWN, f"a status that Bybit does not send; {_AMBIGUOUS}")


def meaning(code: int) -> Code:
    """The row of a retCode; a plain refusal for one that is not listed."""
    return CODES.get(code, _OTHER)


def of_code(code: int, op: Op, wait: float | None = None) -> Verdict:
    """The verdict on a retCode. `wait`: seconds that the reply itself asked for."""
    return _verdict(meaning(code), op, f"bybit.{code}", wait)


def of_status(status: int, op: Op, wait: float | None = None) -> tuple[Verdict, str]:
    """The verdict on an HTTP status that no retCode explains, and its meaning in words."""
    if status >= 500:
        row = _SERVER_ERROR
    elif status >= 400:
        row = STATUSES.get(status, _CLIENT_ERROR)
    else:
        row = _REDIRECT if status >= 300 else _UNEXPECTED
    return _verdict(row, op, f"http_{status}", wait), row.text


def classify(exc: Exception, op: Op) -> Verdict:
    """What an exception of this adapter means; our own errors carry their verdict with them."""
    verdict = getattr(exc, "verdict", None) if isinstance(exc, ExchangeError) else None
    return verdict if isinstance(verdict, Verdict) else default_classify(exc, op)


def _verdict(row: Code, op: Op, reason: str, wait: float | None) -> Verdict:
    kind = row.read if row.write is None or op.idempotent else row.write
    return Verdict(kind, reason, row.wait if wait is None else wait, row.scope)
