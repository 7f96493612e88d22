"""Coalesce: who shares a flight, how long it goes on, and what each of those who wait gets."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resilience import (
    Breaker,
    Bulkhead,
    Call,
    Coalesce,
    ConfigError,
    Deadline,
    Hedge,
    Op,
    Pipeline,
    Pool,
    ResilienceError,
    Retry,
    TimedOut,
    Timeout,
    within,
)
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")
IDLE = {"active": 0, "waiting": 0, "flights": 0, "coalesced": 0, "passed": 0}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def start(pipeline: Pipeline, script: Any, *args: Any, op: Op = READ, seconds: float | None = None) -> Any:
    """A task that makes a call, within so many seconds."""

    async def call() -> Any:
        if seconds is None:
            return await pipeline.run(script, *args, op=op)
        with within(seconds):
            return await pipeline.run(script, *args, op=op)

    return asyncio.ensure_future(call())


async def outcomes(*tasks: Any) -> list[Any]:
    await asyncio.wait(tasks)
    return ["cancelled" if task.cancelled() else task.exception() or task.result() for task in tasks]


def counts(pipeline: Pipeline) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: count for name, count in pipeline.status()["coalesce"].items() if count}


def now() -> float:
    return asyncio.get_running_loop().time()


# -- who shares -----------------------------------------------------------------------------------------------


@virtual
async def test_calls_that_overlap_share_one_flight() -> None:
    """One call beneath, the very same answer for all; who comes after it begins anew."""
    pipeline = Pipeline(Coalesce())
    value = object()
    script = Script(after(1, value), "second")
    early = [start(pipeline, script) for _ in range(3)]
    await asyncio.sleep(0.9)
    late = start(pipeline, script)
    await turns()
    assert counts(pipeline) == {"active": 1, "waiting": 4, "flights": 1, "coalesced": 3}
    assert all(outcome is value for outcome in await outcomes(*early, late))
    assert (script.count, now()) == (1, 1)
    assert counts(pipeline) == {"flights": 1, "coalesced": 3}
    assert await pipeline.run(script, op=READ) == "second"
    assert counts(pipeline) == {"flights": 2, "coalesced": 3}


@pytest.mark.parametrize("fails", [False, True])
@virtual
async def test_who_calls_in_the_moment_of_the_landing_begins_anew(fails: bool) -> None:
    """A flight that has its outcome takes nobody on board, whatever that is."""
    pipeline = Pipeline(Coalesce())
    arrivals: list[Any] = []

    async def target() -> str:
        await asyncio.sleep(1)
        if arrivals:
            return "second"
        arrivals.append(start(pipeline, target))  # its first turn comes right after this one of the flight's
        if fails:
            raise OSError("reset")
        return "first"

    (outcome,) = await outcomes(start(pipeline, target))
    assert isinstance(outcome, OSError) if fails else outcome == "first"
    assert await outcomes(*arrivals) == ["second"]
    assert counts(pipeline) == {"flights": 2}


@virtual
async def test_each_key_flies_alone() -> None:
    """The operation, the function and its arguments."""
    pipeline = Pipeline(Coalesce())
    script, other = Script(after(1, "one")), Script(after(1, "other"))
    tasks = [
        start(pipeline, script, "BTC"),
        start(pipeline, script, "ETH"),
        start(pipeline, script, "BTC", 1),
        start(pipeline, other, "BTC"),
        start(pipeline, script, "BTC", op=Op("another", idempotent=True)),
        start(pipeline, script, "BTC"),
    ]
    assert await outcomes(*tasks) == ["one"] * 3 + ["other"] + ["one"] * 2
    assert counts(pipeline) == {"flights": 5, "coalesced": 1}


@virtual
async def test_a_key_function_decides_what_is_the_same() -> None:
    """None says that this call is like no other."""
    pipeline = Pipeline(Coalesce(key=lambda call: call.args[0]))
    script = Script(after(1, "one"))
    await outcomes(*(start(pipeline, script, "BTC", n) for n in range(3)))
    assert script.count == 1
    await outcomes(*(start(pipeline, script, None) for _ in range(3)))
    assert script.count == 4
    assert counts(pipeline) == {"flights": 1, "coalesced": 2, "passed": 3}


@virtual
async def test_what_cannot_be_hashed_passes_through() -> None:
    """Each on its own, and counted."""
    pipeline = Pipeline(Coalesce())
    script = Script(after(1, "one"))
    await outcomes(*(start(pipeline, script, ["BTC"]) for _ in range(2)))
    assert script.count == 2
    assert counts(pipeline) == {"passed": 2}


@virtual
async def test_two_orders_that_look_alike_are_two_orders() -> None:
    """What may not happen twice passes through, in its caller's own task."""
    pipeline = Pipeline(Coalesce())
    tasks: list[Any] = []

    async def place(order: str) -> str:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(1)
        return f"placed {order}"

    orders = [start(pipeline, place, "buy 1", op=WRITE) for _ in range(2)]
    assert await outcomes(*orders) == ["placed buy 1"] * 2
    assert tasks == orders
    assert pipeline.status()["coalesce"] == IDLE


