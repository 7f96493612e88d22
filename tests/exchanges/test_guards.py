"""What an exchange and its operations say otherwise about the pipelines of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exchanges import ExchangeManager
from resilience import ConfigError, Pipeline, Timeout
from resilience.config import InvalidConfig, check_file
from resilience.testing import virtual

FILE = """\
version: 1
pipelines:
  market:
    - deadline: 60s
    - retry: {attempts: 4}
    - breaker: {key: host}
    - rate_limit: {rate: 600/5s, key: ip}
    - timeout: {seconds: 15s, per_op: {ohlcv: 30s, markets: 20s}}
    - pool: rest
  slow: {extends: market, timeout: 50s}
exchanges:
  bybit:
    adapter: bybit
    pipeline: market
"""


def manager(folder: Path, more: str) -> ExchangeManager:
    path = folder / "exchanges.yaml"
    path.write_text(FILE + more)
    assert check_file(path) == []
    return ExchangeManager.load(path)


def guarding(loaded: ExchangeManager, operation: str) -> Pipeline:
    pipeline: Pipeline = loaded.exchange("bybit")._pipelines[operation]
    return pipeline


def policy(pipeline: Pipeline, kind: str) -> Any:
    return next((each for each in pipeline.policies if type(each).__name__ == kind), None)


def problems(folder: Path, more: str) -> list[str]:
    path = folder / "exchanges.yaml"
    path.write_text(FILE + more)
    with pytest.raises(InvalidConfig) as caught:
        ExchangeManager.load(path)
    told = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert [str(problem).removeprefix(f"{path}:") for problem in check_file(path)] == told
    return told


def test_a_time_of_an_operation_becomes_an_exception_of_the_same_pipeline(tmp_path: Path) -> None:
    """So that one breaker, one bulkhead and one budget serve all operations as before."""
    loaded = manager(
        tmp_path, "    operations: {ohlcv: {timeout: 40s}, ticker: {timeout: {seconds: 5s}, deadline: 9s}}\n"
    )
    assert guarding(loaded, "ohlcv") is guarding(loaded, "ticker") is guarding(loaded, "trades")
    assert policy(guarding(loaded, "ohlcv"), "Timeout") == Timeout(15, {"ohlcv": 40, "markets": 20, "ticker": 5})
    assert policy(guarding(loaded, "ohlcv"), "Deadline").per_op == {"ticker": 9}


def test_a_time_that_the_pipeline_does_not_have_concerns_the_operation_alone(tmp_path: Path) -> None:
    """There is nothing of which it could be an exception."""
    path = tmp_path / "exchanges.yaml"
    route = "operations: {ohlcv: {timeout: 40s}}"
    path.write_text(
        f"version: 1\npipelines: {{m: [pool: rest]}}\nexchanges: {{bybit: {{adapter: bybit, pipeline: m, {route}}}}}\n"
    )
    loaded = ExchangeManager.load(path)
    assert policy(guarding(loaded, "ohlcv"), "Timeout") == Timeout(40)
    assert policy(guarding(loaded, "ticker"), "Timeout") is None


def test_an_operation_may_override_any_policy_in_a_pipeline_of_its_own(tmp_path: Path) -> None:
    """Which is named after both, and is the other in all that was not overridden."""
    loaded = manager(
        tmp_path, "    operations: {markets: {retry: {attempts: 2}, timeout: 29s, breaker: off, cache: 5s}}\n"
    )
    own, other = guarding(loaded, "markets"), guarding(loaded, "ticker")
    assert (own.name, other.name) == ("bybit.market/markets", "bybit.market")
    assert [type(each).__name__ for each in own.policies] == [
        "Cache",
        "Deadline",
        "Retry",
        "RateLimit",
        "Timeout",
        "Pool",
    ]
    assert policy(own, "Retry").attempts == 2
    assert policy(own, "Timeout").per_op["markets"] == 29
    assert policy(own, "RateLimit") == policy(other, "RateLimit")
    assert policy(other, "Retry").attempts == 4


def test_an_operation_may_name_a_pipeline_and_override_that(tmp_path: Path) -> None:
    """The exchange's own overrides hold for the pipeline that the exchange names, and for no other."""
    text = "    retry: {attempts: 3}\n    timeout: 7s\n"
    text += "    operations: {trades: {pipeline: slow}, ohlcv: {pipeline: slow, hedge: p95}}\n"
    loaded = manager(tmp_path, text)
    assert guarding(loaded, "ticker").name == "bybit.market"
    assert policy(guarding(loaded, "ticker"), "Timeout") == Timeout(7)
    assert policy(guarding(loaded, "ticker"), "Retry").attempts == 3
    assert guarding(loaded, "trades").name == "bybit.slow"
    assert policy(guarding(loaded, "trades"), "Timeout") == Timeout(50)
    assert guarding(loaded, "ohlcv").name == "bybit.slow/ohlcv"
    assert policy(guarding(loaded, "ohlcv"), "Hedge").delay == "p95"


