"""Rows of instruments-info and of risk-limit in Bybit's field names, made from an instrument."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from .catalog import Instrument
from .tickers import UNKNOWN_FIELD

__all__ = ["instrument_row", "risk_rows"]

_TIERS = 8


def instrument_row(one: Instrument) -> dict[str, Any]:
    """One row of instruments-info; the field set depends on the category, and grows without notice."""
    make = {"spot": _spot, "option": _option}.get(one.category, _derivative)
    return make(one) | UNKNOWN_FIELD


def _spot(one: Instrument) -> dict[str, Any]:
    return {
        "symbolId": one.number,
        "symbol": one.symbol,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "innovation": "0",
        "status": one.status,
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": f"{one.step:f}",
            "quotePrecision": "0.0000001",
            "minOrderQty": f"{one.step * 10:f}",
            "maxOrderQty": "8300",
            "minOrderAmt": "5",
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": "8300",
            "maxMarketOrderQty": "4150",
            "postOnlyMaxLimitOrderSize": "60000",
        },
        "priceFilter": {"tickSize": f"{one.tick:f}"},
        "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
        "symbolType": "",
    }


def _derivative(one: Instrument) -> dict[str, Any]:
    most = one.step * 1_000_000
    coming = one.status == "PreLaunch"
    cap = "0.005" if one.funding_minutes else "0"
    return {
        "symbol": one.symbol,
        "symbolId": one.number,
        "contractType": one.contract,
        "status": one.status,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "settleCoin": one.settle,
        "launchTime": str(one.launch),
        "deliveryTime": str(one.delivery),
        "deliveryFeeRate": "0" if one.delivery else "",
        "priceScale": str(max(-int(one.tick.as_tuple().exponent), 0)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{one.leverage}.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": f"{one.tick:f}",
            "maxPrice": f"{one.tick * 19_999_998:f}",
            "tickSize": f"{one.tick:f}",
        },
        "lotSizeFilter": {
            "minOrderQty": f"{one.step:f}",
            "maxOrderQty": f"{most:f}",
            "qtyStep": f"{one.step:f}",
            "postOnlyMaxOrderQty": f"{most:f}",
            "maxMktOrderQty": f"{most / 10:f}",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": one.funding_minutes,
        "copyTrading": "both" if one.quote == "USDT" and not one.delivery else "none",
        "upperFundingRate": cap,
        "lowerFundingRate": f"-{cap}" if one.funding_minutes else cap,
        "isPreListing": coming,
        "preListingInfo": {"curAuctionPhase": "NotStarted", "phases": [], "auctionFeeInfo": {}} if coming else None,
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.1"},
        "displayName": "",
        "symbolType": "innovation" if one.base.startswith("SIM") else "",
        "forbidUplWithdrawal": False,
    }


def _option(one: Instrument) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "status": one.status,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "settleCoin": one.settle,
        "optionsType": one.contract,
        "launchTime": str(one.launch),
        "deliveryTime": str(one.delivery),
        "deliveryFeeRate": "0.00015",
        "priceFilter": {
            "minPrice": f"{one.tick:f}",
            "maxPrice": f"{one.tick * 1_000_000:f}",
            "tickSize": f"{one.tick:f}",
        },
        "lotSizeFilter": {"maxOrderQty": "500", "minOrderQty": f"{one.step:f}", "qtyStep": f"{one.step:f}"},
        "displayName": "",
    }


def risk_rows(one: Instrument) -> Iterator[dict[str, Any]]:
    """The tiers of one symbol, the least risky first.

    Each tier's deduction makes the maintenance margin continuous where two tiers meet, as Bybit's does:
    deduction + limit below x (this rate - the rate below).
    """
    size = Decimal(20_000 * one.leverage)
    deduction = rate_below = limit_below = Decimal(0)
    for tier in range(_TIERS):
        leverage = max(one.leverage * (_TIERS - tier) // _TIERS, 1)
        initial = round(Decimal(1) / leverage, 4)
        rate = initial / 2
        deduction += limit_below * (rate - rate_below)
        limit_below, rate_below = size * (tier + 1), rate
        yield {
            "id": tier + 1,
            "symbol": one.symbol,
            "riskLimitValue": f"{limit_below:f}",
            "maintenanceMargin": f"{rate.normalize():f}",
            "initialMargin": f"{initial.normalize():f}",
            "isLowestRisk": int(tier == 0),
            "maxLeverage": f"{leverage}.00",
            "mmDeduction": f"{deduction.normalize():f}" if tier else "",
        }
