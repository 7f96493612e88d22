"""Recorded replies become records with the same values, and damaged ones become errors, never values."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal, FloatOperation, Inexact, localcontext
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

from exchanges import ApiError, ExchangeError, Record, RiskLimit, TransportError, as_json
from exchanges.bybit import parse
from exchanges.bybit.answers import Rules, bad_payload, read
from exchanges.bybit.parse import Asked, Rows
from exchanges.bybit.wire import Malformed
from exchanges.transport.rest import Reply
from resilience import Kind, Op
from resilience.call import Attempt

OP = Op("op", idempotent=True)
PARSERS: dict[str, Callable[[Asked, msgspec.Raw, int], Any]] = {
    "/v5/market/tickers": parse.ticker,
    "/v5/market/orderbook": parse.book,
    "/v5/market/recent-trade": parse.trades,
    "/v5/market/kline": parse.candles,
    "/v5/market/instruments-info": parse.markets,
    "/v5/market/risk-limit": parse.risk_limits,
    "/v5/market/account-ratio": parse.ratios,
    "/v5/market/funding/history": parse.past_funding,
    "/v5/market/time": parse.server_time,
}


def records_of(path: str, query: dict[str, str], body: bytes) -> Any:
    """What the adapter makes of a reply with HTTP 200, as a record or a list of records."""
    envelope = read(Reply(200, CIMultiDict(), body), OP, Attempt(), Rules())
    try:
        found = PARSERS[path](Asked(query.get("category", ""), query.get("symbol")), envelope.result, envelope.time)
    except Malformed as exc:
        raise bad_payload(str(exc)) from None
    return found.records if isinstance(found, Rows) else found


# -- what each field must be, told independently of the adapter ----------------------------------------------------

TICKER = {
    "last": "lastPrice", "bid": "bid1Price", "ask": "ask1Price", "bid_volume": "bid1Size", "ask_volume": "ask1Size",
    "high": "highPrice24h", "low": "lowPrice24h", "mark": "markPrice", "index": "indexPrice",
}  # fmt: skip
RISK = {
    "limit": "riskLimitValue", "maintenance_margin": "maintenanceMargin", "initial_margin": "initialMargin",
    "max_leverage": "maxLeverage",
}  # fmt: skip


def expected(path: str, category: str, whole: dict[str, Any]) -> Any:
    """The JSON that must come out, from the reply as `json` reads it."""
    result = whole["result"]
    if path == "/v5/market/orderbook":
        sequence = result.get("seq", result["u"])
        return {
            "symbol": result["s"], "bids": result["b"], "asks": result["a"], "timestamp": result["ts"],
            "sequence": sequence, "raw": result,
        }  # fmt: skip
    rows = [{**_row(path, category, row, whole["time"]), "raw": row} for row in result["list"]]
    if path == "/v5/market/kline":
        rows.reverse()
    return rows[0] if path == "/v5/market/tickers" else rows


def _row(path: str, category: str, row: Any, time: int) -> dict[str, Any]:
    if path == "/v5/market/kline":
        names = ("timestamp", "open", "high", "low", "close", "volume", "turnover")
        return {**dict(zip(names, row, strict=True)), "timestamp": int(row[0])}
    if path == "/v5/market/tickers":
        base, quote = ("turnover24h", "volume24h") if category == "inverse" else ("volume24h", "turnover24h")
        volumes = {"base_volume": row[base], "quote_volume": row[quote]}
        found = {name: row.get(theirs) or None for name, theirs in TICKER.items()}
        return {"symbol": row["symbol"], **found, **volumes, "timestamp": time}
    if path == "/v5/market/recent-trade":
        return {
            "id": row["execId"], "symbol": row["symbol"], "price": row["price"], "amount": row["size"],
            "side": row["side"].lower(), "timestamp": int(row["time"]),
        }  # fmt: skip
    if path == "/v5/market/instruments-info":
        lot = row["lotSizeFilter"]
        return {
            "symbol": row["symbol"], "base": row["baseCoin"], "quote": row["quoteCoin"],
            "settle": row.get("settleCoin"), "category": category, "status": row["status"],
            "tick_size": row["priceFilter"]["tickSize"],
            "amount_step": lot["basePrecision"] if category == "spot" else lot["qtyStep"],
            "min_amount": lot["minOrderQty"], "max_amount": lot["maxOrderQty"],
        }  # fmt: skip
    if path == "/v5/market/risk-limit":
        return {"id": row["id"], "symbol": row["symbol"], **{name: row[theirs] for name, theirs in RISK.items()}}
    if path == "/v5/market/account-ratio":
        return {
            "symbol": row["symbol"], "buy_ratio": row["buyRatio"], "sell_ratio": row["sellRatio"],
            "timestamp": int(row["timestamp"]),
        }  # fmt: skip
    assert path == "/v5/market/funding/history"
    return {
        "symbol": row["symbol"], "funding_rate": row["fundingRate"], "next_funding_timestamp": None,
        "timestamp": int(row["fundingRateTimestamp"]),
    }  # fmt: skip


def test_a_recorded_reply_becomes_records_with_the_same_values(recording: Any) -> None:
    """All rows, the digits as received, and the exchange's own row beside them; a refusal stays one."""
    if recording.path not in PARSERS:
        pytest.skip("an operation that the adapter does not have")
    whole = json.loads(recording.body)
    if whole["retCode"] != 0:
        with pytest.raises(ApiError) as caught:
            records_of(recording.path, recording.query, recording.body)
        assert caught.value.code == whole["retCode"]
        return
    found = records_of(recording.path, recording.query, recording.body)
    if recording.path == "/v5/market/time":
        assert found == int(whole["result"]["timeNano"]) // 10**6
        return
    plain = as_json(found) if isinstance(found, Record) else [as_json(record) for record in found]
    wanted = expected(recording.path, recording.query.get("category", ""), whole)
    assert plain == wanted
    json.dumps(plain)