# -- who leaves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaver", [0, 1])
@virtual
async def test_a_caller_that_is_cancelled_takes_nobody_elses_answer_away(leaver: int) -> None:
    """Be it the one who began."""
    pipeline = Pipeline(Coalesce())
    script = Script(after(1, "answer"))
    tasks = [start(pipeline, script) for _ in range(2)]
    await asyncio.sleep(0.5)
    tasks[leaver].cancel()
    await turns()
    assert tasks[leaver].cancelled()
    assert counts(pipeline) == {"active": 1, "waiting": 1, "flights": 1, "coalesced": 1}
    assert await tasks[1 - leaver] == "answer"
    assert (script.count, script.cancelled) == (1, 0)


@pytest.mark.parametrize("outcome", ["answer", OSError("reset")])
@virtual
async def test_a_caller_that_is_cancelled_in_the_tick_of_the_landing_is_cancelled(outcome: Any) -> None:
    """And the others get what they waited for."""
    pipeline = Pipeline(Coalesce())

    async def target() -> Any:
        await asyncio.sleep(1)
        tasks[0].cancel()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    tasks = [start(pipeline, target) for _ in range(2)]
    assert await outcomes(*tasks) == ["cancelled", outcome]
    assert counts(pipeline) == {"flights": 1, "coalesced": 1}


@virtual
async def test_the_flight_is_cancelled_when_the_last_has_gone() -> None:
    """And has ended when that one returns; who comes meanwhile begins anew."""
    pipeline = Pipeline(Coalesce())
    ended: list[float] = []

    async def target() -> str:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.5)
            ended.append(now())
        return "answer"

    first, last = (start(pipeline, target) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    await turns()
    last.cancel()
    await asyncio.sleep(0.25)
    assert first.done()
    assert not last.done()
    assert counts(pipeline) == {"active": 1, "flights": 1, "coalesced": 1}
    anew = start(pipeline, target)
    await turns()
    assert counts(pipeline) == {"active": 2, "waiting": 1, "flights": 2, "coalesced": 1}
    assert await outcomes(last) == ["cancelled"]
    assert ended == [now()] == [1.5]
    assert await anew == "answer"
    assert counts(pipeline) == {"flights": 2, "coalesced": 1}


@virtual
async def test_who_leaves_last_waits_a_second_at_most() -> None:
    """A flight that is slow in ending does not hold its caller; closing the pipeline waits for it."""
    pipeline = Pipeline(Coalesce())

    async def target() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(5)

    last = start(pipeline, target)
    await asyncio.sleep(1)
    last.cancel()
    assert await outcomes(last) == ["cancelled"]
    assert now() == 2
    assert counts(pipeline) == {"active": 1, "flights": 1}
    wanted = start(pipeline, Script(after(60, "later")))
    await turns()
    await pipeline.aclose()
    assert now() == 6
    await turns()
    assert counts(pipeline) == {"active": 1, "waiting": 1, "flights": 2}
    assert await wanted == "later"
    await pipeline.aclose()


@virtual
async def test_a_second_cancellation_does_not_wait() -> None:
    """The caller insists."""
    pipeline = Pipeline(Coalesce())

    async def target() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.5)

    last = start(pipeline, target)
    await asyncio.sleep(1)
    last.cancel()
    await turns()
    last.cancel()
    await turns()
    assert last.cancelled()
    assert now() == 1
    assert counts(pipeline) == {"active": 1, "flights": 1}
    await asyncio.sleep(1)
    assert counts(pipeline) == {"flights": 1}


