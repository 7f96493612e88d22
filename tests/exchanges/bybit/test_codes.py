"""What Bybit's answers mean, and what an error may show of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from multidict import CIMultiDict

from exchanges import ApiError, ExchangeError, TransportError, UsageError
from exchanges.bybit import hints
from exchanges.bybit.answers import Rules, read, scrub
from exchanges.bybit.codes import CODES, classify, of_code
from exchanges.transport.rest import Reply
from resilience import Kind, Op
from resilience.call import Attempt

READ = Op("ticker", idempotent=True)
WRITE = Op("create_order")
NOW = 1_700_000_000_000
R, T, F, U = Kind.REJECTED, Kind.THROTTLED, Kind.FAILED, Kind.UNKNOWN
Envelope = Callable[..., bytes]


def error(
    op: Op, status: int, body: bytes = b"", headers: dict[str, str] | None = None, rules: Rules | None = None
) -> ExchangeError:
    """What reading this reply raises."""
    with pytest.raises(ExchangeError) as caught:
        read(Reply(status, CIMultiDict(headers or {}), body), op, Attempt(), rules or Rules())
    assert "\n" not in str(caught.value)
    return caught.value


# -- retCode --------------------------------------------------------------------------------------------------

TABLE = [  # code, as a read, as a write
    (10000, U, U), (10016, U, U), (170007, U, U), (170146, U, U), (170147, U, U), (170310, U, U), (170001, U, U),
    (10001, R, R), (10003, R, R), (10004, R, R), (10005, R, R), (10007, R, R), (10008, R, R), (10009, R, R),
    (10010, R, R), (10017, R, R), (10024, R, R), (10027, R, R), (33004, R, R), (-2015, R, R),
    (10002, F, F), (10006, T, T), (10018, T, T), (429, T, U), (10429, T, U), (10014, R, U), (20006, R, U),
    (110001, R, R), (110072, R, R), (170141, R, R), (110043, R, R), (110079, T, T), (170222, T, T), (30035, T, T),
    (110007, R, R), (170131, R, R), (987654, R, R),  # not listed: business refusals
]  # fmt: skip


@pytest.mark.parametrize(("code", "as_read", "as_write"), TABLE)
def test_a_code_means_what_the_table_says(code: int, as_read: Kind, as_write: Kind, envelope: Envelope) -> None:
    """A write reads an ambiguous code otherwise than a read; an unlisted code is a refusal that nothing changes."""
    for op, kind in ((READ, as_read), (WRITE, as_write)):
        found = error(op, 200, envelope({}, code, "said"))
        assert isinstance(found, ApiError)
        assert (found.code, found.op) == (code, op.name)
        verdict = classify(found, op)
        assert (verdict.kind, verdict.reason) == (kind, f"bybit.{code}")
        assert str(found).startswith(f"bybit {code}: ")


def test_every_listed_code_has_a_meaning_for_people() -> None:
    """No error says only a number."""
    assert all(len(code.text) > 8 for code in CODES.values())


def test_only_codes_about_keys_and_signatures_hide_what_bybit_said() -> None:
    """Those texts may repeat the string that was signed, with the API key in it."""
    assert {code for code, row in CODES.items() if row.secret} == {10003, 10004, 10005, 10007, 10010, 33004, -2015}


def test_a_recorded_signature_error_shows_nothing_of_what_was_signed(envelope: Envelope) -> None:
    """Bybit echoes the whole string to sign; not a part of it survives."""
    said = "error sign! origin_string[1701783394711XXXXXXXXXXXXXXXXXX15000category=linear]"
    for code in (10004, 99999):  # also under a code that is not known to echo
        text = str(error(READ, 200, envelope({}, code, said)))
        assert "origin" not in text
        assert "1701783394711" not in text
        assert "XXXX" not in text


def test_what_bybit_says_is_short_plain_and_without_anything_like_a_key() -> None:
    """An error text can be logged and shown in a terminal as it is."""
    assert scrub("params error: symbol invalid") == "params error: symbol invalid"
    assert scrub("key AbCdEfGhIjKlMnOpQr is bad") == "key *** is bad"
    assert scrub("a\nb\x1b[31m\tc") == "a b[31m c"
    assert len(scrub("word " * 1000)) <= 200
    assert scrub(None) == ""


def test_a_parameter_error_says_what_to_check(envelope: Envelope) -> None:
    """The most common mistake is a symbol of another category."""
    found = error(READ, 200, envelope({}, 10001, "params error: symbol invalid"))
    assert "check the symbol and the category (params error: symbol invalid)" in str(found)


# -- the limit per endpoint ---------------------------------------------------------------------------------------


def test_a_limit_is_waited_out_on_the_servers_own_clock(envelope: Envelope) -> None:
    """The reset time is compared with the reply's time, so a clock of ours that is wrong changes nothing."""
    headers = {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(NOW + 730)}
    verdict = classify(error(READ, 200, envelope({}, 10006, "Too many visits", NOW), headers), READ)
    assert verdict.retry_after == pytest.approx(0.73)
    assert verdict.scope == "op"


