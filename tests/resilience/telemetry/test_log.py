"""One line per call that failed or was retried, and what must never be in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from resilience import ConfigError, Hedge, Op, Pipeline, Retry, Timeout
from resilience.telemetry import CallLog
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)


class Kept(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What goes to the logger, at every level."""
    kept, logger = Kept(), logging.getLogger("resilience.calls")
    caplog.set_level(logging.DEBUG, "resilience.calls")
    logger.addHandler(kept)
    yield kept.lines
    logger.removeHandler(kept)


async def fail(pipeline: Pipeline, *steps: Any, op: Op = READ) -> None:
    await asyncio.gather(pipeline.run(Script(*steps), op=op), return_exceptions=True)


@virtual
async def test_a_clean_call_writes_nothing(lines: Any) -> None:
    """Not one line, at any level."""
    for policy in Retry(), Hedge(1):
        assert await Pipeline(policy, observers=(CallLog(),)).run(Script("done"), op=READ) == "done"
    assert lines == []


@virtual
async def test_a_retried_call_is_one_line_whatever_its_attempts(lines: Any) -> None:
    """At INFO: it went well in the end. The fields say the same as the words."""
    pipeline = Pipeline(Retry(attempts=4, wait=2, jitter="none"), name="market", observers=(CallLog(),))
    script = Script(ConnectionRefusedError(), ConnectionResetError(), ConnectionResetError(), "done")
    assert await pipeline.run(script, op=READ) == "done"
    (line,) = lines
    assert (line.levelname, line.name) == ("INFO", "resilience.calls")
    assert line.getMessage() == (
        "market: read succeeded after 4 attempts, 6.000 s; attempts: 1 ConnectionRefusedError, 2 ConnectionResetError"
    )
    fields = vars(line)
    assert {key: fields[key] for key in fields if key.startswith(("resilience.", "error.", "trace"))} == {
        "resilience.pipeline": "market", "resilience.op": "read", "resilience.outcome": "ok",
        "resilience.attempts": 4, "resilience.errors": {"ConnectionRefusedError": 1, "ConnectionResetError": 2},
        "resilience.seconds": 6.0, "error.type": "",
    }  # fmt: skip


@virtual
async def test_a_failed_call_is_one_warning(lines: Any) -> None:
    """With its outcome and cause, tried once or often."""
    await fail(Pipeline(Timeout(2), observers=(CallLog(),)), never)
    await fail(Pipeline(Retry(attempts=2, wait=0), name="m", observers=(CallLog(),)), ConnectionRefusedError())
    assert [line.levelname for line in lines] == ["WARNING", "WARNING"]
    assert lines[0].getMessage() == "read unknown (timeout) after 1 attempt, 2.000 s"
    assert lines[1].getMessage() == (
        "m: read failed (ConnectionRefusedError) after 2 attempts, 0.000 s; attempts: 2 ConnectionRefusedError"
    )


@virtual
async def test_a_cancelled_call_is_no_failure(lines: Any) -> None:
    """The caller knows that it gave up."""
    pipeline = Pipeline(Retry(), observers=(CallLog(),))
    task = asyncio.create_task(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lines == []


@virtual
async def test_a_hedged_call_is_told_of(lines: Any) -> None:
    """Its loser is no error."""
    await Pipeline(Hedge(1), observers=(CallLog(),)).run(Script(never, 1), op=READ)
    (line,) = lines
    assert line.getMessage() == "read succeeded after 2 attempts, 1.000 s"


@pytest.mark.parametrize("tracer_first", [True, False])
@virtual
async def test_the_line_names_the_trace(lines: Any, traced: Any, tracer_first: bool) -> None:
    """In words and in fields, whichever observer was named first."""
    observers = (traced.tracer(), CallLog()) if tracer_first else (CallLog(), traced.tracer())
    await fail(Pipeline(observers=observers), ValueError())
    (line,) = lines
    context = traced.call.context
    assert line.trace_id == f"{context.trace_id:032x}"
    assert line.span_id == f"{context.span_id:016x}"
    assert line.getMessage().endswith(f"; trace {line.trace_id}")


@virtual
async def test_no_secret_and_no_second_line(lines: Any) -> None:
    """Neither an exception's text nor an argument is ever shown, and a name cannot begin a line of its own."""
    pipeline = Pipeline(Retry(attempts=2, wait=0), name="a\nb", observers=(CallLog(),))
    script = Script(ConnectionRefusedError("canary-1"), ValueError("canary-2"))
    await asyncio.gather(
        pipeline.run(script, "canary-3", key="canary-4", op=Op("x\x1b[2J\n", idempotent=True)), return_exceptions=True
    )
    (line,) = lines
    assert "canary" not in f"{line.getMessage()} {vars(line)}"
    assert line.getMessage().startswith("a?b: x?[2J? rejected (ValueError)")
    assert line.exc_info is None


@virtual
async def test_an_outage_does_not_fill_the_disk(lines: Any) -> None:
    """So many lines a second; the next one tells how many are missing."""
    pipeline = Pipeline(observers=(CallLog(most=3),))
    for _ in range(10):
        await fail(pipeline, ValueError())
    assert len(lines) == 3
    await asyncio.sleep(1)
    for _ in range(2):
        await fail(pipeline, ValueError())
    assert len(lines) == 5
    assert lines[3].getMessage().endswith("; 7 lines like this were left out")
    assert getattr(lines[3], "resilience.log.left_out") == 7
    assert "left out" not in lines[4].getMessage()


@virtual
async def test_no_bound_means_no_bound(lines: Any) -> None:
    """0: every line is written."""
    pipeline = Pipeline(observers=(CallLog(most=0),))
    for _ in range(200):
        await fail(pipeline, ValueError())
    assert len(lines) == 200


@virtual
async def test_a_logger_of_the_users_and_its_level_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Below its level nothing is written, and nothing counts as left out."""
    logger = logging.getLogger("mine")
    caplog.set_level(logging.WARNING, "mine")
    log = CallLog(logger, most=1)
    pipeline = Pipeline(Retry(wait=0), observers=(log,))
    for _ in range(2):
        await pipeline.run(Script(ConnectionRefusedError(), 1), op=READ)
    await fail(pipeline, after(0, ValueError()))
    assert [(line.name, line.levelname) for line in caplog.records] == [("mine", "WARNING")]
    assert log.left_out == 0


@pytest.mark.parametrize("most", [-1, 0.5, True])
def test_the_bound_must_be_a_whole_number(most: Any) -> None:
    """Not negative."""
    with pytest.raises(ConfigError, match="most"):
        CallLog(most=most)
