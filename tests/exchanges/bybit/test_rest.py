"""The adapter over real sockets: what it asks, which pages it follows, what it repeats, and what it never takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from exchanges import ApiError, TransportError, UsageError
from exchanges.bybit.codes import classify
from exchanges.bybit.ops import OPERATIONS
from exchanges.bybit.rest import Bybit
from exchanges.bybit.simulator import Simulator
from exchanges.transport.rest import Rest
from resilience import Deadline, Kind, Pipeline, Pool, Retry, TimedOut
from resilience.testing import Recorder

NO_ROWS = {"category": "linear", "list": []}


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


@asynccontextmanager
async def adapter(
    url: str, *policies: Any, attempts: int = 3, recorder: Recorder | None = None, **options: Any
) -> AsyncIterator[Bybit]:
    """An adapter whose every operation goes through one pipeline that repeats at once."""
    observers = () if recorder is None else (recorder,)
    stack = (*policies, Retry(attempts=attempts, wait=0), Pool(Rest.open, name="rest"))
    async with Pipeline(*stack, classify=classify, observers=observers) as pipeline:
        yield Bybit(dict.fromkeys(OPERATIONS, pipeline), base_url=url, **options)


def plan(fault: str, *nth: int, **more: Any) -> dict[str, Any]:
    return {"version": 1, "rules": [{"fault": fault, "nth": list(nth), **more}]}


# -- what is asked ------------------------------------------------------------------------------------------------

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
CALLS: list[tuple[str, Callable[[Bybit], Awaitable[Any]], str, dict[str, str]]] = [
    ("ticker", lambda b: b.fetch_ticker("BTCUSDT"), "tickers", LINEAR),
    ("orderbook", lambda b: b.fetch_order_book("BTCUSDT", 50), "orderbook", {**LINEAR, "limit": "50"}),
    ("trades", lambda b: b.fetch_trades("BTCUSDT", limit=60), "recent-trade", {**LINEAR, "limit": "60"}),
    ("ohlcv", lambda b: b.fetch_ohlcv("BTCUSDT", "4h", 10), "kline", {**LINEAR, "interval": "240", "limit": "10"}),
    ("markets", lambda b: b.fetch_markets(category="spot"), "instruments-info", {"category": "spot"}),
    ("risk_limits", lambda b: b.fetch_risk_limits("BTCUSDT"), "risk-limit", LINEAR),
    (
        "long_short_ratio",
        lambda b: b.fetch_long_short_ratio("BTCUSDT", "4h"),
        "account-ratio",
        {**LINEAR, "period": "4h"},
    ),
    ("funding_rate", lambda b: b.fetch_funding_rate("BTCUSDT"), "tickers", LINEAR),
    ("funding_rate", lambda b: b.fetch_funding_rate_history("BTCUSDT", 7), "funding/history", {**LINEAR, "limit": "7"}),
    ("time", lambda b: b.fetch_time(), "time", {}),
]


@pytest.mark.parametrize(("op", "ask", "path", "query"), CALLS, ids=[f"{op}-{path}" for op, _, path, _ in CALLS])
def test_an_operation_is_one_request_with_these_parameters(
    op: str, ask: Callable[[Bybit], Awaitable[Any]], path: str, query: dict[str, str]
) -> None:
    """And its attempt carries the path as the template, the redacted URL and the request id that the server saw."""

    async def main() -> None:
        recorder = Recorder()
        async with Simulator() as simulator, adapter(simulator.url, recorder=recorder) as bybit:
            assert await ask(bybit)
            (request,) = simulator.requests
        assert (request.method, request.path, dict(request.query)) == ("GET", f"/v5/market/{path}", query)
        (attempt,) = recorder.attempts
        notes = attempt.attempt.notes
        assert attempt.call.op.name == op
        assert notes["url.template"] == f"/v5/market/{path}"
        assert notes["request.id"] == request.request_id
        assert "REDACTED" not in notes["url.full"]
        assert attempt.call.keys["host"] == urlsplit(bybit.base_url).netloc
        assert attempt.attempt.limits is not None

    run(main)


def test_every_category_works() -> None:
    """Spot, inverse and options have their own field sets."""

    async def main() -> None:
        async with Simulator() as simulator, adapter(simulator.url) as bybit:
            for category, symbol in (("spot", "BTCUSDT"), ("inverse", "BTCUSD")):
                assert (await bybit.fetch_ticker(symbol, category=category)).last
                assert (await bybit.fetch_order_book(symbol, category=category)).bids
                assert await bybit.fetch_trades(symbol, category=category)
                assert await bybit.fetch_ohlcv(symbol, category=category)
            assert (await bybit.fetch_ticker("BTCUSDT", category="spot")).mark is None
            inverse = await bybit.fetch_ticker("BTCUSD", category="inverse")
            assert inverse.quote_volume is not None
            assert inverse.base_volume is not None
            assert inverse.quote_volume > inverse.base_volume * 1000  # dollars against bitcoins
            options = await bybit.fetch_markets(category="option")
            others = await bybit.fetch_markets(category="option", base="ETH")
            assert {market.base for market in options} == {"BTC"}
            assert {market.base for market in others} == {"ETH"}
            assert (await bybit.fetch_ticker(options[0].symbol, category="option")).mark
            (spot,) = [m for m in await bybit.fetch_markets(category="spot") if m.symbol == "BTCUSDT"]
            assert spot.settle is None
            assert spot.amount_step is not None

    run(main)


def test_candles_come_oldest_first_and_from_the_time_that_was_asked_for() -> None:
    """Bybit sends the newest first."""

    async def main() -> None:
        async with Simulator() as simulator, adapter(simulator.url) as bybit:
            candles = await bybit.fetch_ohlcv("BTCUSDT", "1m", 30)
            times = [candle.timestamp for candle in candles]
            assert times == sorted(times)
            assert len(set(times)) == 30
            since = times[0] - 3_600_000
            assert (await bybit.fetch_ohlcv("BTCUSDT", "1m", 5, since=since))[0].timestamp == since

    run(main)


def test_nine_operations_ride_on_one_connection() -> None:
    """And every attempt has a request id of its own."""

    async def main() -> None:
        async with Simulator() as simulator, adapter(simulator.url) as bybit:
            for _ in range(9):
                await bybit.fetch_ticker("BTCUSDT")
            assert simulator.connections == 1
            assert len({request.request_id for request in simulator.requests}) == 9

    run(main)


@pytest.mark.parametrize(
    "ask",
    [
        lambda b: b.fetch_ticker("BTC/USDT"),
        lambda b: b.fetch_ticker("BTCUSDT", category="futures"),
        lambda b: b.fetch_funding_rate("BTCUSDT", category="spot"),
        lambda b: b.fetch_ohlcv("BTCUSDT", "7m"),
        lambda b: b.fetch_ohlcv("BTCUSDT", "1h", since=-1),
        lambda b: b.fetch_long_short_ratio("BTCUSDT", "1m"),
        lambda b: b.fetch_trades("BTCUSDT", 0),
        lambda b: b.fetch_markets(base="B&C"),
    ],
)
def test_an_argument_that_cannot_work_costs_no_request(ask: Callable[[Bybit], Awaitable[Any]]) -> None:
    """The error says what is allowed, in one line."""

    async def main() -> None:
        async with Simulator() as simulator, adapter(simulator.url) as bybit:
            with pytest.raises(UsageError) as caught:
                await ask(bybit)
            assert "\n" not in str(caught.value)
            assert simulator.requests == []

    run(main)


# -- pages --------------------------------------------------------------------------------------------------------


def test_all_pages_are_followed_and_nothing_comes_twice() -> None:
    """620 linear symbols in pages of 500, and their risk limits in pages of 15 symbols."""

    async def main() -> None:
        async with Simulator() as simulator, adapter(simulator.url) as bybit:
            markets = await bybit.fetch_markets()
            assert len(markets) == len({market.symbol for market in markets}) == 620
            assert len(simulator.requests) == 2
            limits = await bybit.fetch_risk_limits()
            assert {limit.symbol for limit in limits} == {market.symbol for market in markets}
            assert len(limits) == len({(limit.symbol, limit.id) for limit in limits})
            assert len(simulator.requests) == 2 + 42

    run(main)


def test_a_page_that_fails_is_fetched_again_alone() -> None:
    """Each page is a call of its own."""

    async def main() -> None:
        async with Simulator(faults=plan("html_502", 2)) as simulator, adapter(simulator.url) as bybit:
            assert len(await bybit.fetch_markets()) == 620
            assert [request.query.get("cursor", "")[:5] for request in simulator.requests] == ["", "first", "first"]

    run(main)


CURSORS = [
    ("first%3D0GUSDT%26last%3DB", False, "first%3D0GUSDT%26last%3DB"),
    ("first%3D0GUSDT%26last%3DB", True, "first%253D0GUSDT%2526last%253DB"),
    ("a b&category=spot#x\r\n", False, "a%20b%26category%3Dspot%23x%0D%0A"),
]


@pytest.mark.parametrize(("cursor", "again", "sent"), CURSORS)
def test_a_cursor_goes_back_as_it_came_or_encoded_once_more(
    cursor: str, again: bool, sent: str, canned: Any, envelope: Any
) -> None:
    """A setting decides, since Bybit does not say; text that would change the query is encoded in any case."""

    async def main() -> None:
        pages: list[Any] = [(200, {}, envelope({**NO_ROWS, "nextPageCursor": c})) for c in (cursor, "")]
        async with canned(*pages) as server, adapter(server.url, encode_cursor=again) as bybit:
            assert await bybit.fetch_markets() == []
            assert server.targets == [
                "/v5/market/instruments-info?category=linear",
                f"/v5/market/instruments-info?category=linear&cursor={sent}",
            ]

    run(main)


def test_pages_that_go_round_in_circles_are_an_error(canned: Any, envelope: Any) -> None:
    """Not an endless loop, and not a list with everything twice."""

    async def main() -> None:
        def page(target: str) -> Any:
            cursor = dict(parse_qsl(urlsplit(target).query)).get("cursor")
            return 200, {}, envelope({**NO_ROWS, "nextPageCursor": "b" if cursor == "a" else "a"})

        async with canned(page) as server, adapter(server.url) as bybit:
            with pytest.raises(TransportError, match="the pages of risk_limits have no end: page 3"):
                await bybit.fetch_risk_limits()
            assert len(server.targets) == 3

    run(main)


def test_all_pages_together_have_the_deadline_of_one_call(canned: Any, envelope: Any) -> None:
    """Ever new cursors end with the deadline; each page alone would be in time."""

    async def main() -> None:
        async with canned(None) as server:

            def page(target: str) -> Any:
                return 200, {}, envelope({**NO_ROWS, "nextPageCursor": f"c{len(server.targets)}" + "x" * 200})

            server.replies = [page]
            async with adapter(server.url, Deadline(0.05)) as bybit:
                with pytest.raises(TimedOut):
                    await bybit.fetch_markets()
            assert len(server.targets) < 1000

    run(main)


# -- what goes wrong -----------------------------------------------------------------------------------------------

SURVIVED = [
    "reset_after_read", "reset_mid_body", "cut_body", "cut_gzip", "html_500", "html_502", "html_503", "html_200",
    "empty_200", "invalid_json", "ret_10016", "ret_10000", "http_429",
]  # fmt: skip


@pytest.mark.parametrize("fault", SURVIVED)
def test_a_fault_that_a_repetition_cures_never_reaches_the_caller(fault: str) -> None:
    """A read is repeated whatever became of the first attempt; bad payloads are failed attempts, never values."""

    async def main() -> None:
        recorder = Recorder()
        async with Simulator(faults=plan(fault, 1), gzip=True) as simulator:
            async with adapter(simulator.url, recorder=recorder) as bybit:
                assert (await bybit.fetch_ticker("BTCUSDT")).symbol == "BTCUSDT"
            assert [request.fault for request in simulator.requests] == [fault, None]
        first, second = recorder.attempts
        assert first.verdict is not None
        assert first.verdict.kind is (Kind.THROTTLED if fault == "http_429" else Kind.UNKNOWN)
        assert (first.attempt.sent, second.error) == (True, None)

    run(main)


def test_the_limit_of_an_endpoint_is_waited_out() -> None:
    """retCode 10006 carries the time of its end, on the server's clock."""

    async def main() -> None:
        recorder = Recorder()
        async with Simulator(faults=plan("ret_10006", 1, seconds=0.05)) as simulator:
            async with adapter(simulator.url, recorder=recorder) as bybit:
                await bybit.fetch_ticker("BTCUSDT")
            assert [request.fault for request in simulator.requests] == ["ret_10006", None]
        first, second = recorder.attempts
        assert first.verdict is not None
        assert first.verdict.retry_after == pytest.approx(0.05, abs=0.01)
        assert first.attempt.limits is not None
        assert first.attempt.limits.remaining == 0
        assert second.attempt.notes["retry"] == "retry_after"

    run(main)