@virtual
async def test_who_is_cancelled_in_the_tick_of_the_start_leaves_nothing() -> None:
    """The flight has hardly begun."""
    pipeline = Pipeline(Coalesce())
    script = Script(never, "answer")
    task = start(pipeline, script)
    await asyncio.sleep(0)
    task.cancel()
    await turns()
    assert task.cancelled()
    assert (script.cancelled, counts(pipeline)) == (1, {"flights": 1})
    assert await pipeline.run(script, op=READ) == "answer"


@virtual
async def test_an_answer_that_comes_though_the_flight_was_given_up_is_nobodys() -> None:
    """Nor does its end touch the flight that has begun since."""
    pipeline = Pipeline(Coalesce())
    stubborn = Script(after(9, "stubborn"), after(9, "second"))

    async def target() -> Any:
        try:
            return await stubborn()
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            return "in spite of it"

    last = start(pipeline, target)
    await asyncio.sleep(1)
    last.cancel()
    await turns()
    anew = start(pipeline, target)
    await asyncio.sleep(4)
    joined = start(pipeline, target)
    assert await outcomes(last, anew, joined) == ["cancelled", "second", "second"]
    assert counts(pipeline) == {"flights": 2, "coalesced": 1}


# -- time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [0, 1])
@virtual
async def test_each_waits_until_its_own_deadline(short: int) -> None:
    """Who has less time leaves, who has more gets the answer: the first caller's deadline is not the flight's."""
    pipeline = Pipeline(Coalesce())
    script = Script(after(3, "answer"))
    times: list[float | None] = [2, None] if short == 0 else [None, 2]
    await asyncio.sleep(7)
    tasks = [start(pipeline, script, seconds=seconds) for seconds in times]
    await asyncio.wait([tasks[short]])
    assert now() == 9
    error = tasks[short].exception()
    assert isinstance(error, TimedOut)
    assert (error.seconds, error.limit, error.sent, error.queued) == (2, "deadline", True, False)
    assert await tasks[1 - short] == "answer"
    assert (script.cancelled, tasks[short].cancelling()) == (0, 0)


@virtual
async def test_an_answer_in_time_leaves_no_timer() -> None:
    """Else a day of calls would leave a day of them."""
    pipeline = Pipeline(Coalesce())
    await outcomes(*(start(pipeline, Script(after(1, "answer")), seconds=50) for _ in range(2)))
    armed = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert armed == []


@virtual
async def test_the_last_deadline_ends_the_flight() -> None:
    """Nobody is left who could wait."""
    pipeline = Pipeline(Coalesce())
    script = Script(never)
    tasks = [start(pipeline, script, seconds=seconds) for seconds in (1, 3, 2)]
    assert [type(outcome) for outcome in await outcomes(*tasks)] == [TimedOut] * 3
    assert (now(), script.cancelled) == (3, 1)
    assert counts(pipeline) == {"flights": 1, "coalesced": 2}


@virtual
async def test_a_deadline_that_has_passed_begins_no_flight() -> None:
    """It is refused before, as of a call that never began."""
    pipeline = Pipeline(Coalesce())
    script = Script("answer")
    (error,) = await outcomes(start(pipeline, script, seconds=0))
    assert isinstance(error, TimedOut)
    assert error.queued
    assert (script.count, pipeline.status()["coalesce"]) == (0, IDLE)


@virtual
async def test_an_answer_in_the_tick_of_the_deadline_is_kept() -> None:
    """As everywhere here."""
    pipeline = Pipeline(Coalesce())
    script = Script(after(1, "answer"))
    tasks = [start(pipeline, script, seconds=1) for _ in range(2)]
    assert await outcomes(*tasks) == ["answer"] * 2