def test_two_exchanges_override_the_same_pipeline_apart(tmp_path: Path) -> None:
    """What one says does not reach the other."""
    loaded = manager(tmp_path, "    timeout: 7s\n  other: {adapter: bybit, pipeline: market}\n")
    assert policy(guarding(loaded, "ticker"), "Timeout") == Timeout(7)
    other = loaded.exchange("other")._pipelines["ticker"]
    assert policy(other, "Timeout").seconds == 15


@virtual
async def _shared(own: Pipeline, other: Pipeline) -> bool:
    async def nothing(session: object) -> None:
        """Answers at once."""

    for pipeline in (own, other):
        pipeline._link()
    key = "rate_limit:bybit/ip/600/5s"
    return own.states[key] is other.states[key] and own.states["pool:rest"] is other.states["pool:rest"]


def test_what_can_be_shared_stays_shared(tmp_path: Path) -> None:
    """The limit of the IP address and the session are one for a pipeline and its overrides."""
    loaded = manager(tmp_path, "    operations: {markets: {retry: {attempts: 2}}}\n")
    assert _shared(guarding(loaded, "markets"), guarding(loaded, "ticker"))


def test_a_preset_lends_the_session_of_the_file(tmp_path: Path) -> None:
    """`pool: rest` of a preset is used where the file has such a resource, and missed where it has not."""
    path = tmp_path / "exchanges.yaml"
    text = "version: 1\npipelines: {m: {extends: virtuoso}}\nexchanges: {bybit: {adapter: bybit, pipeline: m}}\n"
    path.write_text(text)
    assert check_file(path) == []
    assert policy(guarding(ExchangeManager.load(path), "ticker"), "Pool").name == "rest"
    path.write_text(text + "resources: {main: {kind: aiohttp}}\n")
    (problem,) = check_file(path)
    assert (problem.line, problem.rule) == (2, "pools")
    path.write_text(text.replace("virtuoso", "virtuoso, pool: main") + "resources: {main: {kind: aiohttp}}\n")
    assert policy(guarding(ExchangeManager.load(path), "ticker"), "Pool").name == "main"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("operations: {create_order: {retry: {}}}", "15:18: operations.create_order: unknown operation ("),
        ("operations: {ohlcv: {timeout: 40}}", "15:35: operations.ohlcv.timeout: found '40', must be a time"),
        ("operations: {ohlcv: {timeout: 0s}}", "15:35: operations.ohlcv.timeout: Timeout: per_op['ohlcv'] is"),
        ("operations: {ohlcv: {timeot: 40s}}", "15:26: operations.ohlcv.timeot: unknown key; did you mean timeout?"),
        ("operations: {ohlcv: {retry: {atempts: 1}}}", "15:34: operations.ohlcv.retry.atempts: unknown key; did "),
        ("operations: {ohlcv: {}}", "15:25: operations.ohlcv: found an empty mapping, must be pipeline: NAME"),
        ("operations: {ohlcv: slow}", "15:25: operations.ohlcv: found 'slow', must be a mapping of pipeline"),
        ("operations: {ohlcv: {pipeline: slw, retry: {}}}", "15:36: operations.ohlcv.pipeline: no pipeline is named "),
        ("operations: {ohlcv: {pool: off}}", "15:25: operations.ohlcv: has 0 pools, must have one that "),
        ("operations: {ohlcv: {pool: {name: x}}}", "15:39: operations.ohlcv.pool.name: no resource is named 'x'"),
        ("timeot: 3s", "15:5: timeot: unknown key; did you mean timeout? (allowed: adapter, "),
        ("timeout: 3", "15:14: timeout: found '3', must be a time"),
        ("retry: *x", "15:12: retry: the alias *x is not allowed"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_override_is_told_with_its_place(more: str, expected: str, tmp_path: Path) -> None:
    """By `resilience check` exactly as by loading."""
    (found,) = problems(tmp_path, f"    {more}\n")
    assert found.replace("exchanges.bybit.", "", 1).startswith(expected)


def test_a_pipeline_of_the_file_keeps_its_name(tmp_path: Path) -> None:
    """One that is named as an override would be is refused rather than replaced."""
    path = tmp_path / "exchanges.yaml"
    text = FILE.replace("  slow:", "  market/ohlcv: [pool: rest]\n  slow:")
    path.write_text(text + "    operations: {ohlcv: {retry: off}}\n")
    with pytest.raises(ConfigError, match="a pipeline of the file is named 'market/ohlcv'; rename it"):
        ExchangeManager.load(path)
