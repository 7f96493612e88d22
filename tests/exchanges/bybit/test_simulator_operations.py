"""The simulated market answers Bybit's public endpoints in the recorded shapes, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from exchanges.bybit.simulator import Simulator

RECORDED = Path(__file__).parents[2] / "data" / "bybit" / "rest"
HOUR = 3_600_000
Get = Callable[[str], Awaitable[Any]]


def run(scenario: Callable[[Get], Awaitable[None]], **options: Any) -> None:
    """Run a scenario with a function that fetches a target as it stands and gives the decoded reply."""

    async def main() -> None:
        async with Simulator(**options) as sim, aiohttp.ClientSession() as session:

            async def get(target: str) -> Any:
                async with session.get(URL(sim.url + "/v5/market/" + target, encoded=True)) as response:
                    assert response.status == 200
                    reply = json.loads(await response.read())
                    assert set(reply) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
                    assert type(reply["time"]) is int
                    return reply

            await scenario(get)

    asyncio.run(main())


def ask(*targets: str) -> list[Any]:
    """The replies to some targets, one after another."""
    replies: list[Any] = []

    async def scenario(get: Get) -> None:
        replies.extend([await get(target) for target in targets])

    run(scenario)
    return replies


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_bytes())


def shape(value: Any) -> Any:
    """The names and types in a row, without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return type(value).__name__


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("tickers?category=linear&symbol=BTCUSDT", "ticker/linear-BTCUSDT-20260620.json"),
        ("instruments-info?category=linear&limit=3", "markets/linear-page1-500rows-20260715.json"),
        ("instruments-info?category=inverse", "markets/inverse-26rows-20260715.json"),
        ("risk-limit?category=linear", "risk_limits/linear-page1-407rows-20260808.json"),
    ],
)
def test_rows_have_the_recorded_fields_and_one_that_is_new(target: str, file: str) -> None:
    """A simulated row has every field of the recorded one, of the same type, and at most one that nobody knows."""
    ours, theirs = ask(target)[0], recorded(file)
    extra = {"simulatedField": "str"}
    assert set(ours["result"]) == set(theirs["result"])
    row = shape(ours["result"]["list"][0])
    assert row in (shape(theirs["result"]["list"][0]), shape(theirs["result"]["list"][0]) | extra)


