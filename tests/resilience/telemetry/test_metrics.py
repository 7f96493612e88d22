"""Metrics are exact: every call and every attempt counts once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

import pytest

from resilience import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Coalesce,
    ConfigError,
    Fallback,
    Hedge,
    Op,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    Shed,
    Timeout,
)  # fmt: skip
from resilience.call import Attempt, Call, LimitReport, takes_call
from resilience.events import CallStarted, StateChanged
from resilience.telemetry import Metrics
from resilience.telemetry.families import Family, read
from resilience.telemetry.measures import BOUNDS, OTHER, OTHER_ERROR, Example, Histogram, Operation, bounded
from resilience.telemetry.prometheus import render
from resilience.telemetry.records import judged
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], Any]:
    """The points of one metric by the values of their labels; a histogram's is (sum, number)."""
    for family in read(metrics):
        if family.spec.name == name:
            return {tuple(value for _, value in point.labels): _plain(family, point) for point in family.points}
    return {}


def _plain(family: Family, point: Any) -> Any:
    return (pytest.approx(point.value), sum(point.counts)) if family.spec.kind == "histogram" else point.value


# -- histograms ----------------------------------------------------------------------------------------------------


def test_a_bound_belongs_to_its_bucket() -> None:
    """Upper edges are inclusive, as Prometheus' `le` says."""
    found = Histogram()
    for seconds in (0.0, 0.005, 0.0050001, 10.0, 10.1):
        found.record(seconds)
    assert found.counts == [2, 1, *[0] * 11, 1, 1]
    assert found.sum == pytest.approx(20.1100001)
    assert found.count == 5
    assert len(BOUNDS) == 14


def test_quantiles_are_interpolated_within_a_bucket() -> None:
    """As Prometheus does it; above the last bound nothing is known but that bound."""
    found = Histogram()
    assert found.quantile(0.5) is None
    for _ in range(10):
        found.record(0.02)  # the bucket from 0.01 to 0.025
    assert found.quantile(0.5) == pytest.approx(0.0175)
    assert found.quantile(1) == pytest.approx(0.025)
    for _ in range(10):
        found.record(60)
    assert found.quantile(0.5) == pytest.approx(0.025)
    assert found.quantile(0.51) == 10.0


def test_a_quantile_counts_what_lies_beneath_its_bucket() -> None:
    """Ten fast ones and ten slow ones: three quarters of the way is in the middle of the slow."""
    found = Histogram()
    for _ in range(10):
        found.record(0.02)
        found.record(0.4)
    assert found.quantile(0.75) == pytest.approx(0.375)
    assert found.quantile(0.25) == pytest.approx(0.0175)


def test_a_bucket_shows_its_last_example() -> None:
    """One an upper edge, under the bucket that its own duration falls into."""
    found = Histogram()
    first, last, other = (Example(s, "t", "s", at) for s, at in ((0.005, 1.0), (0.001, 2.0), (99.0, 3.0)))
    for example in (first, last, other):
        found.show(example)
    assert found.examples == {0: last, 14: other}


def test_what_is_beyond_the_bound_counts_together() -> None:
    """A key that has a place keeps it; new ones go to the other."""
    table = {"a": 1, "b": 2}
    assert bounded(table, "c", OTHER, 3) == "c"
    assert bounded(table, "c", OTHER, 2) == OTHER
    assert bounded(table, "a", OTHER, 2) == "a"


# -- calls and attempts --------------------------------------------------------------------------------------------


@virtual
async def test_a_clean_call_is_one_call_and_one_attempt() -> None:
    """With its duration, in both histograms."""
    metrics = Metrics()
    pipeline = Pipeline(Retry(), name="market", observers=(metrics,))
    await pipeline.run(Script(after(0.3)), op=READ)
    at = ("market", "read")
    assert values(metrics, "resilience.calls") == {(*at, "ok", ""): 1}
    assert values(metrics, "resilience.attempts") == {(*at, "original", "ok", ""): 1}
    assert values(metrics, "resilience.call.duration") == {(*at, "ok"): (0.3, 1)}
    assert values(metrics, "resilience.attempt.duration") == {(*at, "ok"): (0.3, 1)}
    assert values(metrics, "resilience.calls.active") == {at: 0}
    assert values(metrics, "resilience.wait.duration") == {}
    (op,) = metrics.operations
    assert op.ok.counts[7] == op.attempt_ok.counts[7] == 1
    assert op.ok.sum == op.attempt_ok.sum == 0.3