@pytest.mark.parametrize(
    ("reset", "wait"), [(None, 1.0), ("soon", 1.0), (str(NOW - 5000), 0.0), (str(NOW + 10**12), 3600)]
)
def test_a_reset_time_that_is_missing_past_or_absurd_is_survived(
    reset: str | None, wait: float, envelope: Envelope
) -> None:
    """Missing: the window of one second. Past: no wait. Far: an hour."""
    headers = {} if reset is None else {"X-Bapi-Limit-Reset-Timestamp": reset}
    found = error(READ, 200, envelope({}, 10006, "Too many visits!", NOW), headers)
    assert classify(found, READ).retry_after == wait


def test_limits_are_reported_on_success_and_on_refusal(envelope: Envelope) -> None:
    """Limiters learn from every reply, not only from the one that came too late."""
    headers = CIMultiDict({"x-bapi-limit": "50", "X-Bapi-Limit-Status": "47", "X-Bapi-Limit-Reset-Timestamp": str(NOW)})
    attempt = Attempt()
    read(Reply(200, headers, envelope({"list": []}, time=NOW)), READ, attempt, Rules())
    assert attempt.limits is not None
    assert (attempt.limits.limit, attempt.limits.remaining, attempt.limits.reset_in) == (50, 47, 0)
    attempt = Attempt()
    with pytest.raises(ApiError):
        read(Reply(200, headers, envelope({}, 10006, time=NOW)), READ, attempt, Rules())
    assert attempt.limits is not None


@pytest.mark.parametrize("limit", ["", "x", "-5", "1.5", "0", "9" * 30, "１０"])
def test_garbled_limit_headers_report_nothing(limit: str) -> None:
    """A limiter must not be steered by noise."""
    assert hints.limits(CIMultiDict({"X-Bapi-Limit": limit, "X-Bapi-Limit-Status": "5"}), NOW) is None


# -- Retry-After ----------------------------------------------------------------------------------------------

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        ("2", "", 2.0), (" 7 ", "", 7.0), ("0", "", 0.0), ("99999999", "", 3600.0), ("-3", "", None), ("1.5", "", None),
        ("soon", "", None), ("", "", None), ("9" * 500, "", None), ("NaN", "", None),
        ("Tue, 14 Nov 2023 22:13:25 GMT", DATE, 5.0), ("Tue, 14 Nov 2023 22:13:20 GMT", DATE, None),
        ("Tue, 14 Nov 2000 22:13:20 GMT", DATE, None), ("Tue, 14 Nov 2023 22:13:25 GMT", "", None),
        ("Tue, 14 Nov 2023 22:13:25", DATE, None), ("Tue, 99 Nov 2023 99:99:99 GMT", DATE, None),
    ],
)  # fmt: skip
def test_retry_after_is_obeyed_if_it_makes_sense(text: str, date: str, seconds: float | None) -> None:
    """A number of seconds or a date against the reply's own date; garbage and the past count as nothing."""
    assert hints.retry_after(CIMultiDict({"Retry-After": text, "Date": date})) == seconds


# -- HTTP status ----------------------------------------------------------------------------------------------

HTML = b"<html><body>Bad gateway</body></html>"
STATUSES: list[tuple[int, Kind, Kind]] = [
    (500, U, U), (502, U, U), (503, U, U), (504, U, U), (301, R, U), (307, R, U), (204, U, U), (201, U, U),
    (400, R, R), (401, R, R), (404, R, R), (405, R, R), (429, T, U),
]  # fmt: skip


@pytest.mark.parametrize(("status", "as_read", "as_write"), STATUSES)
@pytest.mark.parametrize("body", [b"", HTML, b'{"retCode":0,"retMsg":"OK","result":{},"time":1}'])
def test_a_status_means_what_the_table_says(status: int, as_read: Kind, as_write: Kind, body: bytes) -> None:
    """With no body, with a gateway's page, and with an envelope that claims success."""
    for op, kind in ((READ, as_read), (WRITE, as_write)):
        assert classify(error(op, status, body), op).kind is kind


def test_a_code_in_the_body_says_more_than_a_status(envelope: Envelope) -> None:
    """401 and 404 come with Bybit's own code, or with nothing."""
    assert classify(error(READ, 401, envelope({}, 10003)), READ).reason == "bybit.10003"
    assert classify(error(READ, 404, envelope({}, 10017)), READ).reason == "bybit.10017"
    assert classify(error(READ, 401), READ).reason == "http_401"