# -- the shapes ---------------------------------------------------------------------------------------------------

TICKER_BODY = {
    "retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": 1700000000000,
    "result": {"category": "linear", "list": [{
        "symbol": "BTCUSDT", "lastPrice": "64078.10", "bid1Price": "", "volume24h": "10.0", "turnover24h": "640781.0",
        "fundingRate": "-0.00000276", "nextFundingTime": "1782000000000", "unheardOf": {"a": [1]},
    }]},
}  # fmt: skip
FIELDS = {
    "/v5/market/tickers": (
        "symbol last bid ask bid_volume ask_volume high low base_volume quote_volume mark index timestamp"
    ),
    "/v5/market/orderbook": "symbol bids asks timestamp sequence",
    "/v5/market/recent-trade": "id symbol price amount side timestamp",
    "/v5/market/kline": "timestamp open high low close volume turnover",
    "/v5/market/instruments-info": (
        "symbol base quote settle category status tick_size amount_step min_amount max_amount"
    ),
    "/v5/market/risk-limit": "id symbol limit maintenance_margin initial_margin max_leverage",
    "/v5/market/account-ratio": "symbol buy_ratio sell_ratio timestamp",
}
SAMPLES: dict[str, Any] = {
    "/v5/market/tickers": TICKER_BODY["result"],
    "/v5/market/orderbook": {"s": "BTCUSDT", "b": [["1.50", "2"]], "a": [["1.60", "0.00000001"]], "ts": 5, "u": 7},
    "/v5/market/recent-trade": {"category": "", "list": [
        {"execId": "a-1", "symbol": "BTCUSDT", "price": "1", "size": "2", "side": "Buy", "time": "5"}]},
    "/v5/market/kline": {"category": "linear", "symbol": "BTCUSDT", "list": [
        ["120000", "1", "2", "0.5", "1.5", "10", "15"], ["60000", "1", "2", "0.5", "1.5", "10", "15", "a new field"]]},
    "/v5/market/instruments-info": {"category": "linear", "nextPageCursor": "", "list": [
        {"symbol": "BTCUSDT", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT", "settleCoin": "USDT",
         "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001", "maxOrderQty": "100"},
         "priceFilter": {"tickSize": "0.10"}}]},
    "/v5/market/risk-limit": {"category": "linear", "list": [
        {"id": 1, "symbol": "BTCUSDT", "riskLimitValue": "10", "maintenanceMargin": "0.5", "initialMargin": "1",
         "maxLeverage": "2.00"}]},
    "/v5/market/account-ratio": {"list": [
        {"symbol": "BTCUSDT", "buyRatio": "0.4", "sellRatio": "0.6", "timestamp": "5"}]},
    "/v5/market/funding/history": {"category": "linear", "list": [
        {"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": "5"}]},
}  # fmt: skip
QUERY = {"category": "linear", "symbol": "BTCUSDT"}