@virtual
async def test_a_cancellation_in_the_tick_of_the_deadline_is_a_cancellation() -> None:
    """A caller's own is never turned into a timeout."""
    pipeline = Pipeline(Coalesce())
    task = start(pipeline, Script(never), seconds=1)
    asyncio.get_running_loop().call_at(1, task.cancel)
    assert await outcomes(task) == ["cancelled"]


@virtual
async def test_what_was_not_sent_is_told() -> None:
    """A flight that still waits in a queue of ours has sent nothing, and one of whose attempts has, has."""
    pipeline = Pipeline(Coalesce(), Bulkhead(1, queue=9))
    busy = start(pipeline, Script(after(5)), "busy")
    await turns()
    (error,) = await outcomes(start(pipeline, Script(), seconds=1))
    assert (type(error), error.sent) == (TimedOut, False)
    await busy
    retried = Pipeline(Coalesce(), Retry(on=OSError, wait=9, jitter="none"))
    script = Script(OSError())
    tasks = [start(retried, script, seconds=1) for _ in range(2)]
    assert [error.sent for error in await outcomes(*tasks)] == [True, True]


@virtual
async def test_what_bounds_a_flight_stands_beneath() -> None:
    """A Deadline there counts from its beginning, and all who wait are told."""
    pipeline = Pipeline(Coalesce(), Deadline(3))
    script = Script(never)
    first = start(pipeline, script)
    await asyncio.sleep(2)
    second = start(pipeline, script)
    one, two = await outcomes(first, second)
    assert (now(), script.cancelled) == (3, 1)
    assert one is not two
    assert [(type(error), error.seconds, error.sent) for error in (one, two)] == [(TimedOut, 3, True)] * 2


@virtual
async def test_the_ambient_deadline_of_the_first_does_not_reach_what_lies_beneath() -> None:
    """Else a nested call would end the flight for all; the rest of its context does reach it."""
    tenant = contextvars.ContextVar("tenant", default="nobody")
    inner = Pipeline()

    async def target() -> str:
        await inner.run(asyncio.sleep, 3)
        return tenant.get()

    pipeline = Pipeline(Coalesce())
    tenant.set("somebody")
    first = start(pipeline, target, seconds=1)
    await turns()
    tenant.set("another")
    second = start(pipeline, target)
    error, answer = await outcomes(first, second)
    assert (type(error), answer) == (TimedOut, "somebody")


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:coalesce-inside-retry")  # so that the followers' errors are judged
@virtual
async def test_an_error_reaches_all_and_each_has_its_own() -> None:
    """The first gets the very object, the others a copy of it with nothing of what was added since."""
    raised = OSError(5, "reset")
    pipeline = Pipeline(Retry(attempts=2, wait=0, on=OSError), Coalesce())
    script = Script(after(1, raised), after(1, KeyError("bug")))
    errors = await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [KeyError] * 3
    pipeline = Pipeline(Retry(attempts=1), Coalesce())
    script = Script(after(1, raised))
    errors = await outcomes(*(start(pipeline, script) for _ in range(3)))
    assert errors[0] is raised
    assert len(set(map(id, errors))) == 3
    assert {str(error) for error in errors} == {"[Errno 5] reset"}


@pytest.mark.filterwarnings("ignore:coalesce-inside-retry")  # so that the followers' errors are judged
@virtual
async def test_each_has_a_history_of_its_own() -> None:
    """A retry above writes it into the error that its own caller is raised."""
    pipeline = Pipeline(Retry(attempts=2, wait=0), Coalesce())
    script = Script(after(1, ConnectionRefusedError("refused")))
    errors = await outcomes(*(start(pipeline, script) for _ in range(3)))
    history = ["attempt 1: ConnectionRefusedError: refused; retried after 0 s"]
    assert [error.__notes__ for error in errors] == [history, history, history]
    assert script.count == 2


