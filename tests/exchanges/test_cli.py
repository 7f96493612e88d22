"""The command line: one document or one line, and the exit code that the contract promises."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchanges.cli import main

OPERATIONS = ("ticker", "orderbook", "trades", "ohlcv", "markets", "risk_limits", "long_short_ratio", "funding_rate")
LISTS = {"trades", "ohlcv", "markets", "risk_limits", "long_short_ratio"}
FIELDS = {
    "ticker": "symbol last bid ask bid_volume ask_volume high low base_volume quote_volume mark index timestamp",
    "orderbook": "symbol bids asks timestamp sequence",
    "trades": "id symbol price amount side timestamp",
    "ohlcv": "timestamp open high low close volume turnover",
    "markets": "symbol base quote settle category status tick_size amount_step min_amount max_amount",
    "risk_limits": "id symbol limit maintenance_margin initial_margin max_leverage",
    "long_short_ratio": "symbol buy_ratio sell_ratio timestamp",
    "funding_rate": "symbol funding_rate next_funding_timestamp",
}
COMMAND = [sys.executable, "-W", "error", "-m", "exchanges.cli"]


def exchanges(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with warnings as errors, so that a leaked session would show on stderr."""
    return subprocess.run(  # noqa: S603 (our own interpreter and module)
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """A simulated exchange in its own process; yields its address, and ends it with SIGINT."""
    command = [*COMMAND, "simulate", "bybit", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 (ours)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), process.stderr.read()
        yield line.removeprefix("listening on ").strip()
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out + err == ""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with simulator("--seed", "3") as address:
        yield address


def one_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Nothing on stdout, exactly one line on stderr, with these words in it, and this exit code."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_prints_one_json_document(url: str, operation: str) -> None:
    """An object or an array, the contract's fields in their order, raw at the end, money as text."""
    symbol = [] if operation == "markets" else ["BTCUSDT"]
    result = exchanges("fetch", operation, *symbol, "--base-url", url, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    document: Any = json.loads(result.stdout)
    assert isinstance(document, list) == (operation in LISTS)
    record = document[0] if isinstance(document, list) else document
    assert list(record) == [*FIELDS[operation].split(), "raw"]
    assert not any(isinstance(value, float) for value in record.values())


def test_without_json_a_table_is_for_people(url: str) -> None:
    """A single record line by line, several as rows, an order book as two sides."""
    assert "last" in exchanges("fetch", "ticker", "BTCUSDT", "--base-url", url).stdout
    assert "bid amount" in exchanges("fetch", "orderbook", "BTCUSDT", "--base-url", url).stdout
    markets = exchanges("fetch", "markets", "--base-url", url)
    assert "more rows; --json prints them all" in markets.stdout
    history = exchanges("fetch", "funding_rate", "BTCUSDT", "--history", "--limit", "3", "--base-url", url)
    assert "funding_rate, 3 rows" in history.stdout


def test_options_reach_the_exchange(url: str) -> None:
    """Category, timeframe, period and limit."""
    candles = exchanges("fetch", "ohlcv", "BTCUSD", "--category", "inverse", "--timeframe", "5m", "--limit", "7",
                        "--base-url", url, "--json")  # fmt: skip
    rows = json.loads(candles.stdout)
    assert [b["timestamp"] - a["timestamp"] for a, b in itertools.pairwise(rows)] == [300_000] * 6
    ratios = exchanges(
        "fetch", "long_short_ratio", "BTCUSDT", "--period", "4h", "--limit", "2", "--base-url", url, "--json"
    )
    assert len(json.loads(ratios.stdout)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "tickers", "BTCUSDT"], ["unknown operation 'tickers'", "did you mean ticker?"]),
        (["fetch", "ticker"], ["ticker needs a symbol"]),
        (["fetch", "markets", "BTCUSDT"], ["markets takes no symbol"]),
        (["fetch", "ticker", "BTC/USDT"], ["symbol"]),
        (["fetch", "ticker", "BTCUSDT", "--category", "futures"], ["category", "linear"]),
        (["fetch", "ohlcv", "BTCUSDT", "--timeframe", "7m"], ["timeframe", "15m"]),
        (["fetch", "ticker", "BTCUSDT", "--timeframe", "1h"], ["--timeframe belongs to ohlcv"]),
        (["fetch", "long_short_ratio", "BTCUSDT", "--period", "1m"], ["period", "5min"]),
        (["fetch", "trades", "BTCUSDT", "--limit", "0"], ["--limit is 0"]),
        (["fetch", "trades", "BTCUSDT", "--limit", "many"], ["--limit"]),
        (["fetch", "ticker", "BTCUSDT", "--exchange", "kraken"], ["kraken", "bybit"]),
        (["fetch", "ticker", "BTCUSDT", "--base-url", "ftp://x"], ["ftp://x"]),
        (["fetch", "ticker", "BTCUSDT", "--base-url", "http://api.bybit.com"], ["https"]),
        (["fetch", "ticker", "BTCUSDT", "--config", "/nowhere/x.yaml"], ["/nowhere/x.yaml"]),
        (["fetch", "ticker", "BTCUSDT", "--colour"], ["--colour"]),
        (["simulate", "kraken"], ["kraken"]),
        (["simulate", "bybit", "--port", "70000"], ["--port is 70000"]),
        (["simulate", "bybit", "--port", "x"], ["--port"]),
        (["simulate", "bybit", "--replay", "/nowhere"], ["/nowhere"]),
        (["simulate", "bybit", "--faults", "/nowhere.yaml"], ["/nowhere.yaml"]),
        (["demo", "--seconds", "0"], ["--seconds is 0"]),
        ([], ["COMMAND"]),
        (["dance"], ["dance"]),
    ],
)
def test_a_usage_error_is_one_line_and_two(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found, what is allowed; exit code 2, no usage block, no traceback. (In this process, to be quick.)"""
    code = main(arguments)
    printed = capsys.readouterr()
    one_line(subprocess.CompletedProcess(arguments, code, printed.out, printed.err), 2, *words)


def test_a_usage_error_of_the_program_itself() -> None:
    """The same through the real process: the interpreter adds nothing."""
    one_line(exchanges("fetch", "tickers", "BTCUSDT"), 2, "did you mean ticker?")


def test_a_symbol_that_the_exchange_does_not_know(url: str) -> None:
    """The exchange said no: exit code 1, its code and what to do."""
    one_line(exchanges("fetch", "ticker", "NOTAREALUSDT", "--base-url", url, "--json"), 1, "10001", "symbol")


def test_a_wrong_key_in_the_configuration(tmp_path: Path) -> None:
    """File, line and column, the nearest name; exit code 2."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "version: 1\nresources: {rest: {kind: aiohttp}}\npipelines:\n  market: [{retry: {atempts: 4}}, {pool: rest}]\n"
        "exchanges: {bybit: {adapter: bybit, pipeline: market}}\n"
    )
    one_line(exchanges("fetch", "ticker", "BTCUSDT", "--config", str(file)), 2, f"{file}:4:", "atempts", "attempts")


