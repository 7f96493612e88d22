"""Cache: how long an answer serves, what renews it, what it stands in for, and what is never kept."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from resilience import (
    Breaker,
    BulkheadFull,
    Cache,
    Call,
    Coalesce,
    ConfigError,
    Deadline,
    Fallback,
    Kind,
    Op,
    Pipeline,
    RateLimited,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")
COUNTS = {"size": 0, "hits": 0, "misses": 0, "stale": 0, "passed": 0, "refreshing": 0, "failed": 0}


class Told(Exception):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


async def at(seconds: float) -> None:
    """Until this time of the loop; then let what became due run."""
    await asyncio.sleep(seconds - asyncio.get_running_loop().time())
    await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def ask(pipeline: Pipeline, script: Any, *args: Any, op: Op = READ) -> Any:
    """What the call answers, or the error that it raises."""
    try:
        return await pipeline.run(script, *args, op=op)
    except Exception as error:
        return error


def counts(pipeline: Pipeline) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: count for name, count in pipeline.status()["cache"].items() if count}


# -- fresh ----------------------------------------------------------------------------------------------------


@virtual
async def test_an_answer_is_fresh_for_its_time_to_live() -> None:
    """Less than ttl seconds old: at the very second it is stale (RFC 9111, 4.2), and goes down once more."""
    pipeline = Pipeline(Cache(5))
    script = Script("first", "second")
    assert await ask(pipeline, script) == "first"
    await at(4.999)
    assert await ask(pipeline, script) == "first"
    await at(5)
    assert await ask(pipeline, script) == "second"
    assert script.count == 2
    assert counts(pipeline) == {"size": 1, "hits": 1, "misses": 2}


@virtual
async def test_the_same_with_somebody_who_observes() -> None:
    """The note says how old the answer is; a call that went down has none."""
    recorder = Recorder()
    pipeline = Pipeline(Cache(5), observers=(recorder,))
    script = Script("first", "second")
    assert await ask(pipeline, script) == "first"
    assert recorder.calls[-1].call.attempt.notes == {}
    await at(4.5)
    assert await ask(pipeline, script) == "first"
    assert recorder.calls[-1].call.attempt.notes == {"cache": "hit", "cache.age": 4.5}
    assert len(recorder.attempts) == 1  # an answer from memory is no attempt
    await at(5)
    assert await ask(pipeline, script) == "second"
    assert counts(pipeline) == {"size": 1, "hits": 1, "misses": 2}


@virtual
async def test_the_age_counts_from_the_arrival() -> None:
    """A slow answer is as fresh as a quick one when it arrives."""
    pipeline = Pipeline(Cache(5))
    script = Script(after(10, "first"), "second")
    await ask(pipeline, script)
    await at(14.9)
    assert await ask(pipeline, script) == "first"
    await at(15)
    assert await ask(pipeline, script) == "second"


@pytest.mark.parametrize("observers", [(), (Recorder(),)])
@virtual
async def test_each_key_has_its_own_answer(observers: Any) -> None:
    """The operation, the function and its arguments."""
    pipeline = Pipeline(Cache(5), observers=observers)
    script = Script(lambda *args: f"answer to {args}")
    for args in (("BTC",), ("ETH",), ("BTC",), ("BTC", 1)):
        assert await ask(pipeline, script, *args) == f"answer to {args}"
    assert counts(pipeline) == {"size": 3, "hits": 1, "misses": 3}
    other = Script("another function")
    assert await ask(pipeline, other, "BTC") == "another function"


@virtual
async def test_a_key_function_decides_what_is_the_same() -> None:
    """None says that this call is like no other."""
    pipeline = Pipeline(Cache(5, key=lambda call: call.args[0]))
    script = Script("first", "second", "third")
    assert [await ask(pipeline, script, "BTC", n) for n in range(2)] == ["first", "first"]
    assert [await ask(pipeline, script, None) for _ in range(2)] == ["second", "third"]
    assert counts(pipeline) == {"size": 1, "hits": 1, "misses": 1, "passed": 2}


@pytest.mark.parametrize("observers", [(), (Recorder(),)])
@virtual
async def test_what_cannot_be_hashed_passes_through(observers: Any) -> None:
    """Uncached, and counted."""
    pipeline = Pipeline(Cache(5), observers=observers)
    script = Script("first", "second", ValueError("own"))
    assert [await ask(pipeline, script, ["BTC"]) for _ in range(2)] == ["first", "second"]
    assert counts(pipeline) == {"passed": 2}
    error = await ask(pipeline, script, ["BTC"])
    assert error.__context__ is None


@pytest.mark.parametrize("observers", [(), (Recorder(),)])
@virtual
async def test_a_write_passes_through(observers: Any) -> None:
    """Neither kept nor answered, and counted by nobody."""
    pipeline = Pipeline(Cache(5, stale_if_error=9), observers=observers)
    script = Script("order 1", "order 2", OSError())
    assert [await ask(pipeline, script, op=WRITE) for _ in range(2)] == ["order 1", "order 2"]
    assert isinstance(await ask(pipeline, script, op=WRITE), OSError)
    assert counts(pipeline) == {}


@virtual
async def test_none_is_an_answer() -> None:
    """It is kept like any other."""
    pipeline = Pipeline(Cache(5))
    script = Script(None, "second")
    assert [await ask(pipeline, script) for _ in range(2)] == [None, None]


@virtual
async def test_an_error_is_never_kept() -> None:
    """The next call asks again."""
    pipeline = Pipeline(Cache(5))
    down = OSError()
    script = Script(down, "first")
    assert await ask(pipeline, script) is down
    assert await ask(pipeline, script) == "first"
    assert counts(pipeline) == {"size": 1, "misses": 2}


@virtual
async def test_the_answer_that_was_unused_for_longest_makes_room() -> None:
    """Being answered from it is a use, and so is being kept."""
    for observers in ((), (Recorder(),)):
        pipeline = Pipeline(Cache(5, most=2), observers=observers)
        script = Script(lambda key: key)
        for key in ("a", "b", "a", "c"):
            await ask(pipeline, script, key)
        assert script.count == 3
        assert counts(pipeline)["size"] == 2
        await ask(pipeline, script, "a")
        assert script.count == 3
        await ask(pipeline, script, "b")
        assert script.count == 4


@virtual
async def test_calls_that_miss_together_all_go_down() -> None:
    """Making them one is the business of Coalesce."""
    script = Script(after(1, "first"), after(1, "second"))
    pipeline = Pipeline(Cache(5))
    assert set(await asyncio.gather(*(ask(pipeline, script) for _ in range(2)))) == {"first", "second"}
    script = Script(after(1, "first"), after(1, "second"))
    pipeline = Pipeline(Cache(5), Coalesce())
    assert await asyncio.gather(*(ask(pipeline, script) for _ in range(3))) == ["first"] * 3
    assert script.count == 1


@virtual
async def test_who_asked_later_has_the_later_answer() -> None:
    """An answer that was asked for earlier does not replace it, however late it arrives."""
    pipeline = Pipeline(Cache(9))
    script = Script(after(5, "old"), after(1, "new"))
    slow = asyncio.ensure_future(ask(pipeline, script))
    await at(1)
    assert await ask(pipeline, script) == "new"
    assert await slow == "old"
    assert await ask(pipeline, script) == "new"


@virtual
async def test_clear_forgets_all_and_what_is_on_its_way() -> None:
    """What was asked before a write may be older than the write."""
    pipeline = Pipeline(Cache(9))
    script = Script("first", after(2, "before the write"), "after it", "never")
    await ask(pipeline, script, 1)
    slow = asyncio.ensure_future(ask(pipeline, script, 2))
    await at(1)
    pipeline.states["cache"].clear()
    assert counts(pipeline)["misses"] == 2
    assert "size" not in counts(pipeline)
    assert await slow == "before the write"
    assert await ask(pipeline, script, 2) == "after it"
    assert await ask(pipeline, script, 2) == "after it"


def test_another_event_loop_begins_with_nothing() -> None:
    """The clocks of two loops cannot be compared; an observer more in the same loop changes nothing."""

    async def twice(*expected: str) -> None:
        assert [await ask(pipeline, script) for _ in range(2)] == list(expected)
        pipeline.observe(Recorder())
        assert await ask(pipeline, script) == expected[-1]

    pipeline = Pipeline(Cache(5))
    script = Script("first", "second")
    VirtualLoop().run(twice("first", "first"))
    VirtualLoop().run(twice("second", "second"))


# -- stale-while-revalidate -----------------------------------------------------------------------------------


@virtual
async def test_a_stale_answer_serves_at_once_and_is_renewed_in_the_background() -> None:
    """Within the window; one renewal at a time, and the next call gets what it brought."""
    recorder = Recorder()
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10), observers=(recorder,))
    script = Script("first", after(1, "second"))
    await ask(pipeline, script)
    await at(6)
    for _ in range(3):
        assert await ask(pipeline, script) == "first"
        assert recorder.calls[-1].call.attempt.notes == {"cache": "stale-while-revalidate", "cache.age": 6}
    assert counts(pipeline) == {"size": 1, "misses": 1, "stale": 3, "refreshing": 1}
    await at(7)
    assert await ask(pipeline, script) == "second"
    assert counts(pipeline) == {"size": 1, "misses": 1, "stale": 3, "hits": 1}
    assert script.begun == [0, 6]


@virtual
async def test_the_window_ends() -> None:
    """At the last second of it the old answer still serves; after it, calls go down themselves."""
    for observers in ((), (Recorder(),)):
        pipeline = Pipeline(Cache(5, stale_while_revalidate=10), observers=observers)
        script = Script("first", OSError(), "third")
        begun = asyncio.get_running_loop().time()
        await ask(pipeline, script)
        await at(begun + 15)
        assert await ask(pipeline, script) == "first"
        await turns()
        await at(begun + 15.001)
        assert await ask(pipeline, script) == "third"


@virtual
async def test_without_a_window_a_stale_answer_does_not_serve() -> None:
    """Not even in the very second in which it becomes stale."""
    pipeline = Pipeline(Cache(5, stale_if_error=10))
    script = Script("first", "second")
    await ask(pipeline, script)
    await at(5)
    assert await ask(pipeline, script) == "second"
    assert counts(pipeline) == {"size": 1, "misses": 2}


@virtual
async def test_a_renewal_is_a_call_of_its_own() -> None:
    """Told like one, in an empty context, with no deadline of the caller's, and with what the caller asked."""
    tenant = ContextVar("tenant", default="nobody")
    seen: list[tuple[str, Any, Any]] = []

    async def fetch(symbol: str, depth: int = 0) -> str:
        seen.append((tenant.get(), symbol, depth))
        return "answer"

    calls: list[Call] = []

    class Spy:
        def bind(self, next: Any, kit: Any, /) -> Any:
            async def run(call: Call) -> Any:
                calls.append(call)
                return await next(call)

            return run

    recorder = Recorder()
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10), Spy(), observers=(recorder,), name="rates")
    first = Call(READ, fetch, ("BTC",), {"depth": 3}, keys={"host": "h"})
    await pipeline.send(first)
    await at(5)
    tenant.set("somebody")
    with within(1):
        stale = Call(READ, fetch, ("BTC",), {"depth": 3}, keys={"host": "h"})
        assert await pipeline.send(stale) == "answer"
    await turns()
    assert seen == [("nobody", "BTC", 3)] * 2
    own = calls[1]
    assert own not in (first, stale)
    assert (own.op, own.keys, own.deadline) == (READ, {"host": "h"}, 15)
    assert [ended.call for ended in recorder.calls] == [first, stale, own]
    assert {ended.pipeline for ended in recorder.calls} == {"rates"}
    assert [(ended.error, ended.verdict) for ended in recorder.calls] == [(None, None)] * 3
    assert recorder.balanced()