@virtual
async def test_the_first_who_still_waits_gets_the_error_itself() -> None:
    """Alone, a caller sees no difference."""
    raised = OSError("reset")
    pipeline = Pipeline(Coalesce())
    script = Script(after(1, raised))
    first, second = (start(pipeline, script) for _ in range(2))
    await turns()
    first.cancel()
    assert await outcomes(first, second) == ["cancelled", raised]


@virtual
async def test_an_error_that_nobody_waits_for_is_no_stray_warning() -> None:
    """Neither that of a flight that was given up, nor one that comes in the tick of a cancellation."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    pipeline = Pipeline(Coalesce())

    async def fails_late() -> None:
        try:
            await asyncio.sleep(9)
        finally:
            raise OSError("late")

    task = start(pipeline, fails_late)
    await asyncio.sleep(1)
    task.cancel()
    await outcomes(task)

    async def fails() -> None:
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_soon(task.cancel)
        raise OSError("now")

    task = start(pipeline, fails)
    assert await outcomes(task) == ["cancelled"]
    await turns()
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("begun", [True, False])
@virtual
async def test_a_flight_that_is_cancelled_from_outside_cancels_nobody(begun: bool) -> None:
    """A cancellation that nobody asked for must not reach a caller: it is an error that says so."""
    pipeline = Pipeline(Coalesce())
    script = Script(never)
    tasks = [start(pipeline, script) for _ in range(2)]
    await asyncio.sleep(0)
    if begun:
        await turns()
    (flight,) = pipeline.states["coalesce"].tasks
    flight.cancel()
    for error in await outcomes(*tasks):
        assert type(error) is ResilienceError
        assert str(error) == "the flight of 'read' was cancelled by nobody who waits for it"
    assert counts(pipeline) == {"flights": 1, "coalesced": 1}
    assert await pipeline.run(Script("next"), op=READ) == "next"


def test_an_exit_is_an_exit() -> None:
    """It ends the loop, and whoever waits is told the same."""

    class Exit(BaseException):
        pass

    seen: list[BaseException] = []

    async def target() -> None:
        await asyncio.sleep(1)
        raise Exit

    async def main() -> None:
        pipeline = Pipeline(Coalesce())

        async def one() -> None:
            try:
                await pipeline.run(target, op=READ)
            except Exit as error:
                seen.append(error)

        await asyncio.gather(one(), one())
        assert counts(pipeline) == {"flights": 1, "coalesced": 1}

    VirtualLoop().run(main())
    assert len(seen) == 2
    assert seen[0] is seen[1]


# -- in company -----------------------------------------------------------------------------------------------


@virtual
async def test_the_attempts_are_the_flights() -> None:
    """The first caller's history has them; the others note that they came along."""
    recorder = Recorder()
    pipeline = Pipeline(Coalesce(), Retry(attempts=3, wait=1, jitter="none"), Timeout(5), observers=(recorder,))
    script = Script(ConnectionRefusedError(), after(1, "answer"))
    assert await outcomes(*(start(pipeline, script) for _ in range(3))) == ["answer"] * 3
    assert script.count == 2
    assert len(recorder.attempts) == 2
    first, *others = [ended.call for ended in recorder.calls]
    assert [attempt.number for attempt in first.attempts] == [1, 2]
    assert "coalesced" not in first.attempts[0].notes
    assert [call.attempts[0].notes for call in others] == [{"coalesced": True}] * 2
    assert recorder.balanced()


@virtual
async def test_without_a_retry_an_attempt_is_the_flights_too() -> None:
    """The boundary lies beneath: one attempt for all."""
    recorder = Recorder()
    pipeline = Pipeline(Coalesce(), Timeout(5), observers=(recorder,))
    await outcomes(*(start(pipeline, Script(after(1, "answer"))) for _ in range(1)))
    script = Script(after(1, "answer"))
    await outcomes(*(start(pipeline, script) for _ in range(3)))
    assert len(recorder.attempts) == 2