@virtual
async def test_retries_count_as_attempts_and_their_waits_as_waits() -> None:
    """Three attempts, one call; the backoff is in the call's time and not in the attempts'."""
    metrics = Metrics()
    pipeline = Pipeline(Retry(attempts=3, wait=2, jitter="none"), name="market", observers=(metrics,))
    script = Script(ConnectionRefusedError(), after(1, ConnectionResetError()), "done")
    await pipeline.run(script, op=READ)
    at = ("market", "read")
    assert values(metrics, "resilience.calls") == {(*at, "ok", ""): 1}
    assert values(metrics, "resilience.attempts") == {
        (*at, "original", "ok", ""): 0,
        (*at, "original", "failed", "ConnectionRefusedError"): 1,
        (*at, "retry", "unknown", "ConnectionResetError"): 1,
        (*at, "retry", "ok", ""): 1,
    }
    assert values(metrics, "resilience.call.duration") == {(*at, "ok"): (5, 1)}
    assert values(metrics, "resilience.attempt.duration") == {
        (*at, "ok"): (0, 1), (*at, "failed"): (0, 1), (*at, "unknown"): (1, 1),
    }  # fmt: skip
    assert values(metrics, "resilience.wait.duration") == {(*at, "backoff"): (4, 2)}
    assert metrics.operations[0].kinds == {"original": 1, "retry": 2, "hedge": 0, "probe": 0}


@virtual
async def test_a_call_that_fails_counts_under_its_cause() -> None:
    """With its outcome, its error type and its time; it is no longer active."""
    metrics = Metrics()
    pipeline = Pipeline(Timeout(2), name="market", observers=(metrics,))
    for step in (never, ValueError("no"), "fine"):
        await asyncio.gather(pipeline.run(Script(step), op=READ), return_exceptions=True)
    at = ("market", "read")
    assert values(metrics, "resilience.calls") == {
        (*at, "ok", ""): 1, (*at, "unknown", "timeout"): 1, (*at, "rejected", "ValueError"): 1,
    }  # fmt: skip
    assert values(metrics, "resilience.call.duration")[*at, "unknown"] == (2, 1)
    assert values(metrics, "resilience.calls.active") == {at: 0}
    assert metrics.operations[0].outcomes == {"ok": 1, "unknown": 1, "rejected": 1}