@virtual
async def test_a_renewal_may_take_as_long_as_the_window_is() -> None:
    """It is cut off then, where nothing else bounds it, so that none hangs for ever."""
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10))
    script = Script("first", never, "third")
    await ask(pipeline, script)
    await at(6)
    assert await ask(pipeline, script) == "first"
    await at(15.5)
    assert counts(pipeline)["refreshing"] == 1
    await at(16.5)
    assert counts(pipeline) == {"size": 1, "misses": 1, "stale": 1, "failed": 1}
    assert script.cancelled == 1


@virtual
async def test_a_renewal_that_fails_leaves_the_old_answer() -> None:
    """It is counted, looked at, told as the end of its own call, and tried again by the next call."""
    recorder = Recorder()
    down = Told(Kind.FAILED)
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10), classify=told, observers=(recorder,))
    script = Script("first", down, "third")
    await ask(pipeline, script)
    await at(6)
    assert await ask(pipeline, script) == "first"
    await turns()
    assert counts(pipeline) == {"size": 1, "misses": 1, "stale": 1, "failed": 1}
    assert (recorder.calls[-1].error, recorder.calls[-1].verdict) == (down, Verdict(Kind.FAILED))
    assert await ask(pipeline, script) == "first"
    await turns()
    assert await ask(pipeline, script) == "third"