@virtual
async def test_a_policy_above_sees_the_attempt_that_decided() -> None:
    """As it would without a flight between: a hedge beneath tells which branch won."""
    attempts: list[Any] = []

    class Above:
        def bind(self, next: Callable[[Call], Awaitable[Any]], kit: Any, /) -> Any:
            async def run(call: Call) -> Any:
                try:
                    return await next(call)
                finally:
                    attempts.append(call.attempt.number)

            return run

    pipeline = Pipeline(Above(), Coalesce(), Hedge(0.5))
    assert await pipeline.run(Script(after(3, "slow"), after(0.1, "quick")), op=READ) == "quick"
    assert attempts == [2]


@virtual
async def test_above_a_breaker_and_a_pool_one_call_counts() -> None:
    """A hundred callers, one request, one failure."""
    pipeline = Pipeline(Coalesce(), Breaker(consecutive=2), Timeout(1), Pool(object, name="rest"))
    script = Script(after(0.5, OSError("reset")))
    errors = await outcomes(*(start(pipeline, script) for _ in range(100)))
    assert {type(error) for error in errors} == {OSError}
    assert (script.count, pipeline.status()["pool:rest"]["requests"]) == (1, 1)
    assert pipeline.status()["breaker"]["default"]["state"] == "closed"


def test_a_task_that_runs_at_once_is_a_flight_too() -> None:
    """With eager tasks, a flight may have landed before anybody waits."""

    class Landed(asyncio.Future[Any]):
        def set_name(self, name: object) -> None:
            """As tasks have it: the loop calls this from 3.13 on."""

    def eager(loop: Any, coro: Any, context: Any = None, **options: Any) -> Any:
        """As an eager task factory does with a coroutine that never waits."""
        with pytest.raises(StopIteration) as returned:
            (context or contextvars.copy_context()).run(coro.send, None)
        done = Landed(loop=loop)
        done.set_result(returned.value.value)
        return done

    async def main() -> None:
        pipeline = Pipeline(Coalesce())
        asyncio.get_running_loop().set_task_factory(eager)
        assert await pipeline.run(Script("answer"), op=READ) == "answer"
        asyncio.get_running_loop().set_task_factory(None)
        assert counts(pipeline) == {"flights": 1}

    VirtualLoop().run(main())


@virtual
async def test_an_observer_more_changes_nothing() -> None:
    """The pipeline binds anew in the same loop, and finds its flights."""
    pipeline = Pipeline(Coalesce())
    script = Script(after(1, "answer"))
    first = start(pipeline, script)
    await turns()
    pipeline.observe(Recorder())
    assert await outcomes(first, start(pipeline, script)) == ["answer"] * 2
    assert (script.count, counts(pipeline)) == (1, {"flights": 1, "coalesced": 1})


def test_another_event_loop_begins_with_none() -> None:
    """Nobody can wait for what runs in another loop."""

    async def begin() -> asyncio.Task[Any]:
        task = start(pipeline, script)
        await turns()
        assert counts(pipeline)["active"] == 1
        return task  # nothing else holds it: it would go with the next collection of garbage

    async def again() -> None:
        assert await pipeline.run(script, op=READ) == "answer"
        await pipeline.aclose()
        gc.collect()
        assert counts(pipeline) == {"waiting": 1, "flights": 2}

    pipeline = Pipeline(Coalesce())
    script = Script(never, "answer")
    one, two = VirtualLoop(), VirtualLoop()
    waits = one.run_until_complete(begin())
    two.run_until_complete(again())
    two.close()
    for task in asyncio.all_tasks(one):
        task.cancel()
    one.run_until_complete(turns())
    one.close()
    assert waits.cancelled()
    assert counts(pipeline) == {"flights": 2}


def test_a_function_of_which_nothing_is_known_is_refused() -> None:
    """At decoration, with what to do."""

    async def place(order: str) -> None: ...

    with pytest.raises(ConfigError, match=r"place: Coalesce\(\) makes one call of several: guard the function with an"):
        Coalesce()(place)
    Pipeline(Coalesce()).guard(READ)(place)


def test_a_key_must_be_a_function() -> None:
    """With what was found."""
    with pytest.raises(ConfigError, match=r"Coalesce: key is 'op', must be a function of the call"):
        Coalesce(key="op")  # type: ignore[arg-type]