@virtual
async def test_a_cancelled_call_is_counted_and_has_no_error_type() -> None:
    """And while it runs it is active."""
    metrics = Metrics()
    pipeline = Pipeline(Retry(), name="market", observers=(metrics,))
    task = asyncio.create_task(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(3)
    at = ("market", "read")
    assert values(metrics, "resilience.calls.active") == {at: 1}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert values(metrics, "resilience.calls") == {(*at, "cancelled", ""): 1}
    assert values(metrics, "resilience.attempts")[*at, "original", "cancelled", ""] == 1
    assert values(metrics, "resilience.call.duration")[*at, "cancelled"] == (3, 1)
    assert values(metrics, "resilience.calls.active") == {at: 0}


@virtual
async def test_a_refusal_above_the_attempts_is_a_call_without_one() -> None:
    """The wait in the queue counts all the same."""
    metrics = Metrics()
    pipeline = Pipeline(Bulkhead(1, queue=1, max_wait=2), Retry(), name="market", observers=(metrics,))
    busy = asyncio.create_task(pipeline.run(Script(after(10)), op=READ))
    await asyncio.sleep(0)
    await asyncio.gather(pipeline.run(Script(), op=READ), return_exceptions=True)
    at = ("market", "read")
    assert values(metrics, "resilience.calls") == {(*at, "refused", "bulkhead_full"): 1}
    assert values(metrics, "resilience.attempts") == {(*at, "original", "ok", ""): 0}
    assert values(metrics, "resilience.wait.duration") == {(*at, "queue"): (2, 1)}
    await busy
    assert values(metrics, "resilience.attempts") == {(*at, "original", "ok", ""): 1}


@virtual
async def test_hedges_and_probes_are_told_apart() -> None:
    """A hedge's loser is cancelled, which is no error."""
    metrics = Metrics()
    pipeline = Pipeline(Hedge(1), name="h", observers=(metrics,))
    await pipeline.run(Script(never, "fast"), op=READ)
    assert values(metrics, "resilience.attempts") == {
        ("h", "read", "original", "ok", ""): 0,
        ("h", "read", "original", "cancelled", ""): 1,
        ("h", "read", "hedge", "ok", ""): 1,
    }
    pipeline = Pipeline(Breaker(consecutive=1, open_for=5), name="b", observers=(metrics,))
    await asyncio.gather(pipeline.run(Script(ConnectionRefusedError()), op=READ), return_exceptions=True)
    await asyncio.sleep(10)
    await pipeline.run(Script(), op=READ)
    assert values(metrics, "resilience.attempts")["b", "read", "probe", "ok", ""] == 1
    assert values(metrics, "resilience.attempts")["b", "read", "original", "ok", ""] == 0


@virtual
async def test_operations_beyond_the_bound_count_together() -> None:
    """So do pipelines; and nothing is lost."""
    metrics = Metrics(most_ops=2, most_pipelines=1)
    pipeline = Pipeline(name="p", observers=(metrics,))
    for name in ("a", "b", "c", "d", "a", "c"):
        await pipeline.run(Script(), op=Op(name))
    assert values(metrics, "resilience.calls") == {
        ("p", "a", "ok", ""): 2, ("p", "b", "ok", ""): 1, ("p", OTHER, "ok", ""): 3,
    }  # fmt: skip
    for name in ("q", "r"):
        await Pipeline(name=name, observers=(metrics,)).run(Script(), op=Op("a"))
    assert values(metrics, "resilience.calls")[OTHER, "a", "ok", ""] == 2
    await asyncio.gather(pipeline.run(Script(ValueError()), op=Op("e")), return_exceptions=True)
    assert values(metrics, "resilience.attempts")["p", OTHER, "original", "rejected", "ValueError"] == 1
    assert sum(values(metrics, "resilience.calls").values()) == 9


def test_error_types_beyond_the_bound_count_together() -> None:
    """Whatever a classify makes up: the number of series stays bounded, the number of calls exact."""
    op = Operation("p", "o")
    for number in range(1000):
        op.call_failed(0.1, "failed", f"error {number}")
        op.attempt_failed(Attempt(), 0.1, "failed", f"error {number}")
    assert len(op.failures) == 51
    assert op.failures["failed", OTHER_ERROR] == 950
    assert sum(op.failures.values()) == sum(op.attempts.values()) == op.others["failed"].count == 1000
    assert len(op.attempts) == 201
    assert op.attempts["original", "failed", OTHER_ERROR] == 800


def test_the_bounds_are_those_of_the_page() -> None:
    """Two hundred operations, a hundred pipelines; one of each is allowed."""
    assert (Metrics().most_ops, Metrics().most_pipelines) == (200, 100)
    assert Metrics(most_ops=1, most_pipelines=1).operations == []


@virtual
async def test_the_answer_is_the_callers() -> None:
    """At the first attempt and at the second, with a note and without."""
    pipeline = Pipeline(Retry(wait=0), name="p", observers=(Metrics(),))
    assert await pipeline.run(Script("done"), op=READ) == "done"
    assert await pipeline.run(Script(ConnectionRefusedError(), "done"), op=READ) == "done"
    assert await pipeline.run(request(), op=READ) == "done"


def test_every_cause_of_a_wait_has_its_histogram() -> None:
    """Those that policies and transports note, and no other."""
    op, call = Operation("p", "o"), Call(READ, asyncio.sleep)
    op.waited(call)
    assert op.waits == {}
    causes = ("backoff", "retry_after", "queue", "limiter", "pool", "connection")
    for number, why in enumerate(causes):
        call.attempt.notes[f"wait.{why}"] = 0.5 + number
    call.attempt.notes["wait.else"] = 1.0
    op.waited(call)
    assert {why: found.sum for why, found in op.waits.items()} == {why: 0.5 + n for n, why in enumerate(causes)}


def test_a_kind_of_attempt_that_we_do_not_know_counts_too() -> None:
    """A policy of the user's may have kinds of its own."""
    op, attempt = Operation("p", "o"), Attempt()
    attempt.kind = "replay"
    op.attempt_succeeded(attempt)
    op.attempt_succeeded(Attempt())
    assert op.kinds == {"original": 1, "retry": 0, "hedge": 0, "probe": 0, "replay": 1}


@pytest.mark.parametrize("field", ["most_ops", "most_pipelines"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_bound_must_be_a_whole_number(field: str, value: Any) -> None:
    """At least 1."""
    with pytest.raises(ConfigError, match=field):
        Metrics(**{field: value})


@virtual
async def test_pipelines_of_one_name_count_together() -> None:
    """As their names say."""
    metrics = Metrics()
    for _ in range(2):
        await Pipeline(Retry(), name="p", observers=(metrics,)).run(Script(), op=READ)
    assert values(metrics, "resilience.calls") == {("p", "read", "ok", ""): 2}


# -- what transports and servers tell ------------------------------------------------------------------------------


def request(*, status: int = 200, use: str = "new", left: float = 3, error: Exception | None = None) -> Any:
    """A target that notes what an HTTP transport does, and takes a second."""

    async def fetch(call: Call) -> str:
        attempt = call.attempt
        attempt.sent = True
        attempt.notes.update({
            "http.request.method": "GET", "server.address": "api.test", "server.port": 443,
            "http.response.status_code": status, "connection": use,
        })  # fmt: skip
        attempt.limits = LimitReport(10, left)
        await asyncio.sleep(1)
        if error is not None:
            raise error
        return "done"

    return takes_call(fetch)


@virtual
async def test_http_requests_have_the_metric_of_the_conventions() -> None:
    """Without the time in our own queues, beneath the boundary or above it."""
    metrics = Metrics()
    pipeline = Pipeline(Bulkhead(1, queue=5), Retry(), RateLimit("1/10s"), name="p", observers=(metrics,))
    failing = request(status=502, use="reused", left=2, error=ValueError())
    await asyncio.gather(
        pipeline.run(request(), op=READ), pipeline.run(failing, op=READ), return_exceptions=True
    )  # fmt: skip
    assert values(metrics, "http.client.request.duration") == {
        ("GET", "api.test", "443", "200", ""): (1, 1),
        ("GET", "api.test", "443", "502", "ValueError"): (1, 1),
    }
    assert values(metrics, "resilience.connections") == {("p", "read", "new"): 1, ("p", "read", "reused"): 1}
    assert values(metrics, "resilience.server_limit.limit") == {("p", "read"): 10}
    assert values(metrics, "resilience.server_limit.remaining") == {("p", "read"): 2}
    waits = values(metrics, "resilience.wait.duration")
    assert waits["p", "read", "queue"] == (1, 1)
    assert waits["p", "read", "limiter"][1] == 1
    assert metrics.operations[0].attempt_others["rejected"].sum > 5  # the limiter's wait is in the attempt


@virtual
async def test_an_answer_that_waited_is_timed_without_its_wait() -> None:
    """The second request waits ten seconds for its token, and takes one."""
    metrics = Metrics()
    pipeline = Pipeline(Retry(), RateLimit("1/10s"), name="p", observers=(metrics,))
    for _ in range(2):
        await pipeline.run(request(), op=READ)
    assert values(metrics, "http.client.request.duration") == {("GET", "api.test", "443", "200", ""): (2, 2)}


def test_a_transport_need_not_tell_everything() -> None:
    """A method is enough; without one it was no HTTP."""
    op, attempt = Operation("p", "o"), Attempt()
    attempt.notes["server.address"] = "api.test"
    op.learn(attempt, 1.0, "", 0.0)
    assert op.http == {}
    attempt.notes.clear()
    attempt.notes["http.request.method"] = "GET"
    op.learn(attempt, -0.1, "", 0.0)  # never less than nothing
    assert {key: found.sum for key, found in op.http.items()} == {("GET", "", 0, 0, ""): 0.0}


def test_http_series_are_bounded() -> None:
    """A server's address may be anything; error or none is still told apart."""
    op = Operation("p", "o")
    for number in range(1000):
        attempt = Attempt()
        attempt.notes.update({"http.request.method": "GET", "server.address": f"host{number}", "connection": "odd"})
        op.learn(attempt, 0.1, "reset" if number % 2 else "", 0.0)
    assert len(op.http) == 502
    assert sum(found.count for found in op.http.values()) == 1000
    assert op.http[OTHER_ERROR, OTHER, 0, 0, OTHER_ERROR].count == op.http[OTHER_ERROR, OTHER, 0, 0, ""].count == 250
    assert op.connections == {}


# -- exemplars -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracer_first", [True, False])
@virtual
async def test_a_call_that_was_kept_is_an_example(traced: Any, tracer_first: bool) -> None:
    """With the ids of its span, whichever observer was named first; a clean call that is not kept is none."""
    metrics = Metrics()
    observers = (traced.tracer(), metrics) if tracer_first else (metrics, traced.tracer())
    pipeline = Pipeline(Retry(wait=0), name="p", observers=observers)
    await pipeline.run(Script(), op=READ)
    (op,) = metrics.operations
    assert op.ok.examples == {}
    await pipeline.run(Script(ConnectionRefusedError(), after(0.3)), op=READ)
    (example,) = op.ok.examples.values()
    context = traced.call.context
    assert (example.trace_id, example.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert example.seconds == pytest.approx(0.3)
    assert example.at == pytest.approx(metrics.since, abs=60)
    await asyncio.gather(pipeline.run(Script(after(9, ValueError())), op=READ), return_exceptions=True)
    (example,) = op.others["rejected"].examples.values()
    assert example.trace_id == f"{traced.calls[1].context.trace_id:032x}"
    assert list(op.others["rejected"].examples) == [13]


# -- states --------------------------------------------------------------------------------------------------------


@virtual
async def test_states_are_pulled_when_somebody_reads() -> None:
    """Breaker, budget, limiter, bulkhead; each with its limit beside its usage."""
    metrics = Metrics()
    pipeline = Pipeline(
        Retry(attempts=2, wait=0), Breaker(consecutive=2, open_for=60), RateLimit("4/10s"), Bulkhead(2), name="p",
        observers=(metrics,),
    )  # fmt: skip
    await pipeline.run(Script(ConnectionRefusedError(), 1), op=READ)
    state = values(metrics, "resilience.breaker.state")
    assert state["p", "breaker", "default", "closed"] == 1
    assert state["p", "breaker", "default", "open"] == 0
    assert len(state) == 6
    at = ("p", "rate_limit", "default")
    assert values(metrics, "resilience.limiter.usage") == {at: 2}
    assert values(metrics, "resilience.limiter.limit") == {at: 4}
    assert values(metrics, "resilience.limiter.headroom") == {at: 2}
    assert values(metrics, "resilience.limiter.utilization") == {at: 0.5}
    assert values(metrics, "resilience.limiter.pause") == {at: 0}
    ((budget, scheduled),) = values(metrics, "resilience.budget.scheduled").items()
    assert (budget[0], scheduled) == ("p", 1)
    running = asyncio.create_task(pipeline.run(Script(after(1)), op=READ))
    await asyncio.sleep(0)
    at = ("p", "bulkhead", "default")
    assert values(metrics, "resilience.bulkhead.usage") == {at: 1}
    assert values(metrics, "resilience.bulkhead.limit") == {at: 2}
    assert values(metrics, "resilience.bulkhead.utilization") == {at: 0.5}
    await running
    await asyncio.gather(pipeline.run(Script(ConnectionRefusedError()), op=READ), return_exceptions=True)
    await asyncio.sleep(7)
    assert values(metrics, "resilience.breaker.state")["p", "breaker", "default", "open"] == 1
    assert values(metrics, "resilience.breaker.state.code") == {("p", "breaker", "default"): 2}
    assert values(metrics, "resilience.breaker.state.age") == {("p", "breaker", "default"): pytest.approx(7, abs=3)}
    assert values(metrics, "resilience.breaker.opened") == {("p", "breaker", "default"): 1}
    assert values(metrics, "resilience.state.changes") == {("breaker", "default", "open"): 1}


@pytest.mark.parametrize(("mode", "code"), [("forced_open", 3), ("disabled", 4), ("shadow", 5)])
@virtual
async def test_a_breakers_mode_is_told_in_place_of_its_state(mode: Any, code: int) -> None:
    """Whoever forced it open wants to see that, and not "closed"."""
    metrics = Metrics()
    pipeline = Pipeline(Breaker(mode=mode), name="p", observers=(metrics,))
    await asyncio.gather(pipeline.run(Script(), op=READ), return_exceptions=True)
    assert values(metrics, "resilience.breaker.state.code") == {("p", "breaker", "default"): code}
    assert values(metrics, "resilience.breaker.state")["p", "breaker", "default", mode] == 1


class Session:
    """What a pool may lend: it tells of its connections."""

    def status(self) -> dict[str, Any]:
        servers: Any = {"h:443": {"active": 2, "idle": 3, "requests": 7}, "[::1]:80": {"active": 0, "idle": 0}, "x": 1}
        return {
            "limit": 30,
            "open": 5,
            "idle": 3,
            "connections_opened": 9,
            "connections_discarded": 4,
            "servers": servers,
        }

    async def get(self) -> None: ...


@virtual
async def test_connections_and_requests_are_told_by_server_as_the_conventions_say() -> None:
    """Over all pools, once for a pool that is shared; numbers that do not apply are left out, wherever it goes."""
    metrics, shared = Metrics(), dict[str, Any]()
    for name in ("p", "q"):
        pipeline = Pipeline(Pool(open=Session, name="rest"), name=name, observers=(metrics,), shared=shared)
        await pipeline.run(Session.get, op=READ)
    other = Pipeline(Pool(open=Session, name="other"), name="o", observers=(metrics,))
    await other.run(Session.get, op=READ)
    assert values(metrics, "http.client.open_connections") == {
        ("active", "h", "443"): 4, ("idle", "h", "443"): 6, ("active", "::1", "80"): 0, ("idle", "::1", "80"): 0,
    }  # fmt: skip
    assert values(metrics, "http.client.active_requests") == {("h", "443"): 14, ("::1", "80"): 0}
    text = render(metrics)
    assert "# TYPE http_client_open_connections gauge" in text
    assert 'http_client_open_connections{http_connection_state="idle",server_address="h",server_port="443"} 6\n' in text
    assert 'http_client_active_requests{server_address="h",server_port="443"} 14\n' in text


@virtual
async def test_a_pool_tells_its_connections_by_state() -> None:
    """In the shape of http.client.open_connections; a pool that pipelines share is told once."""
    metrics, shared = Metrics(), dict[str, Any]()
    pool = Pool(open=Session, name="rest")
    pipelines = [Pipeline(pool, name=name, observers=(metrics,), shared=shared) for name in ("p", "q")]
    for pipeline in pipelines:
        await pipeline.run(Session.get, op=READ)
    at = ("shared", "pool:rest")
    assert [(name, key) for name, key, _ in metrics.states()] == [at]
    assert values(metrics, "resilience.pool.open_connections") == {(*at, "idle"): 3, (*at, "used"): 2}
    expected = {
        "connection.max": 30, "connection.opened": 9, "connection.discarded": 4, "requests": 2, "opened": 1,
        "renewed": 0, "usage": 0, "pending_requests": 0,
    }  # fmt: skip
    for name, value in expected.items():
        assert values(metrics, f"resilience.pool.{name}") == {at: value}, name


@virtual
async def test_what_is_full_says_so() -> None:
    """A limiter with no token left and calls that wait, a bulkhead that refused."""
    metrics = Metrics()
    pipeline = Pipeline(RateLimit("2/10s"), Bulkhead(1), Breaker(), name="p", observers=(metrics,))
    tasks = [asyncio.create_task(pipeline.run(Script(after(1)), op=READ)) for _ in range(4)]
    await asyncio.sleep(2)
    at = ("p", "rate_limit", "default")
    assert values(metrics, "resilience.limiter.headroom") == {at: 0}
    assert values(metrics, "resilience.limiter.waiting") == {at: 2}
    assert values(metrics, "resilience.bulkhead.refused") == {("p", "bulkhead", "default"): 1}
    assert values(metrics, "resilience.bulkhead.waiting") == {("p", "bulkhead", "default"): 0}
    assert values(metrics, "resilience.breaker.window.calls") == {("p", "breaker", "default"): 1}
    assert values(metrics, "resilience.breaker.failure_rate") == {("p", "breaker", "default"): 0}
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(pipeline.run(Script(ConnectionRefusedError()), op=READ), return_exceptions=True)
    assert 0 < values(metrics, "resilience.breaker.failure_rate")["p", "breaker", "default"] < 1


@virtual
async def test_a_pool_whose_connections_are_all_idle() -> None:
    """None is used; and one that tells only half tells nothing."""
    metrics = Metrics()

    class Idle(Session):
        said: ClassVar[dict[str, int]] = {"open": 3, "idle": 3}

        def status(self) -> dict[str, int]:
            return self.said

    pipeline = Pipeline(Pool(open=Idle, name="rest"), name="p", observers=(metrics,))
    await pipeline.run(Session.get, op=READ)
    at = ("p", "pool:rest")
    assert values(metrics, "resilience.pool.open_connections") == {(*at, "idle"): 3, (*at, "used"): 0}
    Idle.said = {"open": 3}
    assert values(metrics, "resilience.pool.open_connections") == {}


@virtual
async def test_a_pool_of_something_that_tells_nothing() -> None:
    """What it lends need not have a status: then there are the pool's own numbers."""
    metrics = Metrics()
    pipeline = Pipeline(Pool(open=object, name="rest"), name="p", observers=(metrics,))
    await pipeline.run(Script(), op=READ)
    assert values(metrics, "resilience.pool.requests") == {("p", "pool:rest"): 1}
    assert values(metrics, "resilience.pool.open_connections") == {}
    assert values(metrics, "resilience.pool.connection.max") == {}


@virtual
async def test_states_of_the_same_name_in_two_pipelines_are_two() -> None:
    """A budget's name looks shared; where nothing is shared it belongs to its pipeline."""
    metrics = Metrics()
    pipelines = [Pipeline(Retry(), name=name, observers=(metrics,)) for name in ("p", "q")]
    for pipeline in pipelines:
        await pipeline.run(Script(), op=READ)
    assert {labels[0] for labels in values(metrics, "resilience.budget.balance")} == {"p", "q"}


@virtual
async def test_every_other_policy_has_its_numbers() -> None:
    """Cache, coalescing, shedding, fallback, chaos, hedges, adaptive limits."""
    metrics = Metrics()
    pipeline = Pipeline(
        Fallback(last_good=60), Shed(), Cache(ttl=1), Coalesce(), Hedge(5), AdaptiveLimit(initial=7),
        Chaos(rate=1, enabled=True, latency=0.1), name="p", observers=(metrics,),
    )  # fmt: skip
    script = Script("done", "done", ConnectionRefusedError())
    for _ in range(2):
        await pipeline.run(script, op=READ)
    for _ in range(2):
        await asyncio.sleep(2)
        await pipeline.run(script, op=READ)
    one = {
        "resilience.cache.size": 1, "resilience.coalesce.flights": 3, "resilience.coalesce.joined": 0,
        "resilience.shed.refused": 0, "resilience.fallback.used": 1, "resilience.chaos.enabled": 1,
        "resilience.chaos.strikes": 3, "resilience.hedge.left_behind": 0,
    }  # fmt: skip
    assert {name: list(values(metrics, name).values()) for name in one} == {name: [n] for name, n in one.items()}
    cache = values(metrics, "resilience.cache.requests")
    assert cache == {("p", "cache", what): n for what, n in {"hit": 1, "miss": 3, "stale": 0, "passed": 0}.items()}
    assert values(metrics, "resilience.bulkhead.limit") == {("p", "adaptive_limit", "default"): 7}
    assert set(values(metrics, "resilience.shed.probability")) == {
        ("p", "shed", priority) for priority in ("critical", "default", "sheddable")
    }


@virtual
async def test_keys_of_a_state_are_bounded() -> None:
    """A thousand hosts are not a thousand series."""
    metrics = Metrics()
    pipeline = Pipeline(Bulkhead(1, key=lambda call: call.args[0]), name="p", observers=(metrics,))
    for number in range(300):
        await pipeline.run(Script(), number, op=READ)
    assert len(values(metrics, "resilience.bulkhead.limit")) <= 200


@virtual
async def test_a_state_that_raises_costs_only_itself() -> None:
    """A resource of the user's tells about itself, and may be wrong; it is counted."""

    class Broken(Session):
        def status(self) -> dict[str, int]:
            raise RuntimeError("no")

    metrics = Metrics()
    pipeline = Pipeline(Bulkhead(3), Pool(open=Broken, name="rest"), name="p", observers=(metrics,))
    await pipeline.run(Session.get, op=READ)
    assert values(metrics, "resilience.metrics.unread") == {(): 1}
    assert len(values(metrics, "resilience.bulkhead.limit")) == 1
    assert values(metrics, "resilience.pool.requests") == {}


@virtual
async def test_a_pipeline_that_is_gone_leaves_its_counts_and_no_states() -> None:
    """Metrics keep nobody alive."""
    metrics = Metrics()
    pipeline = Pipeline(Bulkhead(3), name="p", observers=(metrics,))
    await pipeline.run(Script(), op=READ)
    other = Pipeline(Bulkhead(3), name="q", observers=(metrics,))
    await other.run(Script(), op=Op("write"))
    gone = weakref.ref(pipeline)
    del pipeline
    gc.collect()
    assert gone() is None
    assert [name for name, _, _ in metrics.states()] == ["q"]
    assert values(metrics, "resilience.calls")["p", "read", "ok", ""] == 1


def test_changes_of_state_are_bounded() -> None:
    """By kind and new state, whatever the keys."""
    metrics = Metrics()
    for number in range(3000):
        metrics(StateChanged("breaker", f"host{number}", "closed", "open", "", 0.0))
    assert metrics.changes["breaker", OTHER, "open"] == 2000
    assert len(metrics.changes) == 1001


# -- other threads -------------------------------------------------------------------------------------------------


def in_thread(read: Callable[[], Any]) -> Any:
    """Read in a thread of its own while this loop runs."""
    return asyncio.to_thread(read)


def test_another_thread_reads_through_the_loop() -> None:
    """States change while the loop runs, so only the loop's own thread looks at them."""
    seen: list[int] = []

    class Watched(Session):
        def status(self) -> dict[str, int]:
            seen.append(threading.get_ident())
            return super().status()

    metrics = Metrics()

    async def main() -> Pipeline:
        pipeline = Pipeline(Pool(open=Watched, name="rest"), name="p", observers=(metrics,))
        await pipeline.run(Session.get, op=READ)
        found = await in_thread(metrics.states)
        assert [key for _, key, _ in found] == ["pool:rest"]
        assert seen == [threading.get_ident()]
        return pipeline

    pipeline = asyncio.run(main())
    assert len(metrics.states()) == 1  # the loop has ended: nobody is in the way
    assert pipeline.status()


def test_a_loop_that_does_not_answer_costs_its_states_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gives up, and says so."""
    monkeypatch.setattr("resilience.telemetry.metrics._PATIENCE", 0.01)
    metrics, found = Metrics(), list[Any]()

    async def main() -> None:
        pipeline = Pipeline(Bulkhead(3), name="p", observers=(metrics,))
        await pipeline.run(Script(), op=READ)
        reader = threading.Thread(target=lambda: found.append(metrics.states()))
        reader.start()
        reader.join(10)  # it blocks the loop

    asyncio.run(main())
    assert found == [[]]
    assert metrics.unread == 1


def test_a_loop_that_is_closed_just_now_is_in_nobodys_way() -> None:
    """It looked as if it ran, and then took no more calls."""
    from resilience.telemetry.metrics import _in_loop

    class Closing:
        def is_running(self) -> bool:
            return True

        def call_soon_threadsafe(self, callback: Any) -> None:
            raise RuntimeError("Event loop is closed")

    loop: Any = Closing()
    assert _in_loop(loop, lambda: "read here") == "read here"


@virtual
async def test_the_tracer_and_metrics_agree_on_streams(traced: Any) -> None:
    """A stream is one call from its opening to its end."""
    metrics = Metrics()

    async def numbers() -> Any:
        for number in range(3):
            await asyncio.sleep(1)
            yield number

    pipeline = Pipeline(Retry(), name="p", observers=(metrics, traced.tracer("always")))
    assert [number async for number in pipeline.stream(numbers, op=READ)] == [0, 1, 2]
    assert values(metrics, "resilience.calls") == {("p", "read", "ok", ""): 1}
    assert values(metrics, "resilience.call.duration")["p", "read", "ok"] == (3, 1)


@virtual
async def test_counting_that_fails_hurts_no_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the caller gets its own result, or its own error. So with notes that no transport should write."""

    async def odd(call: Call) -> str:
        call.attempt.notes.update({"http.request.method": "GET", "server.port": "none"})
        return "mine"

    pipeline = Pipeline(name="p", observers=(Metrics(),))
    assert await pipeline.run(takes_call(odd), op=READ) == "mine"
    assert caplog.text.count("counting read failed") == 1
    monkeypatch.setattr(Operation, "call_failed", lambda *_: 1 / 0)
    monkeypatch.setattr(Operation, "attempt_failed", lambda *_: 1 / 0)
    with pytest.raises(OSError, match="mine"):
        await pipeline.run(Script(OSError("mine")), op=READ)
    assert caplog.text.count("counting read failed") == 3


# -- truth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_events(seed: int) -> None:
    """Whatever is retried, hedged, refused, timed out or cancelled: as many calls and attempts as events tell of."""
    dice = Random(seed)
    metrics, recorder = Metrics(), Recorder()
    pipeline = Pipeline(
        Bulkhead(6, queue=2), Retry(attempts=3, wait=1), Hedge(2), Breaker(failure_rate=0.7, min_calls=10, open_for=5),
        RateLimit("5/1s"), Timeout(4), name="p", observers=(metrics, recorder), seed=seed,
    )  # fmt: skip
    steps = [
        1,
        after(3, 2),
        after(6, 3),
        ConnectionRefusedError(),
        ConnectionResetError(),
        after(1, ValueError()),
        never,
    ]

    async def one(number: int) -> None:
        await asyncio.sleep(dice.random() * 20)
        op = Op(f"op{number % 3}", idempotent=number % 2 == 0)
        task = asyncio.create_task(pipeline.run(Script(*dice.choices(steps, k=4)), op=op))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 5)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(60)))
        await asyncio.sleep(100)

    VirtualLoop().run(main())
    calls = Counter((event.pipeline, event.call.op.name, *_judged(event)) for event in recorder.calls)
    attempts = Counter(
        ("p", event.call.op.name, event.attempt.kind, *_judged(event)) for event in recorder.attempts
    )  # fmt: skip
    assert _some(values(metrics, "resilience.calls")) == calls
    assert _some(values(metrics, "resilience.attempts")) == attempts
    assert sum(values(metrics, "resilience.calls.active").values()) == 0
    assert len(calls) > 8
    began = {id(event.call): event.at for event in recorder.of(CallStarted)}
    took = sum(event.at - began[id(event.call)] for event in recorder.calls)
    assert sum(
        op.ok.sum + sum(found.sum for found in op.others.values()) for op in metrics.operations
    ) == pytest.approx(took)


def _judged(event: Any) -> tuple[str, str]:
    return ("ok", "") if event.error is None else judged(event.error, event.verdict)


def _some(found: dict[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    return {labels: count for labels, count in found.items() if count}