@virtual
async def test_a_renewal_that_is_refused_by_the_other_side_forgets_the_old_answer() -> None:
    """REJECTED is an answer, and no longer the old one."""
    no = Told(Kind.REJECTED)
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10), classify=told)
    script = Script("first", no)
    await ask(pipeline, script)
    await at(6)
    assert await ask(pipeline, script) == "first"
    await turns()
    assert counts(pipeline) == {"misses": 1, "stale": 1, "failed": 1}
    assert await ask(pipeline, script) is no


@virtual
async def test_a_refusal_of_ours_forgets_nothing() -> None:
    """From it nobody learns anything."""
    pipeline = Pipeline(Cache(5, stale_while_revalidate=10))
    script = Script("first", BulkheadFull("full"))
    await ask(pipeline, script)
    await at(6)
    assert await ask(pipeline, script) == "first"
    await turns()
    assert await ask(pipeline, script) == "first"


@virtual
async def test_closing_the_pipeline_ends_what_is_being_renewed() -> None:
    """It is cancelled and waited for; the pipeline serves on."""
    cleaned: list[float] = []

    async def fetch() -> str:
        if not cleaned and asyncio.get_running_loop().time() >= 5:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)
                cleaned.append(asyncio.get_running_loop().time())
        return "answer"

    recorder = Recorder()
    pipeline = Pipeline(Cache(5, stale_while_revalidate=100), observers=(recorder,))
    await ask(pipeline, fetch)
    await pipeline.aclose()
    await at(6)
    await ask(pipeline, fetch)
    await at(7)
    await pipeline.aclose()
    assert cleaned == [8]
    assert recorder.balanced()
    assert isinstance(recorder.calls[-1].error, asyncio.CancelledError)
    assert recorder.calls[-1].verdict is None
    await turns()
    assert counts(pipeline) == {"size": 1, "misses": 1, "stale": 1}
    assert await ask(pipeline, fetch) == "answer"
    await turns()
    assert "refreshing" not in counts(pipeline)