def test_candles_and_time_have_the_recorded_shape() -> None:
    """Candles are rows of seven strings with plain digits; the time of day comes as two strings."""
    candles, time = ask("kline?category=linear&symbol=BTCUSDT&interval=1&limit=5", "time")
    theirs = recorded("ohlcv/linear-BTCUSDT-1m-20230624.json")
    assert set(candles["result"]) == set(theirs["result"])
    assert [list(map(type, row)) for row in candles["result"]["list"]] == [[str] * 7] * 5
    assert shape(time["result"]) == shape(recorded("time/server-time-20231002.json")["result"])
    assert abs(int(time["result"]["timeNano"]) // 1_000_000 - time["time"]) < 1000


def test_unrecorded_categories_have_the_documented_fields() -> None:
    """Spot, inverse and option tickers and the other operations have the fields that Bybit documents."""
    spot, inverse, option, book, trades, ratio, interest, funding = ask(
        "tickers?category=spot&symbol=BTCUSDT",
        "tickers?category=inverse&symbol=BTCUSD",
        "tickers?category=option&baseCoin=BTC",
        "orderbook?category=linear&symbol=BTCUSDT&limit=5",
        "recent-trade?category=spot&symbol=BTCUSDT&limit=3",
        "account-ratio?category=linear&symbol=BTCUSDT&period=1h&limit=2",
        "open-interest?category=linear&symbol=BTCUSDT&intervalTime=1h&limit=2",
        "funding/history?category=linear&symbol=BTCUSDT&limit=2",
    )
    assert {"usdIndexPrice", "lastPrice", "turnover24h"} <= set(spot["result"]["list"][0])
    assert "fundingRate" not in spot["result"]["list"][0]
    assert {"fundingRate", "nextFundingTime", "openInterest"} <= set(inverse["result"]["list"][0])
    assert {"markIv", "delta", "underlyingPrice"} <= set(option["result"]["list"][0])
    assert all(row["symbol"].startswith("BTC-") for row in option["result"]["list"])
    assert set(book["result"]) == {"s", "b", "a", "ts", "u", "seq", "cts"}
    assert shape(trades["result"]["list"][0]) == {
        "execId": "str",
        "symbol": "str",
        "price": "str",
        "size": "str",
        "side": "str",
        "time": "str",
        "isBlockTrade": "bool",
        "isRPITrade": "bool",
        "seq": "str",
    }
    assert set(ratio["result"]["list"][0]) == {"symbol", "buyRatio", "sellRatio", "timestamp"}
    assert set(interest["result"]) == {"symbol", "category", "list", "nextPageCursor"}
    assert set(funding["result"]["list"][0]) == {"symbol", "fundingRate", "fundingRateTimestamp"}


def test_all_linear_markets_need_a_second_page() -> None:
    """620 linear symbols trade; a default page holds 500, and following the cursor finds the rest, each once."""

    async def scenario(get: Get) -> None:
        first = (await get("instruments-info?category=linear"))["result"]
        assert len(first["list"]) == 500
        last = first["list"][-1]["symbol"]
        assert first["nextPageCursor"] == f"first%3D{first['list'][0]['symbol']}%26last%3D{last}"
        # The cursor as it is, encoded once more, and decoded and encoded by a client that knows better.
        for sent in (first["nextPageCursor"], quote(first["nextPageCursor"], safe="")):
            second = (await get(f"instruments-info?category=linear&cursor={sent}"))["result"]
            assert second["nextPageCursor"] == ""
            symbols = [row["symbol"] for row in first["list"] + second["list"]]
            assert len(symbols) == len(set(symbols)) == 620
            assert symbols == sorted(symbols)

    run(scenario)


def test_risk_limits_come_fifteen_symbols_a_page() -> None:
    """All pages together hold every linear symbol that trades, and no symbol is torn apart between two pages."""

    async def scenario(get: Get) -> None:
        seen: list[str] = []
        cursor, pages = "", 0
        while pages == 0 or cursor:
            result = (await get(f"risk-limit?category=linear&cursor={quote(cursor, safe='')}"))["result"]
            symbols = list(dict.fromkeys(row["symbol"] for row in result["list"]))
            assert len(symbols) <= 15
            seen += symbols
            cursor, pages = result["nextPageCursor"], pages + 1
        listed = (await get("instruments-info?category=linear&limit=1000"))["result"]["list"]
        assert pages == 42
        assert seen == [row["symbol"] for row in listed]

    run(scenario)


def test_risk_tiers_join_without_a_jump() -> None:
    """The maintenance margin of a position at a tier's limit is the same by that tier and by the next."""
    rows = ask("risk-limit?category=linear&symbol=BTCUSDT")[0]["result"]["list"]
    assert [row["isLowestRisk"] for row in rows] == [1] + [0] * (len(rows) - 1)
    for low, high in pairwise(rows):
        size = Decimal(low["riskLimitValue"])
        margins = [size * Decimal(row["maintenanceMargin"]) - Decimal(row["mmDeduction"] or 0) for row in (low, high)]
        assert margins[0] == margins[1]
        assert Decimal(low["maxLeverage"]) > Decimal(high["maxLeverage"])


def test_ratio_pages_end_with_an_empty_cursor() -> None:
    """The cursor names the time of the oldest row sent, and leads through a window without gap or repeat."""

    async def scenario(get: Get) -> None:
        now = (await get("time"))["time"]
        end = now // HOUR * HOUR
        window = f"account-ratio?category=linear&symbol=BTCUSDT&period=1h&startTime={end - 9 * HOUR}&endTime={end}"
        times: list[int] = []
        cursor, pages = "", 0
        while pages == 0 or cursor:
            result = (await get(f"{window}&limit=4&cursor={cursor}"))["result"]
            times += [int(row["timestamp"]) for row in result["list"]]
            for row in result["list"]:
                assert Decimal(row["buyRatio"]) + Decimal(row["sellRatio"]) == 1
            cursor, pages = result["nextPageCursor"], pages + 1
            assert cursor in ("", f"lastid%3D0%26lasttime%3D{times[-1] // 1000}")
        assert pages == 3
        assert times == [end - hour * HOUR for hour in range(10)]

    run(scenario)


def test_candles_run_newest_first_and_join() -> None:
    """Candles follow one another without a gap, each opens where the one before closed, and the first is open."""

    async def scenario(get: Get) -> None:
        reply = await get("kline?category=linear&symbol=ETHUSDT&interval=5")
        rows = reply["result"]["list"]
        assert len(rows) == 200
        starts = [int(row[0]) for row in rows]
        assert starts[0] <= reply["time"] < starts[0] + 300_000
        assert all(newer - older == 300_000 for newer, older in pairwise(starts))
        for newer, older in pairwise(rows):
            assert newer[1] == older[4]
        for _, opened, high, low, close, volume, turnover in rows:
            assert Decimal(low) <= min(Decimal(opened), Decimal(close))
            assert Decimal(high) >= max(Decimal(opened), Decimal(close))
            assert Decimal(volume) >= 0
            assert Decimal(turnover) >= 0

    run(scenario)


@pytest.mark.parametrize("interval", ["1", "3", "60", "720", "D", "W", "M"])
def test_candle_windows(interval: str) -> None:
    """With start alone candles run forward from it, with both ends the newest within come; history stays as it is."""

    async def scenario(get: Get) -> None:
        head = f"kline?symbol=BTCUSDT&interval={interval}"
        rows = (await get(f"{head}&limit=10"))["result"]["list"][1:]
        start, end = rows[-1][0], rows[0][0]
        assert (await get(f"{head}&start={start}&end={end}"))["result"]["list"] == rows
        assert (await get(f"{head}&start={start}&limit=3"))["result"]["list"] == rows[-3:]
        assert (await get(f"{head}&start={start}&end={end}&limit=3"))["result"]["list"] == rows[:3]
        assert (await get(f"{head}&end={end}&limit=2"))["result"]["list"] == rows[:2]
        assert (await get(f"{head}&start={int(start) + 1}&end={end}"))["result"]["list"] == rows[:-1]

    run(scenario)


def test_times_beyond_the_calendar_are_harmless() -> None:
    """A window in the far future or before the launch is empty, not an error of the server."""
    late, early = ask(
        "kline?symbol=BTCUSDT&interval=M&start=253402300000000",
        "kline?symbol=BTCUSDT&interval=M&end=1000",
    )
    assert late["result"]["list"] == early["result"]["list"] == []


def test_books_are_sorted_and_agree_with_the_ticker() -> None:
    """Bids fall, asks rise, they do not cross, and the depth asked for is given."""

    async def scenario(get: Get) -> None:
        for category, symbol, default in (("spot", "BTCUSDT", 1), ("linear", "BTCUSDT", 25), ("inverse", "ETHUSD", 25)):
            head = f"orderbook?category={category}&symbol={symbol}"
            assert len((await get(head))["result"]["a"]) == default
            book = (await get(f"{head}&limit=200"))["result"]
            bids = [Decimal(price) for price, _ in book["b"]]
            asks = [Decimal(price) for price, _ in book["a"]]
            assert len(bids) == len(asks) == 200
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)
            assert bids[0] < asks[0]
            assert all(Decimal(size) > 0 for _, size in book["b"] + book["a"])
            later = (await get(f"{head}&limit=1"))["result"]
            assert later["u"] >= book["u"]

    run(scenario)


