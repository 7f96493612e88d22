"""The manager: from a file, or from nothing, to exchanges behind pipelines."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from exchanges import ExchangeManager, TransportError, UsageError
from exchanges.bybit.simulator import Simulator
from exchanges.config import check_exchanges, check_resources, read_config
from exchanges.secret import Secret
from resilience import ConfigError
from resilience.config import Document
from resilience.testing import Recorder

RECORDED = Path(__file__).parents[1] / "data" / "bybit"
RESOURCES = "resources:\n  rest: {kind: aiohttp, limit: 7, limit_per_host: 3}\n"
PIPELINES = "pipelines:\n  market: [timeout: 10s, pool: rest]\n  slow: [timeout: 30s, pool: rest]\n"
EXCHANGES = "exchanges:\n  bybit: {adapter: bybit, pipeline: market, base_url: URL}\n"
FILE = "version: 1\n" + RESOURCES + PIPELINES + EXCHANGES


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


def written(folder: Path, text: str, url: str = "http://127.0.0.1:9") -> Path:
    path = folder / "exchanges.yaml"
    path.write_text(text.replace("URL", url))
    return path


# -- the operations -----------------------------------------------------------------------------------------------


def test_the_built_in_configuration_answers_all_operations() -> None:
    """No file and no argument but the address of a simulated exchange."""

    async def main() -> None:
        async with Simulator() as simulator:
            async with ExchangeManager.load(base_url=simulator.url) as manager:
                assert (await manager.fetch_ticker("bybit", "BTCUSDT", category="linear")).last
                assert len((await manager.fetch_order_book("bybit", "BTCUSDT", limit=50)).bids) == 50
                assert len(await manager.fetch_trades("bybit", "BTCUSDT", limit=60)) == 60
                candles = await manager.fetch_ohlcv("bybit", "BTCUSDT", "1h", limit=200)
                assert len(candles) == 200
                assert candles[0].timestamp < candles[-1].timestamp
                assert len(await manager.fetch_markets("bybit")) == 620
                assert {tier.symbol for tier in await manager.fetch_risk_limits("bybit", "BTCUSDT")} == {"BTCUSDT"}
                assert len(await manager.fetch_risk_limits("bybit")) > 620
                assert len(await manager.fetch_long_short_ratio("bybit", "BTCUSDT", "1h", limit=50)) == 50
                assert (await manager.fetch_funding_rate("bybit", "BTCUSDT")).next_funding_timestamp
                assert len(await manager.fetch_funding_rate_history("bybit", "BTCUSDT", limit=200)) == 200
            assert simulator.connections == 1

    run(main)


def test_recorded_replies_come_out_whole() -> None:
    """Every row of the recorded first page; the second was not recorded, so the list ends there."""

    async def main() -> None:
        async with Simulator(replay=RECORDED) as simulator, ExchangeManager.load(base_url=simulator.url) as manager:
            assert (await manager.fetch_ticker("bybit", "BTCUSDT")).last == Decimal("64078.10")
            markets = await manager.fetch_markets("bybit")
            assert (len(markets), markets[0].symbol, markets[-1].symbol) == (500, "0GUSDT", "PUMPFUNUSDT")
            assert len(await manager.fetch_markets("bybit", category="inverse")) == 26
            assert len(await manager.fetch_risk_limits("bybit")) == 407
            candles = await manager.fetch_ohlcv("bybit", "BTCUSDT", "1m", limit=5)
            assert [candle.close for candle in candles][-1] == Decimal("30710.3")

    run(main)


def test_an_unknown_exchange_is_refused_with_those_that_exist() -> None:
    """In one line, before anything is sent."""
    manager = ExchangeManager.load()
    with pytest.raises(UsageError, match=r"unknown exchange 'bybitt': choose one of bybit; did you mean bybit\?"):
        asyncio.run(manager.fetch_ticker("bybitt", "BTCUSDT"))


def test_a_dead_server_is_one_clear_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    """Nothing was sent, and the text says where to look."""

    async def main() -> None:
        async with Simulator() as simulator:
            dead = simulator.url
        async with ExchangeManager.load(written(tmp_path, FILE, dead)) as manager:
            with pytest.raises(TransportError, match="connection refused; check base_url") as caught:
                await manager.fetch_ticker("bybit", "BTCUSDT")
            assert not caught.value.sent

    run(main)


# -- the configuration --------------------------------------------------------------------------------------------


def test_the_callers_word_goes_before_the_files(tmp_path: Path) -> None:
    """An address before the file's; an environment before the file's address; a category before the file's."""
    path = written(tmp_path, FILE, "https://api.bybit.nl")
    load = ExchangeManager.load
    assert load(path).exchange("bybit").base_url == "https://api.bybit.nl"
    assert load(path, base_url="http://localhost:1/").exchange("bybit").base_url == "http://localhost:1"
    assert load(path, environment="testnet").exchange("bybit").base_url == "https://api-testnet.bybit.com"
    assert load(path, environment="simulator", base_url="http://[::1]:5").exchange("bybit").base_url == "http://[::1]:5"
    assert load().exchange("bybit").base_url == "https://api.bybit.com"
    assert load(category="spot").exchange("bybit").category == "spot"
    assert load().exchange("bybit").category == "linear"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"base_url": "http://api.bybit.com"}, "http is allowed on loopback only"),
        ({"base_url": "ftp://x"}, "write https://HOST"),
        ({"environment": "simulator"}, "set base_url"),
        ({"environment": "mainet"}, "did you mean mainnet"),
        ({"category": "futures"}, "choose one of spot, linear, inverse, option"),
        ({"exchange": "binance", "category": "spot"}, "choose one of bybit"),
    ],
)
def test_a_wrong_override_is_refused_when_loading(options: dict[str, str], text: str) -> None:
    """Not with the first call."""
    with pytest.raises((ConfigError, UsageError), match=text):
        ExchangeManager.load(**options)  # type: ignore[arg-type]