def test_a_dead_server_is_one_line(tmp_path: Path) -> None:
    """Nothing listens there: after the retries, exit code 1, and which address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "quick.yaml"
    file.write_text(
        "version: 1\nresources: {rest: {kind: aiohttp}}\n"
        "pipelines: {market: [{retry: {attempts: 2, wait: 0}}, {pool: rest}]}\n"
        "exchanges: {bybit: {adapter: bybit, pipeline: market}}\n"
    )
    result = exchanges("fetch", "ticker", "BTCUSDT", "--config", str(file), "--base-url", f"http://127.0.0.1:{port}")
    one_line(result, 1, f"127.0.0.1:{port}", "refused")


def test_the_port_is_taken() -> None:
    """A simulator that cannot listen says so in one line."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        one_line(exchanges("simulate", "bybit", "--port", str(busy.getsockname()[1])), 2, "choose another port")


RECORDED = Path(__file__).parent.parent / "data" / "bybit"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["ticker", "BTCUSDT"], "rest/ticker/linear-BTCUSDT-20260620.json"),
        (["ohlcv", "BTCUSDT", "--timeframe", "1m"], "rest/ohlcv/linear-BTCUSDT-1m-20230624.json"),
        (["markets"], "rest/markets/linear-page1-500rows-20260715.json"),
        (["markets", "--category", "inverse"], "rest/markets/inverse-26rows-20260715.json"),
        (["risk_limits"], "rest/risk_limits/linear-page1-407rows-20260808.json"),
    ],
)
def test_recorded_replies_come_out_as_they_were_recorded(arguments: list[str], file: str) -> None:
    """Through the server, the pipeline, the records and the command line: every row, untouched in raw."""
    rows = json.loads((RECORDED / file).read_text())["result"]["list"]
    with simulator("--replay", str(RECORDED)) as address:
        result = exchanges("fetch", *arguments, "--base-url", address, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    records = document if isinstance(document, list) else [document]
    if arguments[0] == "ohlcv":
        records.reverse()  # oldest first, where the exchange sends newest first
    assert [record["raw"] for record in records] == rows
    if arguments[0] == "ticker":
        assert (document["last"], document["bid_volume"], document["quote_volume"]) == (
            rows[0]["lastPrice"], rows[0]["bid1Size"], rows[0]["turnover24h"],
        )  # fmt: skip
