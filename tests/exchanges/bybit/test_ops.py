"""The table of endpoints, and the checks that cost no request."""

from __future__ import annotations

import pytest

from exchanges import UsageError
from exchanges.bybit.ops import (
    ENDPOINTS,
    OPERATIONS,
    TIMEFRAMES,
    check_category,
    check_count,
    check_symbol,
    query_string,
)
from exchanges.bybit.simulator.candles import INTERVALS
from exchanges.bybit.simulator.routes import OPERATIONS as ROUTES


def test_every_operation_is_a_read_that_may_safely_happen_twice() -> None:
    """All endpoints are GETs, so a pipeline may repeat them whatever became of the first attempt."""
    assert all(endpoint.op.idempotent for endpoint in ENDPOINTS.values())


def test_operations_have_the_names_that_timeout_tables_use() -> None:
    """The history of funding rates shares the name, and so the timeout, of the funding rate."""
    assert set(OPERATIONS) == {
        "ticker", "orderbook", "trades", "ohlcv", "markets", "risk_limits", "long_short_ratio", "funding_rate", "time",
    }  # fmt: skip
    assert ENDPOINTS["funding_rate_history"].op.name == "funding_rate"


def test_every_path_is_one_that_the_exchange_has() -> None:
    """A path that is misspelt would be answered by 404 for ever."""
    assert {endpoint.path for endpoint in ENDPOINTS.values()} <= {path for _, path in ROUTES}


def test_timeframes_cover_every_interval_of_bybit_once() -> None:
    """No interval is out of reach, and no two names mean the same."""
    assert sorted(TIMEFRAMES.values()) == sorted(INTERVALS)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEPERP", "BTC-29JUL22-25000-C", "BTCUSDT-26MAR27", "x" * 64])
def test_a_symbol_of_letters_digits_and_hyphens_is_left_to_the_exchange(symbol: str) -> None:
    """Whether it exists is not ours to say."""
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "symbol", ["", "BTC/USDT", "BTC USDT", "BTC&limit=1", "BTC\r\nX: y", "ＢＴＣ", "x" * 65, None, 7]
)
def test_a_symbol_that_cannot_be_one_is_refused_in_one_line(symbol: object) -> None:
    """Nothing that could change the query or a header is ever sent."""
    with pytest.raises(UsageError, match="such as BTCUSDT") as caught:
        check_symbol(symbol)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_operation_refuses_a_category_that_has_no_such_data() -> None:
    """The error lists the ones that do."""
    with pytest.raises(UsageError, match=r"^risk_limits has no data for spot: choose linear or inverse$"):
        check_category(ENDPOINTS["risk_limits"], "spot")
    with pytest.raises(UsageError, match=r"choose one of spot, linear, inverse, option; did you mean linear\?"):
        check_category(ENDPOINTS["ticker"], "liner")
    assert check_category(ENDPOINTS["ticker"], "option") == "option"


@pytest.mark.parametrize("value", [0, -1, 1.0, "5", True])
def test_a_limit_is_a_whole_number_of_at_least_one(value: object) -> None:
    """A bool is no number here, though Python says so."""
    with pytest.raises(UsageError, match=r"limit is .*, must be a whole number of at least 1"):
        check_count("limit", value, 1)


def test_the_query_holds_what_was_given_in_its_order_and_encoded() -> None:
    """These bytes are what a signature would cover, so nobody may change them later."""
    assert query_string({"category": "linear", "symbol": None, "limit": 5, "baseCoin": "a&b"}) == (
        "category=linear&limit=5&baseCoin=a%26b"
    )
    assert query_string({}) == ""
