"""What was wrong about files that configure exchanges: errors without a place, and demands on what nobody uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchanges import ExchangeManager
from exchanges.cli import main as exchanges
from resilience import ConfigError
from resilience.cli import main as resilience

NOWHERE = "http://127.0.0.1:1"
TWO = """version: 1
pipelines: {market: [timeout: 1s, pool: rest]}
exchanges:
  a: {adapter: bybit, pipeline: market}
  b: {adapter: bybit, pipeline: market}
"""
SIMULATOR = """version: 1
pipelines: {market: [timeout: 1s, pool: rest]}
exchanges:
  bybit: {adapter: bybit, pipeline: market, environment: simulator}
"""


ONE = "exchanges: {e: {adapter: bybit, pipeline: p"
NAMED_NULL = "pipelines: {p: [pool: rest], 'null': [pool: rest]}\n" + ONE


def write(folder: Path, text: str) -> str:
    path = folder / "exchanges.yaml"
    path.write_text(text)
    return str(path)


def test_base_url_is_for_the_exchange_that_is_fetched_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With two exchanges in the file, ``--exchange`` says which of them ``--base-url`` is about."""
    path = write(tmp_path, TWO)
    assert exchanges(["fetch", "ticker", "X", "--config", path, "--exchange", "b", "--base-url", NOWHERE]) == 1
    assert "127.0.0.1:1: connection refused" in capsys.readouterr().err


def test_a_simulator_without_an_address_is_an_error_with_a_place(tmp_path: Path) -> None:
    """The file and the line are named; an address given to `load` makes the file good."""
    path = write(tmp_path, SIMULATOR)
    with pytest.raises(ConfigError, match=r"exchanges\.yaml:4:\d+: exchanges\.bybit: .*set base_url"):
        ExchangeManager.load(path)
    ExchangeManager.load(path, base_url=NOWHERE)


def test_a_pipeline_that_guards_no_exchange_needs_no_pool(tmp_path: Path) -> None:
    """A file may hold pipelines for other callers beside those of its exchanges."""
    ExchangeManager.load(write(tmp_path, TWO.replace("rest]}", "rest], other: [timeout: 1s]}")))


@pytest.mark.parametrize(("stack", "count"), [("timeout: 1s", 0), ("pool: rest, pool: rest", 2)])
def test_check_finds_a_pipeline_that_lends_no_session(
    tmp_path: Path, stack: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """`resilience check` must not call clean what `ExchangeManager.load` refuses; two exchanges are told once."""
    path = write(tmp_path, TWO.replace("timeout: 1s, pool: rest", stack))
    assert resilience(["check", path]) == 2
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count(f"has {count} pools") == 1
    with pytest.raises(ConfigError, match=rf"exchanges\.yaml:2:\d+: pipelines\.market: has {count} pools"):
        ExchangeManager.load(path)


@pytest.mark.parametrize("off", ["null", "off", "'off'"])
def test_an_operation_takes_its_timeout_away(tmp_path: Path, off: str) -> None:
    """``timeout: off`` was read as a time there, as the exception for that operation."""
    stack = "pipelines: {p: [deadline: 9s, timeout: 1s, pool: rest]}"
    path = write(
        tmp_path, f"version: 1\n{stack}\n{ONE}, operations: {{ticker: {{timeout: {off}, deadline: 5s}}}}}}}}\n"
    )
    assert resilience(["check", path]) == 0
    pipelines = {pipeline.name: pipeline for pipeline in ExchangeManager.load(path).pipelines}
    assert [type(policy).__name__ for policy in pipelines["e.p/ticker"].policies] == ["Deadline", "Pool"]
    assert [type(policy).__name__ for policy in pipelines["e.p"].policies] == ["Deadline", "Timeout", "Pool"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ONE + "}}", "the key pipelines is missing"),
        ("pipelines: {p: [timeout: 1s, pool: rets]}\n" + ONE + "}}", "no resource is named 'rets'"),
        (NAMED_NULL + ", operations: {ohlcv: {pipeline: null}}}}", "no pipeline is named nothing"),
        ("pipelines: {p: [pool: rest]}\n" + ONE + ", credentials: {key: 0123, secret: x}}}", "put it in quotes"),
    ],
)  # fmt: skip
def test_check_finds_what_no_exchange_can_be_made_of(
    tmp_path: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No pipelines at all; a pool of another name than the one session that there is; and a null that is no name.

    A key of digits alone is no text, and YAML's versions read different numbers.
    """
    path = write(tmp_path, f"version: 1\n{text}\n")
    assert resilience(["check", path]) == 2
    captured = capsys.readouterr()
    assert told in captured.out + captured.err
    with pytest.raises(ConfigError, match=told):
        ExchangeManager.load(path)