def test_trades_are_newest_first_and_unique() -> None:
    """Trades have rising numbers and times; the default counts are Bybit's, and spot never gives more than 60."""

    async def scenario(get: Get) -> None:
        for target, count in (
            ("recent-trade?category=linear&symbol=BTCUSDT", 500),
            ("recent-trade?category=spot&symbol=BTCUSDT", 60),
            ("recent-trade?category=spot&symbol=BTCUSDT&limit=1000", 60),
            ("recent-trade?category=option&limit=20", 20),
        ):
            rows = (await get(target))["result"]["list"]
            times = [int(row["time"]) for row in rows]
            assert len(rows) == len({row["execId"] for row in rows}) == count
            assert times == sorted(times, reverse=True)
            assert {row["side"] for row in rows} == {"Buy", "Sell"}
        assert (await get("recent-trade?category=linear&symbol=BTCUSDT&limit=1"))["result"]["category"] == ""

    run(scenario)


def test_funding_history_and_ticker_share_the_schedule() -> None:
    """Rates lie eight hours apart, and the next one that the ticker announces follows the last one paid."""

    async def scenario(get: Get) -> None:
        rows = (await get("funding/history?category=linear&symbol=BTCUSDT&limit=3"))["result"]["list"]
        ticker = (await get("tickers?category=linear&symbol=BTCUSDT"))["result"]["list"][0]
        paid = [int(row["fundingRateTimestamp"]) for row in rows]
        assert [int(ticker["nextFundingTime"]) - at for at in paid] == [8 * HOUR, 16 * HOUR, 24 * HOUR]
        window = f"funding/history?category=linear&symbol=BTCUSDT&startTime={paid[2]}&endTime={paid[1]}"
        assert (await get(window))["result"]["list"] == rows[1:]

    run(scenario)