def test_what_is_renewed_in_another_loop_is_its_own() -> None:
    """It is not waited for, and its end is not taken for the end of a renewal here."""

    async def stale() -> None:
        await ask(pipeline, script)
        await asyncio.sleep(6)
        await ask(pipeline, script)
        await turns()
        assert counts(pipeline)["refreshing"] == 1

    async def close() -> None:
        await pipeline.aclose()

    async def stop() -> None:
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        task.cancel()
        await asyncio.wait([task])
        await turns()

    pipeline = Pipeline(Cache(5, stale_while_revalidate=100))
    script = Script("one", never, "two", never)
    one, two = VirtualLoop(), VirtualLoop()
    one.run_until_complete(stale())
    two.run_until_complete(close())
    two.run_until_complete(stale())
    one.run_until_complete(stop())
    assert counts(pipeline)["refreshing"] == 1
    two.run_until_complete(close())
    assert script.cancelled == 2
    one.close()
    two.close()


@virtual
async def test_an_observer_more_changes_nothing_about_a_renewal() -> None:
    """The pipeline binds anew in the same loop, and begins no second one."""
    pipeline = Pipeline(Cache(5, stale_while_revalidate=100))
    script = Script("first", after(3, "second"))
    await ask(pipeline, script)
    await at(6)
    await ask(pipeline, script)
    await turns()
    pipeline.observe(Recorder())
    assert await ask(pipeline, script) == "first"
    await turns()
    assert (script.count, counts(pipeline)["refreshing"]) == (2, 1)


