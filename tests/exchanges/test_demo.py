"""The demonstration: what it prints, and the parts that it is made of."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from exchanges.demo import run
from exchanges.demo.tally import Tally, outcome_of, quantile
from exchanges.demo.waterfall import waterfall
from exchanges.errors import ApiError, TransportError
from resilience import BulkheadFull, Kind, Op, Pipeline, Retry, TimedOut, Timeout, Verdict
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)


def test_it_runs_and_tells_the_whole_story() -> None:
    """Three acts, a summary of both arms, one retried call; exit code 0, nothing on stderr, warnings being errors."""
    command = [sys.executable, "-W", "error", "-m", "exchanges.cli", "demo", "--seconds", "2", "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)  # noqa: S603 (ours)
    assert (result.returncode, result.stderr) == (0, "")
    for phrase in (
        "Nine tickers, one after the other",
        "on 1 connection",
        "with the pipeline",
        "session per request, no retry",
        "connections opened",
        "An outage of 1.5 s",
        "closed -> open",
        "half-open -> closed",
        "One retried call",
    ):
        assert phrase in result.stdout


def test_a_dashboard_stands_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Its address is the first line; it stays for the time that it says, with calls going on, and is gone then."""
    assert asyncio.run(run(seconds=1.0, seed=7, dashboard=True, stay=0.5)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("dashboard on http://127.0.0.1:")
    address = lines[0].rpartition(" ")[2]
    assert f"stays for 0.5 s, with calls going on: {address}" in lines[-1]
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()


@virtual
async def test_the_tally_counts_calls_attempts_and_causes() -> None:
    """And keeps the retried calls, of which the most telling survivor is drawn."""
    tally = Tally()
    pipeline = Pipeline(Retry(attempts=3, on=OSError, wait=1, jitter="none"), Timeout(2), observers=(tally,))
    await pipeline.run(Script("at once"), op=READ)
    await pipeline.run(Script(OSError(), never, after(0.5, "third")), op=READ)
    with pytest.raises(OSError, match="for ever"):
        await pipeline.run(Script(OSError("for ever")), op=READ)
    assert (tally.calls["read"], tally.succeeded["read"], tally.retried["read"]) == (3, 2, 2)
    assert tally.attempts["read"] == 7
    assert tally.causes == {"OSError": 4, "timeout": 1}
    story = tally.most_telling()
    assert story is not None
    assert [(bar.begun - story.begun, bar.ended - story.begun) for bar in story.bars] == [(0, 0), (1, 3), (4, 4.5)]
    lines = [line.plain for line in waterfall(story)]
    why, *lines = lines
    assert why == ("OSError once and 1 timeout, waited 1 s and 1 s, third attempt won; 44 % of the time was backoff.")
    assert lines[0] == "read: 4.50 s, 3 attempts, 2 of them in vain"
    assert [line.split()[0] for line in lines[1:]] == ["1", "backoff", "2", "backoff", "3"]
    assert "timeout" in lines[3]
    assert lines[-1].rstrip().endswith("ok")


@virtual
async def test_an_overlap_of_calls_is_kept_apart() -> None:
    """Events of calls that run at once land in their own stories."""
    tally = Tally()
    pipeline = Pipeline(Retry(attempts=2, on=OSError, wait=1, jitter="none"), observers=(tally,))
    calls = (pipeline.run(Script(after(n / 10, OSError()), n), op=READ) for n in range(5))
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert [len(story.bars) for story in tally.stories] == [2] * 5


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimedOut(1), "timeout"),
        (BulkheadFull("x"), "refused"),
        (TransportError("x", verdict=Verdict(Kind.UNKNOWN, "reset")), "reset"),
        (TransportError("x", verdict=Verdict(Kind.FAILED, "connect_timeout")), "timeout"),
        (TransportError("x", verdict=Verdict(Kind.UNKNOWN, "body_cut")), "bad payload"),
        (TransportError("x", verdict=Verdict(Kind.UNKNOWN, "http_502")), "exchange error"),
        (ApiError("x", code=10016, op="ticker", verdict=Verdict(Kind.UNKNOWN, "bybit.10016")), "exchange error"),
    ],
)
def test_outcomes_as_a_caller_sees_them(error: Exception, outcome: str) -> None:
    """Each error is one of a handful of things to a trader; a stranger is raised, not counted."""
    assert outcome_of(error) == outcome
    with pytest.raises(ZeroDivisionError):
        outcome_of(ZeroDivisionError())


def test_quantiles() -> None:
    """Of nothing, of one, of many."""
    assert quantile([], 0.5) == 0
    assert quantile([3], 0.99) == 3
    assert quantile(list(range(100)), 0.99) == 99
