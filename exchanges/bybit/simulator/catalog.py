"""Which symbols the simulated exchange lists.

A dozen well-known coins with plausible prices, and enough generated ones that a default page of 500 is not all of the
linear category: a client that forgets the cursor loses 120 symbols here, as it would on the real exchange.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from .walk import jitter

__all__ = ["CATEGORIES", "LINEAR_SYMBOLS", "Catalog", "Instrument"]

CATEGORIES = ("spot", "linear", "inverse", "option")
LINEAR_SYMBOLS = 620
"""Linear symbols that trade; one more is in PreLaunch and is listed only on request, as Bybit does."""

_SPOT_SYMBOLS = 60
_LAUNCH = 1_584_230_400_000
_MONTH_LETTER = {3: "H", 6: "M", 9: "U", 12: "Z"}
_COINS = (  # base, price, linear tick, linear step, highest leverage
    ("BTC", 64000.0, "0.10", "0.001", 100),
    ("ETH", 3200.0, "0.01", "0.01", 100),
    ("SOL", 150.0, "0.010", "0.1", 100),
    ("XRP", 0.52, "0.0001", "0.1", 75),
    ("DOGE", 0.12, "0.00001", "1", 75),
    ("ADA", 0.45, "0.0001", "1", 75),
    ("AVAX", 36.0, "0.001", "0.1", 75),
    ("BCH", 480.0, "0.05", "0.01", 50),
    ("DOT", 7.1, "0.0001", "0.1", 75),
    ("LINK", 17.0, "0.001", "0.1", 75),
    ("LTC", 84.0, "0.01", "0.1", 75),
    ("MNT", 1.1, "0.0001", "1", 25),
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol. `price` is the level that its walk wanders about; `tick` and `step` keep the digits of Bybit's."""

    symbol: str
    category: str
    contract: str  # Bybit's contractType; "Call" or "Put" for an option, "" for spot
    base: str
    quote: str
    settle: str
    price: float
    tick: Decimal
    step: Decimal
    leverage: int
    funding_minutes: int
    launch: int  # ms
    delivery: int  # ms; 0: never
    number: int  # Bybit's symbolId
    key: int  # seeds the walk: shared by all that trade the same base coin
    status: str = "Trading"
    strike: float = 0.0