@virtual
async def test_a_caller_that_is_cancelled_leaves_the_renewal_alone() -> None:
    """It belongs to nobody's task."""
    pipeline = Pipeline(Cache(5, stale_while_revalidate=100), Timeout(50))
    script = Script("first", after(3, "second"))
    await ask(pipeline, script)
    await at(6)
    task = asyncio.ensure_future(ask(pipeline, script))
    await asyncio.sleep(1)
    assert not task.cancel()
    await at(9)
    assert await ask(pipeline, script) == "second"


# -- stale-if-error -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "serves"),
    [
        (Told(Kind.FAILED), True),
        (Told(Kind.THROTTLED), True),
        (Told(Kind.UNKNOWN), True),
        (Told(Kind.REJECTED), False),
        (BulkheadFull("full"), True),
        (RateLimited("late"), True),
    ],
)
@virtual
async def test_a_stale_answer_stands_in_for_an_error(error: Exception, serves: bool) -> None:
    """As the verdict table says of a fallback, and only idempotent operations are cached at all."""
    recorder = Recorder()
    pipeline = Pipeline(Cache(5, stale_if_error=10), classify=told, observers=(recorder,))
    script = Script("first", error)
    await ask(pipeline, script)
    await at(5)
    assert await ask(pipeline, script) == ("first" if serves else error)
    notes = recorder.calls[-1].call.attempt.notes
    assert notes == ({"cache": "stale-if-error", "cache.age": 5} if serves else {})
    assert counts(pipeline).get("stale", 0) == serves
    assert counts(pipeline).get("size", 0) == serves
    assert counts(pipeline)["misses"] == 2


@virtual
async def test_it_stands_in_up_to_the_last_second() -> None:
    """The age is that at which it serves, after the call has failed."""
    pipeline = Pipeline(Cache(5, stale_if_error=10))
    down = OSError()
    script = Script("first", after(1, down))
    await ask(pipeline, script)
    await at(14)
    assert await ask(pipeline, script) == "first"
    await at(14.5)
    assert await ask(pipeline, script) is down
    assert counts(pipeline) == {"size": 1, "misses": 3, "stale": 1}


@virtual
async def test_without_a_time_for_it_an_error_is_raised() -> None:
    """Though the old answer is there, and its window for renewals is open."""
    pipeline = Pipeline(Cache(5))
    down = OSError()
    script = Script("first", after(0, down))
    await ask(pipeline, script)
    await at(5)
    assert await ask(pipeline, script) is down


@virtual
async def test_with_nothing_kept_an_error_is_raised() -> None:
    """There is nothing to stand in for it."""
    pipeline = Pipeline(Cache(5, stale_if_error=10))
    down = OSError()
    assert await ask(pipeline, Script(down)) is down
    assert counts(pipeline) == {"misses": 1}


@virtual
async def test_a_cancelled_call_is_not_answered() -> None:
    """The caller has gone."""
    pipeline = Pipeline(Cache(5, stale_if_error=10))
    script = Script("first", never)
    await ask(pipeline, script)
    await at(6)
    task = asyncio.ensure_future(pipeline.run(script, op=READ))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert counts(pipeline) == {"size": 1, "misses": 2}


@virtual
async def test_a_no_does_not_forget_what_was_asked_for_later() -> None:
    """The later answer knows better."""
    no = Told(Kind.REJECTED)
    pipeline = Pipeline(Cache(5, stale_if_error=10), classify=told)
    script = Script(after(2, no), "second")
    slow = asyncio.ensure_future(ask(pipeline, script))
    await at(1)
    assert await ask(pipeline, script) == "second"
    assert await slow is no
    assert await ask(pipeline, script) == "second"


@virtual
async def test_a_call_that_fails_is_answered_with_what_arrived_meanwhile() -> None:
    """And with nothing if that was forgotten meanwhile."""
    down = OSError()
    pipeline = Pipeline(Cache(5, stale_if_error=10))
    script = Script("first", after(3, down), "third", after(3, down))
    await ask(pipeline, script)
    await at(6)
    slow = asyncio.ensure_future(ask(pipeline, script))
    await at(7)
    assert await ask(pipeline, script) == "third"
    assert await slow == "third"
    await at(13)
    slow = asyncio.ensure_future(ask(pipeline, script))
    await at(14)
    pipeline.states["cache"].clear()
    assert await slow is down