def test_overload_waits_as_long_as_the_server_asks(envelope: Envelope) -> None:
    """As a status and as a code."""
    assert classify(error(READ, 429, HTML, {"Retry-After": "7"}), READ).retry_after == 7
    assert classify(error(READ, 503, HTML, {"Retry-After": "7"}), READ).retry_after == 7
    assert classify(error(READ, 200, envelope({}, 429), {"Retry-After": "7"}), READ).retry_after == 7
    assert classify(error(READ, 429), READ).retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        b"access too frequent", b"<html><p>Access Too Frequent!</p></html>",
        b'{"retCode":403,"retMsg":"access too frequent","result":{},"time":1}',
        b"", b"<html role='region'>403 Forbidden</html>", b'{"retCode":10006,"retMsg":"x","result":{},"time":1}',
    ],
)  # fmt: skip
def test_403_silences_the_whole_address_for_ten_minutes(body: bytes) -> None:
    """By its words, and where it has none that say otherwise: sending on prolongs a ban."""
    verdict = classify(error(READ, 403, body), READ)
    assert (verdict.kind, verdict.retry_after, verdict.scope) == (T, 600.0, "ip")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"The service is not available in your region"}', b'{"message":"country blocked"}',
        b"<html>CloudFront is configured to block access from your country.</html>",
        b'{"retCode":10024,"retMsg":"compliance","result":{},"time":1}',
    ],
)  # fmt: skip
def test_403_for_a_country_is_final(body: bytes) -> None:
    """Waiting changes nothing there."""
    verdict = classify(error(READ, 403, body), READ)
    assert (verdict.kind, verdict.retry_after) == (R, None)


def test_the_words_and_the_length_of_a_ban_are_settings() -> None:
    """Bybit's body was never recorded, so a user must be able to correct us."""
    verdict = classify(error(READ, 403, b"slow down in your country", None, Rules("slow down", 5.0)), READ)
    assert (verdict.kind, verdict.retry_after) == (T, 5.0)


# -- anything else ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"0", b'""', b"{}", HTML, b"  <!doctype html>", b"not json", b"\xff\xfe",
        b'{"retCode":0,"retMsg":"OK","result":{},"time":1', b'{"retCode":0,"retMsg":"OK","result":{},"time":1}x',
        b'{"retCode":"0","result":{},"time":1}', b'{"retCode":0.0,"result":{},"time":1}', b'{"result":{},"time":1}',
        b'{"retCode":false,"result":{},"time":1}', b'{"retCode":null,"result":{},"time":1}',
        b'{"retCode":0,"result":null,"time":1}', b'{"retCode":0,"result":[],"time":1}', b'{"retCode":0,"time":1}',
        b'{"retCode":0,"result":{}}', b'{"retCode":0,"result":{},"time":"1"}', b'{"retCode":0,"result":{},"time":NaN}',
        b'{"retCode":0,"result":{},"time":1e999}', b'{"retCode":0,"result":{},"time":-1}',
        b'{"retCode":0,"result":{"a":"\xff"},"time":1}', b'{"retCode":99999999999999999999,"result":{},"time":1}',
        b'{"retCode":10001,"retCode":0,"result":{},"time":1}', b'{"retCode":0,"result":{"a":Infinity},"time":1}',
        b'{"retCode":0,"result":' + b"[" * 10**6 + b"]" * 10**6 + b',"time":1}',
        b'{"retCode":0,"result":' + b'{"a":' * 10**5, b"\xef\xbb\xbf" + b'{"retCode":0,"result":{},"time":1}',
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
def test_what_is_no_envelope_is_never_a_value(body: bytes) -> None:
    """HTTP 200 proves nothing: it was sent, so it may have been executed, and the answer tells nothing."""
    for op in (READ, WRITE):
        found = error(op, 200, body)
        assert isinstance(found, TransportError)
        assert found.sent
        assert (found.verdict.kind, found.verdict.reason) == (U, "bad_payload")


def test_new_fields_and_a_refusal_without_a_result_are_understood() -> None:
    """Bybit adds fields without notice, and leaves out what a refusal does not need."""
    body = b'{"new":1e999,"retCode":0,"retMsg":"OK","result":{},"retExtInfo":null,"time":1,"more":[{}]}'
    assert read(Reply(200, CIMultiDict(), body), READ, Attempt(), Rules()).time == 1
    assert classify(error(READ, 200, b'{"retCode":10016,"result":null,"time":1}'), READ).reason == "bybit.10016"


def test_errors_that_are_not_of_an_exchange_are_read_as_everywhere() -> None:
    """A usage error is final; an OSError of unknown origin may have come after sending."""
    assert classify(UsageError("x"), READ).kind is R
    assert classify(ConnectionResetError(), READ).kind is U
    assert of_code(10006, READ).retry_after == 1.0


def test_a_code_that_bans_concerns_more_than_the_operation() -> None:
    """Scopes say whom a pause stops."""
    scopes: dict[int, Any] = {10018: ("ip", 600.0), 10008: ("account", None), 10003: ("account", None)}
    for code, (scope, wait) in scopes.items():
        verdict = of_code(code, READ)
        assert (verdict.scope, verdict.retry_after) == (scope, wait)