def body_of(result: Any) -> bytes:
    return json.dumps({**TICKER_BODY, "result": result}).encode()


@pytest.mark.parametrize("path", FIELDS)
def test_the_json_of_a_record_has_the_promised_fields_in_their_order(path: str) -> None:
    """Money is text, times are numbers, `raw` is there, and nothing else is."""
    found = records_of(path, QUERY, body_of(SAMPLES[path]))
    plain = as_json(found[0] if isinstance(found, list) else found)
    assert list(plain) == [*FIELDS[path].split(), "raw"]


def test_funding_rates_now_and_then_have_the_promised_fields() -> None:
    """The current one comes out of the ticker."""
    envelope = read(Reply(200, CIMultiDict(), body_of(TICKER_BODY["result"])), OP, Attempt(), Rules())
    now = parse.funding(Asked("linear", "BTCUSDT"), envelope.result, 1)
    assert list(as_json(now)) == ["symbol", "funding_rate", "next_funding_timestamp", "raw"]
    assert (as_json(now)["funding_rate"], now.next_funding_timestamp) == ("-0.00000276", 1782000000000)
    (then,) = records_of("/v5/market/funding/history", QUERY, body_of(SAMPLES["/v5/market/funding/history"]))
    assert (then.funding_rate, then.next_funding_timestamp, then.timestamp) == (Decimal("0.0001"), None, 5)


def test_a_contract_that_pays_no_funding_has_none() -> None:
    """Dated futures send an empty rate and a time of 0, which is no time."""
    result = {"list": [{"symbol": "BTCUSDT", "fundingRate": "", "nextFundingTime": "0"}]}
    envelope = read(Reply(200, CIMultiDict(), body_of(result)), OP, Attempt(), Rules())
    found = parse.funding(Asked("linear", "BTCUSDT"), envelope.result, 1)
    assert (found.funding_rate, found.next_funding_timestamp) == (None, None)


def test_records_are_frozen_and_show_themselves_without_their_raw_row() -> None:
    """A repr is for people, and a market's row has fifty fields."""
    found = records_of("/v5/market/tickers", QUERY, body_of(TICKER_BODY["result"]))
    with pytest.raises(AttributeError):
        found.last = Decimal(1)
    assert "unheardOf" not in repr(found)
    assert "last=Decimal('64078.10')" in repr(found)
    assert found.bid is None  # an empty text is no price
    assert found == records_of("/v5/market/tickers", QUERY, body_of(TICKER_BODY["result"]))


def test_inverse_volumes_are_named_for_the_coin_that_they_count() -> None:
    """Bybit counts inverse contracts in the quote coin and calls that the volume."""
    result = {**SAMPLES["/v5/market/tickers"], "category": "inverse"}
    found = records_of("/v5/market/tickers", {"category": "inverse", "symbol": "BTCUSDT"}, body_of(result))
    assert (found.base_volume, found.quote_volume) == (Decimal("640781.0"), Decimal("10.0"))


def test_a_ticker_is_found_among_others() -> None:
    """An answer with all symbols holds the one that was asked for."""
    rows = [{"symbol": "AUSDT", "lastPrice": "1"}, {"symbol": "BTCUSDT", "lastPrice": "2"}]
    assert records_of("/v5/market/tickers", QUERY, body_of({"list": rows})).last == 2


def test_digits_survive_whatever_the_decimal_context_is() -> None:
    """An application's own precision changes no digit, because a conversion is no arithmetic."""
    with localcontext() as context:
        context.prec = 2
        context.traps[Inexact] = context.traps[FloatOperation] = True
        found = records_of("/v5/market/orderbook", QUERY, body_of(SAMPLES["/v5/market/orderbook"]))
        assert as_json(found)["asks"] == [["1.60", "0.00000001"]]


def test_raw_is_decoded_only_when_asked_and_survives_numbers_beyond_a_float() -> None:
    """A field that nobody reads may hold anything that is JSON."""
    row = '{"symbol":"BTCUSDT","big":1e999,"long":' + "9" * 5000 + "}"
    body = body_of({"list": ["HERE"]}).replace(b'"HERE"', row.encode())
    found = records_of("/v5/market/tickers", QUERY, body)
    assert found.row == row.encode()
    assert found.raw["big"] == "1e999"
    json.dumps(as_json(found))