# -- in company -----------------------------------------------------------------------------------------------


@virtual
async def test_the_callers_deadline_is_enforced_beneath() -> None:
    """A miss that comes too late is a TimedOut, and a stale answer may stand in for it; a hit costs no time."""
    pipeline = Pipeline(Cache(5, stale_if_error=100))
    script = Script("first", never)
    with within(1):
        assert isinstance(await ask(pipeline, Script(never)), TimedOut)
    await ask(pipeline, script)
    await at(9)
    with within(2):
        assert await ask(pipeline, script) == "first"
    assert asyncio.get_running_loop().time() == 11
    fresh = Pipeline(Cache(5))
    await ask(fresh, script := Script("fresh", "later"))
    with within(-1):
        assert await ask(fresh, script) == "fresh"


@virtual
async def test_outside_a_deadline_and_a_retry() -> None:
    """The renewal has a deadline and attempts of its own; the attempts of a miss are those of its call."""
    recorder = Recorder()
    pipeline = Pipeline(
        Cache(5, stale_while_revalidate=60),
        Deadline(10),
        Retry(attempts=3, wait=2, jitter="none"),
        observers=(recorder,),
    )
    down = ConnectionRefusedError()
    script = Script(down, "first", down, down, "second")
    assert await ask(pipeline, script) == "first"
    await at(8)
    assert await ask(pipeline, script) == "first"
    await at(12)
    assert await ask(pipeline, script) == "second"
    assert script.begun == [0, 2, 8, 10, 12]
    assert [len(ended.call.attempts) for ended in recorder.calls] == [2, 1, 3, 1]


@virtual
async def test_beneath_a_fallback_and_above_a_breaker() -> None:
    """First the stale answer, then the open circuit's refusal is replaced by it, then the fallback speaks."""
    pipeline = Pipeline(Fallback("instead"), Cache(5, stale_if_error=10), Breaker(consecutive=1, open_for=100))
    script = Script("first", ConnectionRefusedError())
    answers = []
    for moment in (0, 6, 7, 16):
        await at(moment)
        answers.append(await ask(pipeline, script))
    assert answers == ["first", "first", "first", "instead"]
    assert script.count == 2


@virtual
async def test_a_function_that_may_be_asked_again_is_cached_as_a_method_too() -> None:
    """Each object has answers of its own."""
    rates = Pipeline(Cache(5))

    class Client:
        def __init__(self, name: str) -> None:
            self.name = name
            self.count = 0

        @rates.guard(READ)
        async def fetch(self, symbol: str) -> str:
            self.count += 1
            return f"{symbol} of {self.name}"

    one, two = Client("one"), Client("two")
    for _ in range(2):
        assert [await client.fetch("BTC") for client in (one, two)] == ["BTC of one", "BTC of two"]
    assert (one.count, two.count) == (1, 1)


def test_a_function_of_which_nothing_is_known_is_refused() -> None:
    """At decoration, with what to do."""

    async def place(order: str) -> None: ...

    with pytest.raises(ConfigError, match=r"place: Cache\(\) answers only what may safely be asked again: guard the"):
        Cache(5)(place)
    Pipeline(Cache(5)).guard(READ)(place)


def test_the_least_settings_are_allowed() -> None:
    """One key, and no time beyond the time to live."""
    assert Cache(0.001, 1, 0, 0).most == 1


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Cache(0), "ttl"),
        (lambda: Cache(5, most=0), "most"),
        (lambda: Cache(5, most=1.5), "most"),  # type: ignore[arg-type]
        (lambda: Cache(5, stale_while_revalidate=-1), "stale_while_revalidate"),
        (lambda: Cache(5, stale_if_error=-1), "stale_if_error"),
        (lambda: Cache(5, key="op"), "key"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Any, field: str) -> None:
    """With what was found and what is allowed."""
    with pytest.raises(ConfigError, match=f"Cache: {field} is .*, must be "):
        make()
