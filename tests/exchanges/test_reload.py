"""The manager follows its file, over real sockets: what did not change keeps its session, what did gets a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from exchanges import ExchangeManager, UsageError
from exchanges.bybit.simulator import Simulator
from exchanges.config import read_config
from exchanges.manager import ExchangeManager as Manager
from resilience import CircuitOpen, Timeout

FILE = """\
version: 1
resources:
  rest: {kind: aiohttp, limit: 7}
  other: {kind: aiohttp, limit: 5}
pipelines:
  market: [breaker: {consecutive: 1, open_for: 1h, max_open_for: 2h, key: host}, bulkhead: 9, timeout: 10s, pool: rest]
  slow: [timeout: 30s, pool: other]
exchanges:
  bybit: {adapter: bybit, pipeline: market, base_url: URL, operations: {ohlcv: {pipeline: slow}}}
"""
put = Path.write_text  # small files of the test itself


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


def timeout(manager: ExchangeManager, name: str = "bybit.market") -> float:
    (pipeline,) = [pipeline for pipeline in manager.pipelines if pipeline.name == name]
    return next(policy.seconds for policy in pipeline.policies if isinstance(policy, Timeout))


def test_what_did_not_change_keeps_its_session_and_what_did_gets_a_new_one(tmp_path: Path) -> None:
    """The old session serves the call that began on it, and is closed when that is back."""

    async def main() -> None:
        path = tmp_path / "exchanges.yaml"
        async with Simulator() as simulator:
            text = FILE.replace("URL", simulator.url)
            put(path, text)
            async with ExchangeManager.load(path) as manager:
                bybit = manager.exchange("bybit")
                await manager.fetch_ticker("bybit", "BTCUSDT")
                await manager.fetch_ohlcv("bybit", "BTCUSDT")
                lender = manager.pipelines[1].states["pool:other"]
                first = lender._slot.resource
                put(path, text.replace("limit: 5", "limit: 6").replace("10s", "9s"))
                begun = asyncio.create_task(manager.fetch_ohlcv("bybit", "BTCUSDT"))
                await asyncio.sleep(0)
                outcome = manager.reload()
                assert outcome
                assert [str(change) for change in outcome.changes] == [
                    "bybit.market: changed timeout (seconds 10 -> 9)",
                    "bybit.slow: changed pool (open)",
                ]
                assert (await begun)[0].open
                assert await manager.fetch_ohlcv("bybit", "BTCUSDT")
                await manager.fetch_ticker("bybit", "BTCUSDT")
                async with asyncio.timeout(5):
                    while not first.closed:
                        await asyncio.sleep(0.005)
                pools = manager.status()["pools"]
                assert (pools["rest"]["opened"], pools["rest"]["limit"], pools["other"]["limit"]) == (1, 7, 6)
                assert (timeout(manager), manager.exchange("bybit")) == (9, bybit)
                second = manager.pipelines[1].states["pool:other"]._slot.resource
            assert second.closed
            with pytest.raises(UsageError, match="closed"):
                await manager.fetch_ohlcv("bybit", "BTCUSDT")

    run(main)


def test_breakers_stay_open_and_another_address_has_another_circuit(tmp_path: Path) -> None:
    """A call through the adapter that somebody holds goes to the new address."""

    async def main() -> None:
        path = tmp_path / "exchanges.yaml"
        async with Simulator() as simulator:
            put(path, FILE.replace("URL", "http://127.0.0.1:9"))
            async with ExchangeManager.load(path) as manager:
                bybit = manager.exchange("bybit")
                with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
                    await bybit.fetch_ticker("BTCUSDT")
                put(path, FILE.replace("URL", "http://127.0.0.1:9").replace("10s", "9s"))
                assert manager.reload()
                with pytest.raises(CircuitOpen):
                    await bybit.fetch_ticker("BTCUSDT")
                put(path, FILE.replace("URL", simulator.url))
                assert manager.reload()
                assert (await bybit.fetch_ticker("BTCUSDT")).last
                states = {key: row["state"] for key, row in manager.status()["breakers"].items()}
                assert sorted(states.values()) == ["closed", "open"]

    run(main)


def test_a_bad_file_or_a_missing_variable_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is read again with the file; overrides that `load` was given stay."""
    path = tmp_path / "exchanges.yaml"
    more = ', credentials: {key: "${env:BYBIT_KEY}", secret: "${env:BYBIT_KEY}"}'
    text = FILE.replace("URL,", f"http://127.0.0.1:9{more},")
    monkeypatch.setenv("BYBIT_KEY", "canary-1")
    path.write_text(text)
    manager = ExchangeManager.load(path, category="spot")
    before = manager.status()["config"]
    assert before["error"] is None
    monkeypatch.delenv("BYBIT_KEY")
    path.write_text(text.replace("10s", "9s"))
    assert "BYBIT_KEY" in str(manager.reload())
    assert timeout(manager) == 10
    monkeypatch.setenv("BYBIT_KEY", "canary-2")
    outcome = manager.reload()
    assert outcome
    assert timeout(manager) == 9
    assert manager._following.made.config.exchanges["bybit"].credentials.key.reveal() == "canary-2"
    path.write_text(text.replace("category", "x").replace("adapter: bybit", "adapter: bibit"))
    outcome = manager.reload()
    assert not outcome
    assert manager.status()["config"]["error"] == outcome.error
    assert "bibit" in str(outcome.error)
    assert manager.exchange("bybit").category == "spot"
    assert "canary" not in str(outcome)


