"""From an HTTP reply to a sound envelope, or to the error that it means.

Strict, because a wrong value costs more than none: HTTP 200 alone proves nothing (a gateway's HTML page comes with it,
and so do Bybit's own refusals). The hard case is 403, which is a ten-minute ban, a country that is not served, or a web
firewall; the bodies are not documented. Where the text names neither, it is read as the ban: going on during a ban
prolongs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.json import Decoder

from resilience import Kind, Op, Verdict

from ..errors import ApiError, TransportError
from . import codes, hints
from .wire import Envelope, Malformed, decode

if TYPE_CHECKING:
    from resilience.call import Attempt

    from ..transport.rest import Reply

__all__ = ["Rules", "bad_payload", "read", "scrub"]

_envelope = Decoder(Envelope)

_LONGEST_TEXT = 200
_SAMPLE = 4096
_KEY_LIKE = re.compile(r"[A-Za-z0-9+/=]{16,}")
_REGION = re.compile(r"\b(?:your|this|certain|some|restricted) (?:countr|region|location|jurisdiction)")
_REGION_JSON = re.compile(r"\b(?:countr(?:y|ies)|regions?|jurisdictions?)\b")


@dataclass(frozen=True, slots=True)
class Rules:
    """What Bybit does not document and may change: the words of a ban (lower case), and how long it lasts (seconds)."""

    ban_text: str = codes.BAN_TEXT
    ban_seconds: float = codes.BAN_SECONDS


def read(reply: Reply, op: Op, attempt: Attempt, rules: Rules) -> Envelope:
    """The envelope of a success. Raises `ApiError` for a refusal, `TransportError` for anything that is no V5 reply.

    Writes the limits that the reply reports on the attempt, of a refusal too.
    """
    if reply.status == 403:
        raise _forbidden(reply, op, rules)
    if reply.status == 429 or reply.status >= 500 or (reply.status != 200 and reply.status < 400):
        raise _no_answer(reply, op)
    if reply.status != 200:
        raise _client_error(reply, op)
    envelope = _open(reply)
    attempt.limits = hints.limits(reply.headers, envelope.time)
    if envelope.code != 0:
        raise _refusal(envelope, reply, op)
    if bytes(memoryview(envelope.result)[:1]) != b"{":
        raise bad_payload("result is no object", reply.status)
    return envelope


def bad_payload(what: str, status: int | None = None) -> TransportError:
    """The error for an answer that is not what it should be. `what` holds nothing of the payload."""
    return TransportError(
        f"bybit: the answer is no valid V5 reply ({what}) and was thrown away; try again, or check base_url",
        verdict=Verdict(Kind.UNKNOWN, "bad_payload"),
        sent=True,
        status=status,
    )


def scrub(text: str | None) -> str:
    """Bybit's own words on one short line, without anything that looks like a key or a signature."""
    text = " ".join((text or "").split())
    if "origin_string" in text:  # repeats what was signed, the API key included
        return ""
    text = "".join(letter for letter in text if letter.isprintable())
    return _KEY_LIKE.sub("***", text)[:_LONGEST_TEXT]


def _open(reply: Reply) -> Envelope:
    body = reply.body
    if body.lstrip()[:1] == b"<":
        raise bad_payload("a web page", reply.status)
    try:
        if not body.isascii():
            body.decode()  # the decoder does not look into texts that nobody reads
        envelope = decode(_envelope, body)
    except UnicodeDecodeError:
        raise bad_payload("not UTF-8", reply.status) from None
    except Malformed as exc:
        raise bad_payload(str(exc) if body else "empty", reply.status) from None
    if body.count(b'"retCode"') > 1:  # of two equal keys, a decoder silently takes the last
        raise bad_payload("retCode stands there twice", reply.status)
    return envelope


def _refusal(envelope: Envelope, reply: Reply, op: Op) -> ApiError:
    wait = hints.retry_after(reply.headers)
    if wait is None and envelope.code == 10006:
        wait = hints.reset_in(reply.headers, envelope.time)
    row = codes.meaning(envelope.code)
    said = "" if row.secret else scrub(envelope.text)
    return ApiError(
        f"bybit {envelope.code}: {row.text}{f' ({said})' if said else ''}",
        code=envelope.code,
        op=op.name,
        verdict=codes.of_code(envelope.code, op, wait),
    )


def _no_answer(reply: Reply, op: Op) -> TransportError | ApiError:
    """A status that speaks for itself: overload, a gateway's failure, a redirect."""
    verdict, text = codes.of_status(reply.status, op, hints.retry_after(reply.headers))
    line = f"bybit HTTP {reply.status}: {text}"
    if reply.status == 429:
        return ApiError(line, code=429, op=op.name, verdict=verdict)
    return TransportError(line, verdict=verdict, sent=True, status=reply.status)


def _client_error(reply: Reply, op: Op) -> ApiError:
    """A refusal by status; Bybit's own code says more where the body has one (a 401 may come with none at all)."""
    try:
        envelope = _open(reply)
    except TransportError:
        envelope = None
    if envelope is not None and envelope.code != 0:
        return _refusal(envelope, reply, op)
    verdict, text = codes.of_status(reply.status, op)
    return ApiError(f"bybit HTTP {reply.status}: {text}", code=reply.status, op=op.name, verdict=verdict)


def _forbidden(reply: Reply, op: Op, rules: Rules) -> ApiError:
    text = reply.body[:_SAMPLE].decode("utf-8", "replace").lower()
    if rules.ban_text.lower() not in text:
        named = _client_error(reply, op)
        if named.code != 403 and named.verdict.kind is Kind.REJECTED:
            return named
        if _names_region(text):
            verdict = Verdict(Kind.REJECTED, "http_403", scope="ip")
            line = "bybit HTTP 403: not served in this country or region; check where this machine stands, and base_url"
            return ApiError(line, code=403, op=op.name, verdict=verdict)
    verdict = Verdict(Kind.THROTTLED, "http_403", rules.ban_seconds, "ip")
    line = f"bybit HTTP 403: access too frequent from this IP address; send nothing for {rules.ban_seconds:g} s"
    return ApiError(line, code=403, op=op.name, verdict=verdict)


def _names_region(text: str) -> bool:
    """In JSON any word for one will do; in a web page, "region" alone is markup."""
    return bool((_REGION_JSON if text.lstrip()[:1] == "{" else _REGION).search(text))