def test_the_market_moves() -> None:
    """Prices of the same symbol differ between two moments, and a seed gives other prices than another seed."""

    async def last(seed: int) -> set[str]:
        async with Simulator(seed=seed) as sim, aiohttp.ClientSession() as session:
            target = sim.url + "/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=1"
            found = set()
            for _ in range(40):
                async with session.get(target) as reply:
                    found.add(json.loads(await reply.read())["result"]["b"][0][0])
                if len(found) > 1:
                    break
                await asyncio.sleep(0.05)
            return found

    one, other = asyncio.run(last(1)), asyncio.run(last(2))
    assert len(one) > 1
    assert not one & other


def test_pre_launch_markets_are_listed_on_request_only() -> None:
    """Without a status the markets that trade are listed; PreLaunch ones come when they are asked for."""
    trading, coming, based = ask(
        "instruments-info?category=linear&limit=1000",
        "instruments-info?category=linear&status=PreLaunch",
        "instruments-info?category=option&baseCoin=ETH",
    )
    assert {row["status"] for row in trading["result"]["list"]} == {"Trading"}
    assert [row["status"] for row in coming["result"]["list"]] == ["PreLaunch"]
    assert {row["baseCoin"] for row in based["result"]["list"]} == {"ETH"}


def test_dated_futures_pay_no_funding() -> None:
    """A future that is delivered has no funding rate, an empty history of it, and a price above the perpetual's."""

    async def scenario(get: Get) -> None:
        listed = (await get("instruments-info?category=linear&baseCoin=BTC"))["result"]["list"]
        future = next(row for row in listed if row["contractType"] == "LinearFutures")
        assert int(future["deliveryTime"]) > (await get("time"))["time"]
        ticker = (await get(f"tickers?category=linear&symbol={future['symbol']}"))["result"]["list"][0]
        perpetual = (await get("tickers?category=linear&symbol=BTCUSDT"))["result"]["list"][0]
        assert (ticker["fundingRate"], ticker["nextFundingTime"]) == ("", "0")
        assert Decimal(ticker["lastPrice"]) > Decimal(perpetual["lastPrice"])
        history = await get(f"funding/history?category=linear&symbol={future['symbol']}")
        assert (history["retCode"], history["result"]["list"]) == (0, [])

    run(scenario)