@pytest.mark.parametrize("fault", ["http_403", None])
def test_what_no_repetition_cures_is_asked_once(fault: str | None) -> None:
    """A ban would be prolonged, and a wrong symbol stays wrong."""

    async def main() -> None:
        faults = None if fault is None else plan(fault, *range(1, 10))
        async with Simulator(faults=faults) as simulator, adapter(simulator.url) as bybit:
            with pytest.raises(ApiError) as caught:
                await bybit.fetch_ticker("NOSUCHUSDT")
            assert len(simulator.requests) == 1
            assert caught.value.code == (403 if fault else 10001)
            assert caught.value.op == "ticker"

    run(main)


def test_a_bad_payload_that_stays_reaches_the_caller_as_an_error_with_nothing_foreign_in_it(canned: Any) -> None:
    """Its text holds nothing of the page, and no exception of a decoder hangs on it."""

    async def main() -> None:
        body = json.dumps({"retCode": 0, "result": {"list": [{"symbol": 7, "canary": "S3CR3T"}]}, "time": 1}).encode()
        async with canned((200, {}, body)) as server, adapter(server.url, attempts=2) as bybit:
            with pytest.raises(TransportError) as caught:
                await bybit.fetch_ticker("BTCUSDT")
            assert len(server.targets) == 2
        error = caught.value
        assert (error.reason, error.sent, error.status) == ("bad_payload", True, 200)
        assert "S3CR3T" not in f"{error} {error!r} {error.__notes__} {error.__cause__!r} {error.__context__!r}"

    run(main)


def test_a_cancelled_call_leaves_the_adapter_as_it_was() -> None:
    """The next call works, on a connection of its own."""

    async def main() -> None:
        async with Simulator(faults=plan("stall", 1)) as simulator, adapter(simulator.url) as bybit:
            task = asyncio.create_task(bybit.fetch_ticker("BTCUSDT"))
            while not simulator.requests:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await bybit.fetch_ticker("BTCUSDT")).symbol == "BTCUSDT"
            assert simulator.connections == 2

    run(main)