def test_overrides_of_one_of_several_exchanges_must_say_which(tmp_path: Path) -> None:
    """An address for one is wrong for the others."""
    two = FILE + "  other: {adapter: bybit, pipeline: slow, environment: testnet}\n"
    path = written(tmp_path, two)
    with pytest.raises(ConfigError, match=r"say which is meant with exchange= \(bybit, other\)"):
        ExchangeManager.load(path, base_url="http://127.0.0.1:1")
    manager = ExchangeManager.load(path, exchange="other", base_url="http://127.0.0.1:1")
    assert manager.exchange("other").base_url == "http://127.0.0.1:1"
    assert manager.exchange("bybit").base_url == "http://127.0.0.1:9"


WRONG = [  # text in the file, its replacement, line, what the error says
    ("adapter: bybit", "adapter: binance", 8, "unknown adapter 'binance' (allowed: bybit)"),
    ("adapter: bybit, ", "", 8, "the key adapter is missing (allowed: bybit)"),
    ("pipeline: market", "pipeline: markets", 8, "no pipeline is named 'markets'; did you mean market?"),
    ("pipeline: market, ", "", 8, "the key pipeline is missing"),
    ("base_url: URL", "base_url: http://api.bybit.com", 8, "http is allowed on loopback only"),
    ("base_url: URL", "category: futures", 8, "futures"),
    ("base_url: URL", "enviroment: demo", 8, "unknown key; did you mean environment?"),
    ("base_url: URL", "environment: demo, ban_pause: 600", 8, "600"),
    ("base_url: URL", "operations: {tickr: {pipeline: slow}}", 8, "unknown operation; did you mean ticker?"),
    ("base_url: URL", "operations: {ticker: {pipeline: fast}}", 8, "no pipeline is named 'fast'"),
    ("base_url: URL", "credentials: {key: \"${env:BYBIT_NOT_SET_1}\", secret: x}", 8, "BYBIT_NOT_SET_1 is not set"),
    ("kind: aiohttp", "kind: httpx", 3, "unknown kind 'httpx'; did you mean aiohttp? (allowed: aiohttp)"),
    ("limit: 7", "limit: 0", 3, "limit is 0, must be a whole number of at least 1"),
    ("limit: 7", "keepalive: 30", 3, "30"),
    ("pool: rest]\n  slow", "pool: rst]\n  slow", 5, "no resource is named 'rst'; did you mean rest?"),
    ("timeout: 10s, pool: rest", "timeout: 10s", 5, "has 0 pools, must have one that lends the HTTP session"),
    ("timeout: 10s, pool: rest", "pool: rest, pool: rest", 5, "has 2 pools"),
    ("version: 1", "version: 2", 1, "version"),
    (FILE, "- 1\n", 1, "must be a mapping of version, resources"),
    (EXCHANGES, "exchanges: &a {}\n", 7, "anchor"),
    ("base_url: URL", 'ban_text: " "', 8, "ban_text is empty"),
    (RESOURCES, "resources: {}\n", 2, "must be a mapping of names to settings"),
    (EXCHANGES, "", 1, "the key exchanges is missing"),
    (PIPELINES, "", 1, "the key pipelines is missing"),
    ("version: 1\n", "version: 1\ntelemetri: {}\n", 2, "unknown key; did you mean telemetry?"),
    ("version: 1\n", "version: 1\ntelemetry: {traces: some}\n", 2, "some"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG)
def test_a_mistake_in_a_file_is_told_with_its_place(old: str, new: str, line: int, says: str, tmp_path: Path) -> None:
    """One line: file, line, column, the path of keys, what was found and what is allowed."""
    assert old in FILE
    path = written(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        ExchangeManager.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}:{line}:")
    assert any(says in str(problem) for problem in caught.value.problems)  # type: ignore[attr-defined]


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        ExchangeManager.load(tmp_path / "nowhere.yaml")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    """Sections are read to their ends."""
    text = FILE.replace("aiohttp", "httpx").replace("adapter: bybit", "adapter: b").replace("version: 1", "version: x")
    text = text.replace("timeout: 10s", "timeout: 10")
    with pytest.raises(ConfigError, match=r"\(and 3 more\)$"):
        read_config(str(written(tmp_path, text)))


def test_a_mistake_is_told_before_what_is_missing(tmp_path: Path) -> None:
    """The missing section would stand on line 1 and hide the line to look at."""
    path = written(tmp_path, "version: 1\npipelines:\n  market: [retry: {atempts: 4}]\n")
    with pytest.raises(ConfigError, match=r"exchanges\.yaml:3:.*did you mean attempts") as caught:
        read_config(str(path))
    assert "more" not in str(caught.value)


def test_resources_can_be_left_out(tmp_path: Path) -> None:
    """A session with the usual numbers is there, under the usual name."""
    manager = ExchangeManager.load(written(tmp_path, FILE.replace(RESOURCES, "")))
    assert manager.status()["pools"]["rest"]["limit_per_host"] == 30


def test_sections_can_be_checked_alone() -> None:
    """For ``resilience check``, which owns the rest of the file."""
    root = Document.parse(FILE.replace("URL", "http://127.0.0.1:1"))
    check_resources(root)
    check_exchanges(root)
    wrong = Document.parse(FILE.replace("URL", "http://example.org").replace("limit: 7", "limit: no"))
    with pytest.raises(ConfigError, match="resources"):
        check_resources(wrong)
    with pytest.raises(ConfigError, match="exchanges"):
        check_exchanges(wrong)


def test_operations_are_routed_to_their_pipelines(tmp_path: Path) -> None:
    """And both pipelines share one session; limits of the file reach it."""

    async def main() -> None:
        text = FILE.replace("base_url: URL", "base_url: URL, operations: {ohlcv: {pipeline: slow}}")
        recorder = Recorder()
        async with Simulator() as simulator:
            async with ExchangeManager.load(written(tmp_path, text, simulator.url), observers=[recorder]) as manager:
                await manager.fetch_ticker("bybit", "BTCUSDT")
                await manager.fetch_ohlcv("bybit", "BTCUSDT")
                pool = manager.status()["pools"]["rest"]
            assert simulator.connections == 1
        assert [call.pipeline for call in recorder.calls] == ["bybit.market", "bybit.slow"]
        assert (pool["limit"], pool["limit_per_host"], pool["requests"], pool["opened"]) == (7, 3, 2, 1)

    run(main)


# -- secrets ------------------------------------------------------------------------------------------------------


def test_credentials_are_held_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the settings' repr, in no copy of them, and not in the status."""
    monkeypatch.setenv("BYBIT_API_KEY", "canary-key-1234")
    monkeypatch.setenv("BYBIT_API_SECRET", "canary-secret-5678")
    credentials = 'credentials: {key: "${env:BYBIT_API_KEY}", secret: "${env:BYBIT_API_SECRET}"}, base_url: URL'
    path = written(tmp_path, FILE.replace("base_url: URL", credentials))
    config = read_config(str(path))
    held = config.exchanges["bybit"].credentials
    assert (held.key.reveal(), held.secret.reveal()) == ("canary-key-1234", "canary-secret-5678")
    shown = f"{config!r} {config} {copy.deepcopy(held)!r} {ExchangeManager.load(path).status()}"
    assert "canary" not in shown
    assert "***" in shown


def test_a_secret_gives_itself_away_nowhere() -> None:
    """Printing, formatting, pickling and hashing included."""
    held = Secret("canary")
    assert {repr(held), str(held), f"{held}", f"{held:>3}", "%s" % held} == {"***"}  # noqa: UP031
    assert held == Secret("canary")
    assert held != Secret("other")
    assert held != "canary"
    for leak in (pickle.dumps, json.dumps, hash):
        with pytest.raises(TypeError) as caught:
            leak(held)
        assert "canary" not in str(caught.value)
    assert copy.copy(held) is held
    with pytest.raises(ValueError, match="empty"):
        Secret.from_config(" ")


# -- how it stands ------------------------------------------------------------------------------------------------

POOL = {"limit", "limit_per_host", "active", "idle", "waiting", "opened", "renewed", "requests"}


def test_the_status_is_plain_data_in_the_promised_shape() -> None:
    """Before the first call and after it."""

    async def main() -> None:
        async with Simulator() as simulator:
            async with ExchangeManager.load(base_url=simulator.url) as manager:
                before = manager.status()
                assert set(before) == {"pools", "breakers", "limits", "pipelines", "config"}
                assert before["pools"] == {"rest": {**dict.fromkeys(POOL, 0), "limit": 100, "limit_per_host": 30}}
                assert before["breakers"] == {}
                for _ in range(3):
                    await manager.fetch_ticker("bybit", "BTCUSDT")
                after = manager.status()
            json.dumps([before, after])
            assert set(after["pools"]["rest"]) == POOL
            assert [after["pools"]["rest"][name] for name in ("opened", "idle", "active", "requests")] == [1, 1, 0, 3]
            (breaker,) = after["breakers"].values()
            assert set(breaker) >= {"state", "since", "failure_rate", "calls", "opens"}
            assert (breaker["state"], breaker["calls"]) == ("closed", 3)
            assert list(after["breakers"]) == [f"bybit.market:{simulator.url.removeprefix('http://')}"]
            assert list(after["limits"]) == ["bybit.market:ip"]
            assert after["pipelines"]["bybit.market"]["policies"][:2] == ["Deadline", "Retry"]
            assert after["pipelines"]["bybit.market"]["bulkhead"]["busy"] == 0
            assert after["config"]["error"] is None
            assert after["config"]["file"].endswith("bybit.yaml")
            assert manager.status()["pools"]["rest"]["opened"] == 1  # the count outlives the session

    run(main)


def test_a_limit_per_address_is_one_for_all_pipelines_of_an_exchange(tmp_path: Path) -> None:
    """Two pipelines, one IP: the status lists one limiter, which counted both calls."""

    async def main() -> None:
        text = FILE.replace("[timeout", "[rate_limit: {rate: 600/5s, key: ip}, timeout")
        text = text.replace("base_url: URL", "base_url: URL, operations: {ohlcv: {pipeline: slow}}")
        async with Simulator() as simulator, ExchangeManager.load(written(tmp_path, text, simulator.url)) as manager:
            await manager.fetch_ticker("bybit", "BTCUSDT")
            await manager.fetch_ohlcv("bybit", "BTCUSDT")
            (limit,) = manager.status()["limits"].values()
        assert limit["used"] == 2

    run(main)


def test_closing_is_clean_final_and_can_be_repeated() -> None:
    """Warnings are errors here, so an unclosed session would fail; a later call says what to do."""

    async def main() -> None:
        async with Simulator() as simulator:
            manager = ExchangeManager.load(base_url=simulator.url)
            await manager.fetch_ticker("bybit", "BTCUSDT")
            await manager.aclose()
            await manager.aclose()
            with pytest.raises(UsageError, match="closed: load another"):
                await manager.fetch_ticker("bybit", "BTCUSDT")
            assert manager.status()["pools"]["rest"]["opened"] == 1 == simulator.connections


def test_leaving_between_two_pages_leaks_nothing() -> None:
    """A call that outlives its manager ends with an error, and opens no session that nobody would close."""

    async def main() -> None:
        async with Simulator() as simulator:
            async with ExchangeManager.load(base_url=simulator.url) as manager:
                task = asyncio.ensure_future(manager.fetch_risk_limits("bybit"))
                async with asyncio.timeout(20):
                    while len(simulator.requests) < 3:
                        await asyncio.sleep(0.001)
            with pytest.raises((UsageError, TransportError)):
                await task
            seen = len(simulator.requests)
            await asyncio.sleep(0.05)
            assert len(simulator.requests) == seen

    run(main)


def test_the_files_telemetry_prints_spans_and_is_closed_with_the_manager(tmp_path: Path) -> None:
    """A provider of our own hands over its last spans when the block ends."""
    program = (
        "import asyncio, sys\n"
        "from exchanges import ExchangeManager\n"
        "from exchanges.bybit.simulator import Simulator\n"
        "async def main():\n"
        "    async with Simulator() as simulator:\n"
        "        async with ExchangeManager.load(sys.argv[1], base_url=simulator.url) as manager:\n"
        "            await manager.fetch_ticker('bybit', 'BTCUSDT')\n"
        "asyncio.run(main())\n"
    )
    path = written(tmp_path, FILE + "telemetry: {traces: always, console: true}\n")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = {json.loads(line)["name"] for line in done.stderr.splitlines()}
    assert names == {"ticker", "GET /v5/market/tickers"}
    assert done.stdout == ""


def test_importing_the_package_brings_neither_http_nor_yaml() -> None:
    """What costs an import is imported when it is used: loading a file needs YAML, the first call needs aiohttp."""
    program = (
        "import sys, exchanges\n"
        "assert not {'aiohttp', 'yaml', 'msgspec'} & set(sys.modules), 'import exchanges'\n"
        "exchanges.ExchangeManager.load()\n"
        "assert 'aiohttp' not in sys.modules, 'load'\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)  # noqa: S603
