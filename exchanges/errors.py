"""The errors of the exchange side: the road broke (`TransportError`), or the exchange said no (`ApiError`).

Both carry their `Verdict`, so that reading one is a field access. Neither ever holds a foreign exception, a header, a
query, a body or a key: what they say can be logged, shown and pickled as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resilience.verdict import Kind, Verdict

__all__ = ["ApiError", "ExchangeError", "TransportError"]


class ExchangeError(Exception):
    """The root of every error that this package raises about an exchange."""


class TransportError(ExchangeError):
    """No usable answer came back.

    `verdict` is FAILED where nothing was sent, UNKNOWN where a byte may have left, REJECTED where trying again changes
    nothing (a certificate, a header that may not be sent). `reason` has low cardinality: ``connect_refused connect
    connect_timeout dns tls tls_missing certificate closing_transport session_closed reset disconnected protocol
    body_cut body_too_large encoding unframed bad_request transport``. `sent`: may a byte of the request have left?
    `status` is the HTTP status where one arrived before the road broke, else None.
    """

    def __init__(self, text: str, *, verdict: Verdict, sent: bool = False, status: int | None = None) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.sent = sent
        self.status = status

    @property
    def reason(self) -> str:
        return self.verdict.reason

    @property
    def kind(self) -> Kind:
        return self.verdict.kind

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self.args, {"verdict": self.verdict, "sent": self.sent, "status": self.status})


class ApiError(ExchangeError):
    """The exchange answered, and the answer is no.

    `code` is the exchange's own number or word, `op` the operation's name. The text must be scrubbed by whoever makes
    the error: an exchange may echo what it was sent, signature and key included.
    """

    def __init__(self, text: str, *, code: int | str, op: str, verdict: Verdict) -> None:
        super().__init__(text)
        self.code = code
        self.op = op
        self.verdict = verdict

    @property
    def reason(self) -> str:
        return self.verdict.reason

    @property
    def kind(self) -> Kind:
        return self.verdict.kind

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self.args, {"code": self.code, "op": self.op, "verdict": self.verdict})


def _remake(make: Callable[..., ExchangeError], args: tuple[Any, ...], fields: dict[str, Any]) -> ExchangeError:
    return make(*args, **fields)