class Catalog:
    """All instruments by category and symbol, in the alphabetical order of Bybit's own lists.

    `now` (seconds since the epoch) decides which quarters are still to be delivered, `seed` how the prices walk.
    """

    def __init__(self, seed: int, now: float) -> None:
        self._seed = seed
        self._number = 0
        self._quarters = _quarters(now)
        self._by_category = {
            category: {one.symbol: one for one in sorted(build, key=lambda one: one.symbol)}
            for category, build in (
                ("spot", self._spot()),
                ("linear", self._linear()),
                ("inverse", self._inverse()),
                ("option", self._options()),
            )
        }

    def all(self, category: str) -> list[Instrument]:
        """Every instrument of a category, sorted by symbol."""
        return list(self._by_category[category].values())

    def get(self, category: str, symbol: str) -> Instrument | None:
        """The instrument, or None where the category has no such symbol."""
        return self._by_category[category].get(symbol)

    def _make(
        self,
        symbol: str,
        category: str,
        contract: str,
        coin: tuple[str, float, str, str, int],
        quote: str,
        settle: str,
        *,
        delivery: int = 0,
        status: str = "Trading",
        strike: float = 0.0,
    ) -> Instrument:
        base, price, tick, step, leverage = coin
        self._number += 1
        key = zlib.crc32(base.encode()) | (self._seed & 0xFFFFFFFF) << 32
        funding = 0 if delivery or category in ("spot", "option") else 480
        return Instrument(
            symbol,
            category,
            contract,
            base,
            quote,
            settle,
            price,
            Decimal(tick),
            Decimal(step),
            leverage,
            funding,
            _LAUNCH,
            delivery,
            self._number,
            key,
            status,
            strike,
        )

    def _linear(self) -> Iterator[Instrument]:
        named = 0
        for coin in _COINS:
            named += 1
            yield self._make(f"{coin[0]}USDT", "linear", "LinearPerpetual", coin, "USDT", "USDT")
        for coin in _COINS[:3]:
            named += 1
            yield self._make(f"{coin[0]}PERP", "linear", "LinearPerpetual", coin, "USDC", "USDC")
        for coin in _COINS[:2]:
            for day in self._quarters:
                named += 1
                symbol = f"{coin[0]}USDT-{_day(day)}"
                yield self._make(symbol, "linear", "LinearFutures", coin, "USDT", "USDT", delivery=_millis(day))
        for coin in _generated(LINEAR_SYMBOLS - named):
            yield self._make(f"{coin[0]}USDT", "linear", "LinearPerpetual", coin, "USDT", "USDT")
        coming = ("SIMNEW", 1.0, "0.0001", "1", 5)
        yield self._make("SIMNEWUSDT", "linear", "LinearPerpetual", coming, "USDT", "USDT", status="PreLaunch")

    def _inverse(self) -> Iterator[Instrument]:
        for base, price, tick, _, leverage in _COINS:
            coin = (base, price, "0.50" if base == "BTC" else tick, "1", leverage)
            yield self._make(f"{base}USD", "inverse", "InversePerpetual", coin, "USD", base)
            if base in ("BTC", "ETH"):
                for day in self._quarters:
                    symbol = f"{base}USD{_MONTH_LETTER[day.month]}{day:%y}"
                    yield self._make(symbol, "inverse", "InverseFutures", coin, "USD", base, delivery=_millis(day))

    def _spot(self) -> Iterator[Instrument]:
        for base, price, tick, _, leverage in (*_COINS, *_generated(_SPOT_SYMBOLS - len(_COINS))):
            coin = (base, price, format(Decimal(tick).normalize(), "f"), "0.000001", leverage)
            yield self._make(f"{base}USDT", "spot", "", coin, "USDT", "")

    def _options(self) -> Iterator[Instrument]:
        for base, price, tick in (("BTC", 64000.0, "5"), ("ETH", 3200.0, "0.1")):
            for day in self._quarters:
                for strike in (round(price * 0.9, -2), round(price, -2), round(price * 1.1, -2)):
                    for side in ("Call", "Put"):
                        symbol = f"{base}-{_day(day)}-{strike:.0f}-{side[0]}-USDT"
                        coin = (base, price, tick, "0.01", 1)
                        yield self._make(
                            symbol, "option", side, coin, "USDT", "USDT", delivery=_millis(day), strike=strike
                        )


def _generated(count: int) -> Iterator[tuple[str, float, str, str, int]]:
    """`count` made-up coins; their prices spread over four powers of ten and keep at least four digits."""
    for number in range(count):
        power = int(jitter(1, number) * 4) - 2
        price = (1 + 8 * jitter(2, number)) * 10.0**power
        tick = format(Decimal(1).scaleb(power - 4), "f")
        step = ("1", "0.1", "10")[number % 3]
        yield f"SIM{number:03d}", price, tick, step, (25, 50, 75)[number % 3]


def _quarters(now: float) -> tuple[datetime, datetime]:
    """The next two quarterly deliveries: the last Friday of March, June, September or December, 08:00 UTC."""
    today = datetime.fromtimestamp(now, UTC)
    found = []
    for year in (today.year, today.year + 1):
        for month in _MONTH_LETTER:
            first_of_next = datetime(year + month // 12, month % 12 + 1, 1, 8, tzinfo=UTC)
            last = first_of_next - timedelta(days=1)
            friday = last - timedelta(days=(last.weekday() - 4) % 7)
            if friday > today + timedelta(days=7):
                found.append(friday)
    return found[0], found[1]


def _day(moment: datetime) -> str:
    months = (
        "JAN",
        "FEB",
        "MAR",
        "APR",
        "MAY",
        "JUN",
        "JUL",
        "AUG",
        "SEP",
        "OCT",
        "NOV",
        "DEC",
    )  # strftime is localised
    return f"{moment.day}{months[moment.month - 1]}{moment:%y}"


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