def test_exchanges_come_and_go(tmp_path: Path) -> None:
    """A new one is there at once; one that is gone is no longer known, and whoever holds its adapter goes on."""

    async def main() -> None:
        path = tmp_path / "exchanges.yaml"
        async with Simulator() as simulator:
            text = FILE.replace("URL", simulator.url)
            put(path, text)
            async with ExchangeManager.load(path) as manager:
                held = manager.exchange("bybit")
                await held.fetch_ticker("BTCUSDT")
                put(path, text.replace("  bybit: {", "  second: {"))
                assert manager.reload()
                assert (await manager.fetch_ticker("second", "BTCUSDT")).last
                with pytest.raises(UsageError, match="second"):
                    manager.exchange("bybit")
                assert (await held.fetch_ticker("BTCUSDT")).last
                assert manager.status()["config"]["removed"] == ["bybit.market", "bybit.slow"]
                assert simulator.connections == 1

    run(main)


def test_an_override_of_an_exchange_that_left_the_file_is_an_error(tmp_path: Path) -> None:
    """What `load` was told about `bybit` cannot be done any more: said, and nothing changes."""
    path = tmp_path / "exchanges.yaml"
    path.write_text(FILE)
    with pytest.raises(Exception, match="base_url"):
        ExchangeManager.load(path)
    path.write_text(FILE.replace("URL", "http://127.0.0.1:9"))
    manager = ExchangeManager.load(path, exchange="bybit", base_url="http://127.0.0.1:8")
    path.write_text(FILE.replace("URL", "http://127.0.0.1:9").replace("  bybit: {", "  second: {"))
    assert not manager.reload()
    assert "second" in str(manager.status()["config"]["error"])
    assert manager.exchange("bybit").base_url == "http://127.0.0.1:8"


def test_a_watching_manager_follows_its_file(tmp_path: Path) -> None:
    """``load(watch=True)``; and the built-in configuration can be read again as well."""

    async def main() -> None:
        path = tmp_path / "exchanges.yaml"
        text = FILE.replace("URL", "http://127.0.0.1:9")
        put(path, text)
        async with ExchangeManager.load(path, watch=True, every=0.005) as manager:
            put(path, text.replace("10s", "8s"))
            async with asyncio.timeout(20):
                while timeout(manager) != 8:
                    await asyncio.sleep(0.002)
            put(path, "version: [")
            async with asyncio.timeout(20):
                while manager.status()["config"]["error"] is None:
                    await asyncio.sleep(0.002)
            assert timeout(manager) == 8

    run(main)
    assert ExchangeManager.load().reload()
    config: Any = read_config(str(Path(__file__).parents[2] / "exchanges" / "bybit" / "bybit.yaml"))
    assert "not made of a file" in str(Manager(config).reload())


def test_a_manager_is_shadowed_by_another_file(tmp_path: Path) -> None:
    """Nothing more is sent: the simulator counts."""

    async def main() -> None:
        path, other = tmp_path / "exchanges.yaml", tmp_path / "other.yaml"
        async with Simulator() as simulator:
            text = FILE.replace("URL", simulator.url)
            put(path, text)
            put(other, text.replace("timeout: 10s", "timeout: 0.001ms"))  # loopback may take less than 1 ms
            async with ExchangeManager.load(path) as manager:
                with manager.shadow(other) as shadow:
                    for _ in range(3):
                        await manager.fetch_ticker("bybit", "BTCUSDT")
                (finding,) = shadow.report().findings
                assert (finding.pipeline, finding.policy, finding.what) == ("bybit.market", "timeout", "cuts")
                assert len(simulator.requests) == 3

    run(main)


def test_a_reload_tells_what_the_linter_finds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, with the place in the file; it is in force all the same."""
    path = tmp_path / "exchanges.yaml"
    good = (
        "version: 1\npipelines:\n  market: [rate_limit: {rate: 600/5s, key: ip}, timeout: 5s, pool: rest]\n"
        "exchanges:\n  bybit: {adapter: bybit, pipeline: market}\n"
    )
    path.write_text(good)
    manager = ExchangeManager.load(path)
    path.write_text(good.replace("600/5s", "700/5s"))
    assert manager.reload()
    assert f"{path}:3:" in caplog.text
    assert "[rate-limit-above-quota]" in caplog.text
