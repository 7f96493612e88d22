"""The hand-over to an exporter: down, slow or refusing, it never touches a call, and every span is counted once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from resilience import Op, Pipeline, Retry
from resilience.telemetry import Handover, TelemetrySettings, Tracer, start
from resilience.telemetry.current import SUPPRESSED
from resilience.telemetry.export import OwnTracer
from resilience.testing import Script

READ = Op("read", idempotent=True)


class Exporter(SpanExporter):
    """Does what it is told with a batch, and remembers what it took."""

    def __init__(self, act: Callable[[], Any] = lambda: SpanExportResult.SUCCESS) -> None:
        self.act = act
        self.taken: list[int] = []
        self.ended = 0
        self.suppressed: set[Any] = set()

    def export(self, spans: Any) -> Any:
        self.suppressed.add(context_api.get_value(SUPPRESSED))
        result = self.act()
        self.taken.append(len(spans))
        return result

    def shutdown(self) -> None:
        self.ended += 1


def fail() -> Any:
    raise ConnectionRefusedError("down")


def calls(handover: Handover, number: int) -> list[Any]:
    """So many calls, each of two spans, all kept; their outcomes."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(handover)

    async def play() -> list[Any]:
        pipeline = Pipeline(Retry(attempts=2, wait=0), observers=(Tracer(provider, "always"),))
        return [await pipeline.run(Script(n), op=READ) for n in range(number)]

    return asyncio.run(play())


def test_what_comes_in_goes_out_in_batches() -> None:
    """All of it, when it ends at the latest; the exporter is shut down once, and traces nothing of its own."""
    exporter = Exporter()
    handover = Handover(exporter, batch=30, every=60)
    assert calls(handover, 50) == list(range(50))
    assert handover.status() == {"queued": 100, "exported": 0, "failed": 0, "dropped": 0}
    handover.shutdown()
    handover.shutdown()
    assert exporter.taken == [30, 30, 30, 10]
    assert handover.status() == {"queued": 0, "exported": 100, "failed": 0, "dropped": 0}
    assert (exporter.ended, exporter.suppressed) == (1, {True})
    assert calls(handover, 1) == [0]
    assert handover.status()["dropped"] == 2


def test_it_looks_by_itself() -> None:
    """Nobody has to wake it."""
    exporter = Exporter()
    handover = Handover(exporter, every=0.01)
    calls(handover, 5)
    until = time.monotonic() + 10
    while handover.status()["exported"] < 10 and time.monotonic() < until:
        time.sleep(0.005)  # a thread, which no virtual time moves
    assert handover.status() == {"queued": 0, "exported": 10, "failed": 0, "dropped": 0}
    handover.shutdown()


def test_a_flush_waits_for_what_was_there() -> None:
    """And says whether it was done in time."""
    gate = threading.Event()
    exporter = Exporter(lambda: gate.wait(10) and SpanExportResult.SUCCESS)
    handover = Handover(exporter, every=60)
    calls(handover, 1)
    assert not handover.force_flush(10)
    gate.set()
    assert handover.force_flush()
    assert handover.status()["exported"] == 2
    handover.shutdown()


def test_a_slow_exporter_costs_no_call_anything_and_drops_are_exact() -> None:
    """It holds one batch for ever: the queue fills to its bound, the rest is dropped, the newest first."""
    gate = threading.Event()
    exporter = Exporter(lambda: gate.wait(60) and SpanExportResult.SUCCESS)
    handover = Handover(exporter, most=100, batch=10, every=0.001)
    assert calls(handover, 1000) == list(range(1000))
    status = handover.status()
    assert status["exported"] == status["failed"] == 0
    assert 100 <= status["queued"] <= 110
    assert status["queued"] + status["dropped"] == 2000
    assert len(handover._queue) <= 100
    gate.set()
    handover.shutdown()
    status = handover.status()
    assert status["exported"] == sum(exporter.taken)
    assert status["exported"] + status["dropped"] == 2000
    assert status["queued"] == 0


@pytest.mark.parametrize("act", [fail, lambda: SpanExportResult.FAILURE], ids=["down", "refusing"])
def test_what_an_exporter_refuses_is_counted_as_failed(act: Callable[[], Any], caplog: Any) -> None:
    """Calls go on; an error is logged once. At the end it is asked once more, and not for every batch."""
    exporter = Exporter(act)
    handover = Handover(exporter, batch=10, every=60)
    with caplog.at_level(logging.ERROR):
        assert calls(handover, 10) == list(range(10))
        assert handover.force_flush()
        assert handover.status() == {"queued": 0, "exported": 0, "failed": 20, "dropped": 0}
        assert calls(handover, 10) == list(range(10))
        handover.shutdown()
    assert handover.status() == {"queued": 0, "exported": 0, "failed": 30, "dropped": 10}
    assert len(caplog.records) == (1 if act is fail else 0)


def test_drops_are_told_in_the_log_but_not_each(caplog: Any) -> None:
    """One line for those since the last one, and none within a minute."""
    handover = Handover(Exporter(), most=10, every=60)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            calls(handover, 10)
            assert handover.force_flush()
    assert [record.message for record in caplog.records] == [
        "10 spans were dropped: the exporter is slower than they come; calls go on"
    ]
    assert handover.status() == {"queued": 0, "exported": 30, "failed": 0, "dropped": 30}
    handover.shutdown()


def test_several_threads_are_counted_exactly() -> None:
    """Four loops in four threads fill one queue while it is emptied."""
    exporter = Exporter()
    handover = Handover(exporter, most=50, batch=7, every=0.001)
    threads = [threading.Thread(target=calls, args=(handover, 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handover.shutdown()
    status = handover.status()
    assert status["exported"] == sum(exporter.taken)
    assert status["exported"] + status["dropped"] == 1600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_exports_its_own_and_nothing_of_its_parent() -> None:
    """It has a thread of its own, and counts from nought."""
    handover = Handover(Exporter(), every=60)
    calls(handover, 3)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            calls(handover, 1)
            handover.shutdown()
            code = 0 if handover.status() == {"queued": 0, "exported": 2, "failed": 0, "dropped": 0} else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert handover.status()["queued"] == 6
    handover.shutdown()


def test_a_tracer_of_ours_tells_how_it_stands(capsys: Any) -> None:
    """Summed over its exporters; after the end all is out."""
    tracer = start(TelemetrySettings(traces="always", console=True))
    assert isinstance(tracer, OwnTracer)

    async def play() -> None:
        await Pipeline(observers=(tracer,)).run(Script("done"), op=READ)
        await tracer.aclose()

    asyncio.run(play())
    assert tracer.status() == {"queued": 0, "exported": 2, "failed": 0, "dropped": 0}
    assert capsys.readouterr().err.count("\n") == 2