def test_a_row_that_no_decoder_takes_is_our_own_error() -> None:
    """Brackets nested beyond the stack pass unread, until somebody asks for the raw row."""
    found = RiskLimit(
        row=b"[" * 10**5 + b"]" * 10**5, id=1, symbol="X", limit=Decimal(1), maintenance_margin=None,
        initial_margin=None, max_leverage=None,
    )  # fmt: skip
    with pytest.raises(ExchangeError, match="cannot be decoded"):
        _ = found.raw


# -- damage -------------------------------------------------------------------------------------------------------


NO_NUMBERS = [
    "NaN", "Infinity", "-inf", "1_000", " 1", "1 ", "0x10", "１", "1,5", ".", "1.", "+1", "-", "1e", "1e999", "9" * 41,
    "true", "null",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("path", SAMPLES)
def test_a_number_that_is_none_is_never_a_value(path: str, text: str) -> None:
    """Python's own Decimal takes most of these."""
    plain = json.dumps(SAMPLES[path])
    for number in ('"64078.10"', '"1.50"', '"1"', '"0.001"', '"10"', '"0.4"', '"0.0001"'):
        if number in plain:
            with pytest.raises(TransportError, match="no valid V5 reply") as caught:
                records_of(path, QUERY, body_of(json.loads(plain.replace(number, json.dumps(text), 1))))
            assert caught.value.verdict.kind is Kind.UNKNOWN
            return
    raise AssertionError("the sample holds no number")


@pytest.mark.parametrize("path", SAMPLES)
def test_an_answer_about_another_symbol_or_category_is_no_answer(path: str) -> None:
    """A gateway that mixes up two answers must not put one price under another name."""
    with pytest.raises(TransportError, match="another symbol"):
        records_of(path, {**QUERY, "symbol": "ETHUSDT"}, body_of(SAMPLES[path]))
    if SAMPLES[path].get("category"):
        with pytest.raises(TransportError, match="another category"):
            records_of(path, {**QUERY, "category": "inverse"}, body_of(SAMPLES[path]))


def _damage(value: Any, dice: random.Random) -> Any:
    """The same JSON value with one part of it replaced or left out, somewhere."""
    wrong: tuple[Any, ...] = (None, 1.5, -1, True, [], {}, [[]], "", "NaN", 2**70, {"list": []})
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        if dice.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _damage(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        place = dice.randrange(len(value))
        if dice.random() < 0.2:
            return value[:place] + value[place + 1 :]
        return [*value[:place], _damage(value[place], dice), *value[place + 1 :]]
    return dice.choice(wrong)


def _sound(found: Any) -> None:
    """Whatever came out is what the annotations say: finite numbers, whole times, plain text."""
    for record in found if isinstance(found, list) else [found]:
        if isinstance(record, int):
            continue
        for name in record.__struct_fields__:
            value = getattr(record, name)
            flat = [x for level in value for x in level] if isinstance(value, tuple) else [value]
            for item in flat:
                assert item is None or isinstance(item, (Decimal, int, str, bytes)), name
                assert not isinstance(item, (bool, float))
                assert not isinstance(item, Decimal) or item.is_finite()
        json.dumps(as_json(record))


@pytest.mark.parametrize("path", SAMPLES)
def test_damaged_replies_give_sound_records_or_our_own_error(path: str) -> None:
    """Four hundred structural damages and as many flipped, cut or doubled bytes an operation; no foreign exception."""
    dice = random.Random(f"damage {path}")
    whole = {**TICKER_BODY, "result": SAMPLES[path]}
    body = json.dumps(whole).encode()
    refused = 0
    for _ in range(400):
        cases = [json.dumps(_damage(whole, dice)).encode()]
        place, width = dice.randrange(len(body)), dice.randrange(1, 12)
        cases.append(body[:place] + bytes([dice.randrange(256)]) + body[place + 1 :])
        cases.append(body[:place] + body[place + width :])
        cases.append(body[:place] + body[place : place + width] * 2 + body[place + width :])
        for case in cases:
            try:
                _sound(records_of(path, QUERY, case))
            except ExchangeError:
                refused += 1
    assert refused > 400  # the damage does damage


@pytest.mark.parametrize("path", SAMPLES)
def test_a_reply_that_is_cut_anywhere_is_no_reply(path: str) -> None:
    """At every single byte."""
    body = body_of(SAMPLES[path])
    for end in range(len(body)):
        with pytest.raises(TransportError):
            records_of(path, QUERY, body[:end])
