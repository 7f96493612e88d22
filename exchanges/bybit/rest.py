"""Bybit's public operations over REST: what is asked becomes a call through a pipeline, the answer unified records.

Everything an answer has to prove is proved *inside* the attempt: a page of HTML, a cut list or a row about another
symbol is a failed attempt, which the pipeline may repeat, and never a value.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from msgspec import Raw

from resilience import Call, Deadline, Pipeline, within
from resilience.call import takes_call

from .. import records
from ..usage import one_of
from . import parse
from .answers import Rules, bad_payload, read
from .ops import (
    ENDPOINTS,
    PERIODS,
    PUBLIC_PARAMS,
    TIMEFRAMES,
    Endpoint,
    check_category,
    check_count,
    check_symbol,
    query_string,
)
from .parse import Asked, Rows
from .wire import Malformed

if TYPE_CHECKING:
    from ..transport.rest import Rest

__all__ = ["Bybit"]

T = TypeVar("T")
Build = Callable[[Asked, Raw, int], T]

_MOST_PAGES = 1000
_LONGEST_CURSOR = 2000
_PLAIN_CURSOR = re.compile(r"[A-Za-z0-9%._~-]*", re.ASCII)


class Bybit:
    """The public half of one Bybit environment.

    `pipelines` guards the operations, by their names in `OPERATIONS`; a pool beneath each lends the `Rest` session.
    `category` is the default of every operation. `encode_cursor`: whether a page's cursor, which is percent-encoded
    text already, is encoded once more on its way back (Bybit does not say; as it is by default).

    Every operation raises `UsageError` for an argument that cannot work, `ApiError` where Bybit says no,
    `TransportError` where no sound answer came back, and `resilience.Refused` or `resilience.TimedOut` where the
    pipeline gave up. Times are milliseconds since the epoch. With no `limit`, Bybit's own default applies.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        *,
        base_url: str,
        category: str = "linear",
        rules: Rules | None = None,
        encode_cursor: bool = False,
    ) -> None:
        self.become(pipelines, base_url=base_url, category=category, rules=rules, encode_cursor=encode_cursor)
        self._run = uuid.uuid4().hex[:12]
        self._numbers = count(1)
        self._target = takes_call(self._attempt)

    def become(
        self,
        pipelines: Mapping[str, Pipeline],
        *,
        base_url: str,
        category: str = "linear",
        rules: Rules | None = None,
        encode_cursor: bool = False,
    ) -> None:
        """Be set up like this from the next call on."""
        self.base_url = base_url
        self.category = category
        self._pipelines = pipelines
        self._rules = rules or Rules()
        self._encode_cursor = encode_cursor
        self._keys = {"host": urlsplit(base_url).netloc}

    # -- the operations ---------------------------------------------------------------------------------------

    async def fetch_ticker(self, symbol: str, *, category: str | None = None) -> records.Ticker:
        """Last price, best prices and the day's range of one symbol."""
        return await self._one("ticker", parse.ticker, symbol, category)

    async def fetch_order_book(
        self, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> records.OrderBook:
        """The best `limit` levels on each side: 1 to 1000, in options 1 to 25."""
        return await self._one("orderbook", parse.book, symbol, category, limit=limit)

    async def fetch_trades(
        self, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> list[records.Trade]:
        """The latest public trades, newest first: up to 60 in spot, up to 1000 elsewhere."""
        return await self._one("trades", parse.trades, symbol, category, limit=limit)

    async def fetch_ohlcv(
        self,
        symbol: str,
        timeframe: str = "1h",
        limit: int | None = None,
        *,
        since: int | None = None,
        category: str | None = None,
    ) -> list[records.Candle]:
        """Candles, oldest first, at most 1000: the latest, or those from `since` (ms) on. The newest may be open."""
        interval = TIMEFRAMES[one_of("timeframe", timeframe, TIMEFRAMES)]
        check_count("since", since, 0)
        return await self._one("ohlcv", parse.candles, symbol, category, interval=interval, start=since, limit=limit)

    async def fetch_markets(self, *, base: str | None = None, category: str | None = None) -> list[records.Market]:
        """Everything that trades in the category, from all pages, in one deadline.

        `base` narrows it to one base coin. Options are an exception of Bybit's: with no `base`, those on BTC.
        """
        coin = None if base is None else check_symbol(base)
        return await self._all("markets", parse.markets, None, category, baseCoin=coin)

    async def fetch_risk_limits(
        self, symbol: str | None = None, *, category: str | None = None
    ) -> list[records.RiskLimit]:
        """The tiers of one symbol, or of all symbols from all pages, in one deadline."""
        return await self._all("risk_limits", parse.risk_limits, symbol, category)

    async def fetch_long_short_ratio(
        self, symbol: str, period: str = "1h", limit: int | None = None, *, category: str | None = None
    ) -> list[records.LongShortRatio]:
        """Shares of long and short accounts, newest first: one page of up to 500 (50 by default)."""
        one_of("period", period, PERIODS)
        return await self._one("long_short_ratio", parse.ratios, symbol, category, period=period, limit=limit)

    async def fetch_funding_rate(self, symbol: str, *, category: str | None = None) -> records.FundingRate:
        """The rate that is paid next, and when."""
        return await self._one("funding_rate", parse.funding, symbol, category)

    async def fetch_funding_rate_history(
        self, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> list[records.PastFundingRate]:
        """The rates that were paid last, newest first: up to 200."""
        return await self._one("funding_rate_history", parse.past_funding, symbol, category, limit=limit)

    async def fetch_time(self) -> int:
        """Bybit's clock, in ms since the epoch."""
        return await self._ask(ENDPOINTS["time"], parse.server_time, Asked(""), "")

    # -- asking -----------------------------------------------------------------------------------------------

    async def _one(self, name: str, build: Build[T], symbol: str, category: str | None, **more: str | int | None) -> T:
        endpoint = ENDPOINTS[name]
        asked, params = self._asked(endpoint, check_symbol(symbol), category, more)
        return await self._ask(endpoint, build, asked, query_string(params))

    async def _all(
        self, name: str, build: Build[Rows[T]], symbol: str | None, category: str | None, **more: str | None
    ) -> list[T]:
        """All pages, each a call of its own, together within the deadline of one."""
        endpoint = ENDPOINTS[name]
        asked, params = self._asked(endpoint, None if symbol is None else check_symbol(symbol), category, more)
        first = query_string(params)
        query, cursors, found = first, set[str](), list[T]()
        policies = self._pipelines[endpoint.op.name].policies
        seconds = next((policy.seconds for policy in policies if isinstance(policy, Deadline)), None)
        with nullcontext() if seconds is None else within(seconds):
            while True:
                page = await self._ask(endpoint, build, asked, query)
                found += page.records
                if not page.cursor:
                    return found
                if page.cursor in cursors or len(cursors) >= _MOST_PAGES or len(page.cursor) > _LONGEST_CURSOR:
                    raise bad_payload(f"the pages of {endpoint.op.name} have no end: page {len(cursors) + 1}")
                cursors.add(page.cursor)
                query = f"{first}&cursor={self._cursor(page.cursor)}"

    def _asked(
        self, endpoint: Endpoint, symbol: str | None, category: str | None, more: Mapping[str, Any]
    ) -> tuple[Asked, dict[str, str | int | None]]:
        check_count("limit", more.get("limit"), 1)
        category = check_category(endpoint, self.category if category is None else category)
        return Asked(category, symbol), {"category": category, "symbol": symbol, **more}

    def _cursor(self, cursor: str) -> str:
        """The cursor as a query value. Text that would end the value is encoded in any case."""
        plain = not self._encode_cursor and _PLAIN_CURSOR.fullmatch(cursor) is not None
        return cursor if plain else quote(cursor, safe="")

    async def _ask(self, endpoint: Endpoint, build: Build[T], asked: Asked, query: str) -> T:
        url = f"{self.base_url}{endpoint.path}{query and '?' + query}"  # a reload moves no call that has begun
        call = Call(endpoint.op, self._target, (endpoint, build, asked, url), keys=self._keys)
        result: T = await self._pipelines[endpoint.op.name].send(call)
        return result

    async def _attempt(self, call: Call, rest: Rest, endpoint: Endpoint, build: Build[T], asked: Asked, url: str) -> T:
        """One attempt: send, read, prove. Its request id is its own, so that both sides can tell attempts apart."""
        attempt = call.attempt
        attempt.notes["url.template"] = endpoint.path
        reply = await rest.request(
            attempt,
            "GET",
            url,
            headers={"cdn-request-id": f"{self._run}-{next(self._numbers)}"},
            safe_query=PUBLIC_PARAMS,
        )
        envelope = read(reply, endpoint.op, attempt, self._rules)
        try:
            return build(asked, envelope.result, envelope.time)
        except Malformed as exc:
            raise bad_payload(str(exc), reply.status) from None