def test_options_have_books_and_trades_of_their_own() -> None:
    """Trades can be asked for by side of the option, a book has 25 levels at most, calls fall with the strike."""

    async def scenario(get: Get) -> None:
        puts = (await get("recent-trade?category=option&baseCoin=ETH&optionType=Put&limit=9"))["result"]["list"]
        assert len(puts) == 9
        assert {(row["symbol"][:4], row["symbol"][-7:]) for row in puts} == {("ETH-", "-P-USDT")}
        assert (await get("recent-trade?category=option&baseCoin=XXX"))["retCode"] == 10001
        tickers = (await get("tickers?category=option&baseCoin=BTC"))["result"]["list"]
        expiry = tickers[0]["symbol"].split("-")[1]
        calls = [row for row in tickers if f"-{expiry}-" in row["symbol"] and "-C-" in row["symbol"]]
        prices = [Decimal(row["lastPrice"]) for row in sorted(calls, key=lambda row: int(row["symbol"].split("-")[2]))]
        assert len(prices) == 3
        assert prices == sorted(prices, reverse=True)
        book = (await get(f"orderbook?category=option&symbol={calls[0]['symbol']}&limit=25"))["result"]
        assert len(book["a"]) == 25

    run(scenario)


def test_spot_markets_never_page() -> None:
    """Spot has no cursor in its reply and ignores the limit, as Bybit does."""
    result = ask("instruments-info?category=spot&limit=2")[0]["result"]
    assert set(result) == {"category", "list"}
    assert len(result["list"]) > 2


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("tickers", "category"),
        ("tickers?category=futures", "category"),
        ("tickers?category=linear&symbol=NOTAREALUSDT", "symbol"),
        ("tickers?category=option", "symbol"),
        ("orderbook?category=linear", "symbol"),
        ("orderbook?category=linear&symbol=BTCUSDT&limit=1001", "limit"),
        ("orderbook?category=option&symbol=BTCUSDT", "symbol"),
        ("recent-trade?category=linear&symbol=BTCUSDT&limit=0", "limit"),
        ("recent-trade?category=linear&symbol=BTCUSDT&limit=ten", "limit"),
        ("kline?category=option&symbol=BTCUSDT&interval=1", "category"),
        ("kline?symbol=BTCUSDT", "interval"),
        ("kline?symbol=BTCUSDT&interval=2", "interval"),
        ("kline?symbol=BTCUSDT&interval=1&start=-5", "start"),
        ("instruments-info?category=linear&limit=1001", "limit"),
        ("instruments-info?category=linear&cursor=nonsense", "cursor"),
        ("risk-limit?category=spot", "category"),
        ("account-ratio?category=linear&symbol=BTCUSDT&period=2h", "period"),
        ("account-ratio?category=linear&symbol=BTCUSDT&period=1h&limit=501", "limit"),
        ("account-ratio?category=linear&symbol=BTCUSDT&period=1h&cursor=lasttime%253Dsoon", "cursor"),
        ("open-interest?category=linear&symbol=BTCUSDT&intervalTime=7min", "intervalTime"),
        ("funding/history?category=linear&symbol=BTCUSDT&limit=201", "limit"),
    ],
)
def test_bad_parameters_are_refused_with_http_200(target: str, name: str) -> None:
    """A wrong parameter is retCode 10001 with an empty result and HTTP 200, in the words of the recorded refusals."""
    reply = ask(target)[0]
    assert (reply["retCode"], reply["retMsg"], reply["result"]) == (10001, f"params error: {name} invalid", {})
    theirs = recorded("errors/10001-symbol-invalid-20260726.json")
    assert shape(reply) == shape(theirs)


def test_windows_that_make_no_sense_are_refused() -> None:
    """A funding start without an end, and a start later than its end, are retCode 10001."""
    replies = ask(
        "funding/history?category=linear&symbol=BTCUSDT&startTime=1700000000000",
        "kline?symbol=BTCUSDT&interval=1&start=1700000000001&end=1700000000000",
    )
    assert [reply["retCode"] for reply in replies] == [10001, 10001]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v5/market/nothing"), ("POST", "/v5/order/create"), ("GET", "/")]
)
def test_unknown_routes_are_http_404(method: str, path: str) -> None:
    """An unknown path, or a known one with another method, is HTTP 404 with retCode 10017."""

    async def main() -> tuple[int, Any]:
        async with (
            Simulator() as sim,
            aiohttp.ClientSession() as session,
            session.request(method, sim.url + path, json={} if method == "POST" else None) as response,
        ):
            return response.status, json.loads(await response.read())

    status, reply = asyncio.run(main())
    assert (status, reply["retCode"]) == (404, 10017)
