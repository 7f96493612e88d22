"""Async generators under policies: what stays of a generator, and what each policy means between items."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from resilience import (
    Breaker,
    Bulkhead,
    BulkheadFull,
    ConfigError,
    Deadline,
    Op,
    Pipeline,
    Policy,
    Retry,
    TimedOut,
    Timeout,
    within,
)
from resilience.call import Call, takes_call
from resilience.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted
from resilience.kit import Kit
from resilience.streams import StreamHandler, held
from resilience.testing import Recorder, VirtualLoop, virtual

READ = Op("trades", idempotent=True)


def clock() -> float:
    return asyncio.get_running_loop().time()


class Feed:
    """A scripted async generator function. Each argument is what one opening plays: items, errors, or seconds to wait
    as ``(seconds,)``; the last one for ever. It notes when it was opened, with what, and how many are open.
    """

    def __init__(self, *openings: list[Any]) -> None:
        self.openings = openings
        self.begun: list[float] = []
        self.asked: list[dict[str, Any]] = []
        self.open = 0
        self.ended: list[str] = []

    async def __call__(self, **asked: Any) -> AsyncIterator[Any]:
        steps = self.openings[min(len(self.begun), len(self.openings) - 1)]
        self.begun.append(clock())
        self.asked.append(asked)
        self.open += 1
        how = "exhausted"
        try:
            for step in steps:
                if isinstance(step, tuple):
                    await asyncio.sleep(step[0])
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            self.open -= 1
            self.ended.append(how)


async def read(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


# -- it stays a generator -------------------------------------------------------------------------------------


def test_a_decorated_generator_function_stays_one() -> None:
    """Signature, name, documentation; stacked policies are one pipeline; unwrap finds the function."""

    @Retry(on=OSError, resume="since")
    @Bulkhead(5)
    @Timeout(30)
    async def trades(symbol: str, *, since: int | None = None) -> AsyncIterator[int]:
        """Trade by trade."""
        yield 1

    assert inspect.isasyncgenfunction(trades)
    assert str(inspect.signature(trades)) == "(symbol: 'str', *, since: 'int | None' = None) -> 'AsyncIterator[int]'"
    assert trades.__doc__ == "Trade by trade."
    assert [type(policy).__name__ for policy in trades.pipeline.policies] == ["Retry", "Bulkhead", "Timeout"]  # type: ignore[attr-defined]
    assert inspect.unwrap(trades).__code__.co_name == "trades"
    stream = trades("BTC")
    assert inspect.isasyncgen(stream)


@virtual
async def test_methods_objects_partials_and_guards() -> None:
    """Whatever opens a stream can be guarded, and gets its arguments."""

    class Client:
        step = 2

        @Timeout(1)
        async def count(self, most: int) -> AsyncIterator[int]:
            for number in range(0, most, self.step):
                yield number

        @Timeout(1)
        @staticmethod
        async def fixed(most: int) -> AsyncIterator[int]:
            yield most

    async def plain(first: int, second: int) -> AsyncIterator[int]:
        yield first
        yield second

    assert await read(Client().count(5)) == [0, 2, 4]
    assert await read(Client().fixed(7)) == await read(Client.fixed(7)) == [7]
    assert await read(Timeout(1)(partial(plain, 1))(2)) == [1, 2]
    assert await read(Pipeline(Timeout(1)).guard(READ)(Feed([1]))()) == [1]
    assert await read(Pipeline(Timeout(1)).stream(plain, 3, second=4)) == [3, 4]


@virtual
async def test_nothing_happens_before_the_first_item_is_asked_for() -> None:
    """No call, no place; and closing what never began is nothing."""
    feed = Feed([1])
    pipeline = Pipeline(Bulkhead(1))
    stream = pipeline.stream(feed)
    await stream.aclose()
    assert not feed.begun
    assert not pipeline.states


@virtual
async def test_closing_closes_the_generator_once() -> None:
    """A second aclose is nothing, and so is an item asked for after it."""
    feed = Feed([1, 2])
    stream = Pipeline(Timeout(1), Retry(on=OSError), Bulkhead(1)).stream(feed)
    assert await anext(stream) == 1
    await stream.aclose()
    await stream.aclose()
    assert feed.ended == ["GeneratorExit"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@virtual
async def test_what_is_sent_arrives() -> None:
    """asend() reaches the generator through all policies."""

    @Retry(on=OSError)
    @Bulkhead(1)
    @Timeout(1)
    async def echo() -> AsyncGenerator[str, str]:
        said = "begin"
        while said != "end":
            said = yield f"heard {said}"

    stream = echo()
    assert await stream.asend(None) == "heard begin"  # type: ignore[arg-type]
    assert await stream.asend("x") == "heard x"
    assert await anext(stream) == "heard None"
    with pytest.raises(StopAsyncIteration):
        await stream.asend("end")


@virtual
async def test_what_is_thrown_arrives_and_is_never_retried() -> None:
    """The generator may handle it and go on; what it lets through is the consumer's own error, the very object."""
    opened = 0

    async def stubborn() -> AsyncIterator[str]:
        nonlocal opened
        opened += 1
        try:
            yield "first"
        except ValueError:
            yield "handled"

    pipeline = Pipeline(Timeout(1), Retry(on=Exception, resume=True), Bulkhead(1))
    stream = pipeline.stream(stubborn)
    assert await anext(stream) == "first"
    assert await stream.athrow(ValueError()) == "handled"
    error = OSError("mine")
    with pytest.raises(OSError, match="mine") as caught:
        await stream.athrow(error)
    assert caught.value is error
    assert opened == 1
    assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_a_thrown_cancellation_arrives_too() -> None:
    """Whatever it is that is thrown."""

    async def stubborn() -> AsyncIterator[str]:
        try:
            yield "first"
        except asyncio.CancelledError:
            yield "handled"

    stream = Pipeline(Bulkhead(1)).stream(stubborn)
    await anext(stream)
    assert await stream.athrow(asyncio.CancelledError()) == "handled"
    await stream.aclose()


@virtual
async def test_a_guarded_generator_can_be_a_context_manager() -> None:
    """asynccontextmanager throws into it, and compares identities."""
    told: list[str] = []

    @asynccontextmanager
    @Bulkhead(1)
    @Timeout(1)
    async def connection() -> AsyncIterator[str]:
        try:
            yield "open"
        except KeyError:
            told.append("failed")
            raise
        finally:
            told.append("closed")

    async with connection() as state:
        assert state == "open"
    with pytest.raises(KeyError):
        async with connection():
            raise KeyError
    assert told == ["closed", "failed", "closed"]


@virtual
async def test_a_generator_may_swallow_what_is_thrown() -> None:
    """Then the stream has ended, and nobody sees an error."""

    async def quiet() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError:
            return

    stream = Pipeline(Timeout(1), Bulkhead(1)).stream(quiet)
    await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await stream.athrow(ValueError())


class Ticks:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self.left = 2
        self.closed = 0

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration
        return self.left

    async def aclose(self) -> None:
        self.closed += 1


@virtual
async def test_any_async_iterable_can_be_streamed() -> None:
    """Its own aclose is called, if it has one, however the stream ends."""
    ticks = Ticks()
    assert await read(Pipeline(Timeout(1)).stream(lambda: ticks)) == [1, 0]
    assert ticks.closed == 1
    early = Ticks()
    async with aclosing(Pipeline(Timeout(1)).stream(lambda: early)) as items:
        async for _ in items:
            break
    assert early.closed == 1

    class Bare:
        def __aiter__(self) -> AsyncIterator[int]:
            return Feed([5])()

    assert await read(Pipeline().stream(Bare)) == [5]


@virtual
async def test_what_yields_nothing_is_told() -> None:
    """A coroutine function belongs to run()."""

    async def once() -> int:
        return 1

    with pytest.raises(TypeError, match=r"found a coroutine where a stream was to be: stream\(\) takes what yields"):
        await read(Pipeline().stream(once))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="found a int"):
        await read(Pipeline().stream(lambda: 1))  # type: ignore[arg-type,return-value]


@virtual
async def test_a_transport_speaks_for_itself() -> None:
    """A target that takes the call is handed it, and says itself whether anything was sent."""
    seen: list[Any] = []

    @takes_call
    async def subscribe(call: Call, topic: str, after: int = 0) -> AsyncIterator[int]:
        seen.append((call.attempt.sent, topic, after))
        if after == 0:
            yield 1
            raise OSError
        yield 2

    pipeline = Pipeline(Retry(on=OSError, wait=0, resume="after"))
    assert await read(pipeline.stream(subscribe, "trades", 0)) == [1, 2]  # type: ignore[arg-type]
    assert seen == [(False, "trades", 0), (False, "trades", 1)]


# -- what may guard a stream ----------------------------------------------------------------------------------


def test_a_policy_that_means_nothing_between_items_is_refused_by_name() -> None:
    """At decoration and at stream(), with the cure."""

    async def trades() -> AsyncIterator[int]:
        yield 1

    for guard in (Breaker(), Pipeline(Timeout(1), Breaker()), Pipeline(Breaker()).guard(READ)):
        with pytest.raises(ConfigError, match="trades is a stream, and Breaker means nothing between its items: leave"):
            guard(trades)
    with pytest.raises(ConfigError, match="Deadline means nothing"):
        Pipeline(Deadline(1)).stream(trades)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    """A predicate of results, a token that the function does not take, a resume of the wrong kind."""

    async def trades(since: int, /, until: int) -> AsyncIterator[int]:
        yield 1

    async def anything(symbol: str, **options: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="has items and no result: leave result out of Retry"):
        Retry(on=OSError, result=lambda value: False)(trades)
    for name in ("cursor", "since"):
        with pytest.raises(ConfigError, match=f"trades: .*gives the last item as {name}=, which is no keyword"):
            Retry(on=OSError, resume=name)(trades)
    Retry(on=OSError, resume="until")(trades)
    Retry(on=OSError, resume="cursor")(anything)
    for wrong in ("no name", False, 1, ""):
        with pytest.raises(ConfigError, match=r"resume is .*, must be the name of the argument that takes the last"):
            Retry(resume=wrong)  # type: ignore[arg-type]


@virtual
async def test_a_function_without_a_signature_is_taken_at_its_word() -> None:
    """Nobody can tell whether it takes the argument."""

    class Opaque:
        __signature__ = "none"

        async def __call__(self, since: int = 0) -> AsyncIterator[int]:
            yield since + 1
            if since < 2:
                raise OSError

    assert await read(Retry(on=OSError, resume="since", wait=0)(Opaque())()) == [1, 2, 3]


def test_a_stream_of_which_nothing_is_known_needs_on() -> None:
    """As a call does; an operation tells as well."""

    async def trades() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigError, match=r"trades: .*on=\(OSError, TimeoutError\)"):
        Retry()(trades)
    Pipeline(Retry()).guard(READ)(trades)


# -- retry ----------------------------------------------------------------------------------------------------


@virtual
async def test_opening_is_retried_with_the_usual_waits() -> None:
    """Until the first item has come."""
    feed = Feed([OSError("a")], [(0.5,), OSError("b")], ["item"])
    stream = Pipeline(Retry(on=OSError, wait=1, jitter="none")).stream(feed)
    assert await read(stream) == ["item"]
    assert feed.begun == [0, 1, 2.5]


@virtual
async def test_a_stream_may_be_empty() -> None:
    """At first, or where it goes on; the end is the end, and no error."""
    retry = Retry(on=OSError, wait=0, resume=True)
    recorder = Recorder()
    assert await read(Pipeline(retry, observers=(recorder,)).stream(Feed([]))) == []
    assert recorder.calls[0].error is None
    assert await read(Pipeline(retry).stream(Feed([1, OSError()], []))) == [1]
    assert await read(Pipeline(retry, Timeout(1)).stream(Feed([OSError()], []))) == []


@virtual
async def test_without_a_token_an_item_ends_the_retrying() -> None:
    """It would lose or double: the error says the cure, and the attempt says why it was the last."""
    feed = Feed([OSError("early")], ["item", OSError("late")])
    recorder = Recorder()
    stream = Pipeline(Retry(attempts=9, on=OSError, wait=0), observers=(recorder,)).stream(feed)
    assert await anext(stream) == "item"
    with pytest.raises(OSError, match="late") as caught:
        await anext(stream)
    assert "Retry(resume=...) says where to go on" in caught.value.__notes__[-1]
    assert recorder.attempts[-1].attempt.notes["retry_stopped"] == "no_resume"
    assert len(feed.begun) == 2


@virtual
async def test_the_last_item_is_the_token() -> None:
    """By keyword, where the caller had given it by position, and only once an item has come."""
    feed = Feed([OSError()], [1, 2, OSError()], [3, OSError()], [4])
    assert await read(Pipeline(Retry(on=OSError, wait=0, resume="after")).stream(feed, symbol="BTC")) == [1, 2, 3, 4]
    assert feed.asked == [
        {"symbol": "BTC"}, {"symbol": "BTC"}, {"symbol": "BTC", "after": 2}, {"symbol": "BTC", "after": 3}
    ]  # fmt: skip
    seen: list[tuple[Any, ...]] = []

    async def trades(first: str, /, after: int = 0, *more: str, last: bool = False) -> AsyncIterator[int]:
        seen.append((first, after, more, last))
        yield after + 1
        if after < 2:
            raise OSError

    guarded = Retry(on=OSError, wait=0, resume="after")(trades)
    assert await read(guarded("x", 0, "y", last=True)) == [1, 2, 3]
    assert seen == [("x", 0, ("y",), True), ("x", 1, ("y",), True), ("x", 2, ("y",), True)]
    seen.clear()
    assert await read(guarded("x")) == [1, 2, 3]
    assert seen[1:] == [("x", 1, (), False), ("x", 2, (), False)]


@virtual
async def test_a_function_makes_the_token() -> None:
    """Of the last item, as arguments; a position stays a position."""
    seen: list[tuple[int, str]] = []

    async def pages(number: int, cursor: str = "") -> AsyncIterator[dict[str, Any]]:
        seen.append((number, cursor))
        yield {"number": number, "next": f"c{number}"}
        if number < 3:
            raise OSError

    policy = Retry(on=OSError, wait=0, resume=lambda page: {"number": page["number"] + 1, "cursor": page["next"]})
    assert [page["number"] for page in await read(policy(pages)(1))] == [1, 2, 3]
    assert seen == [(1, ""), (2, "c1"), (3, "c2")]


@virtual
async def test_a_live_feed_is_opened_again_as_it_was() -> None:
    """resume=True: there is nothing to go back to."""
    feed = Feed([1, OSError()], [2])
    assert await read(Pipeline(Retry(on=OSError, wait=0, resume=True)).stream(feed, topic="t")) == [1, 2]
    assert feed.asked == [{"topic": "t"}, {"topic": "t"}]


@virtual
async def test_attempts_and_waits_are_counted_from_the_last_item() -> None:
    """A feed that breaks once in a while lives for ever; one that cannot be opened is given up."""
    wait = {"expo": {"base": 2, "factor": 1}}
    broken = [OSError("down")]
    feed = Feed([1, OSError()], broken, [2, OSError()], broken, broken)
    stream = Pipeline(Retry(attempts=3, on=OSError, wait=wait, jitter="none", resume=True)).stream(feed)
    assert [await anext(stream), await anext(stream)] == [1, 2]
    with pytest.raises(OSError, match="down"):
        await anext(stream)
    assert feed.begun == [0, 1, 3, 4, 6]
    endless = Feed(*[[number, OSError()] for number in range(50)], ["end"])
    assert len(await read(Pipeline(Retry(attempts=2, on=OSError, wait=0, resume=True)).stream(endless))) == 51


@virtual
async def test_only_what_may_be_repeated_is_opened_again() -> None:
    """By the verdict: an unknown error is a bug, and is raised as it is."""
    feed = Feed([KeyError("bug")], [1])
    with pytest.raises(KeyError):
        await read(Pipeline(Retry(wait=0, resume=True)).stream(feed, op=READ))
    assert len(feed.begun) == 1
    lost = Feed([ConnectionResetError()], [1])
    with pytest.raises(ConnectionResetError):
        await read(Pipeline(Retry(wait=0, resume=True)).stream(lost, op=Op("buy")))
    assert await read(Pipeline(Retry(wait=0, resume=True)).stream(Feed([ConnectionResetError()], [1]), op=READ)) == [1]


@virtual
async def test_each_opening_is_an_attempt_and_the_history_is_bounded() -> None:
    """Numbers go on; the call remembers the last 32, however long it lives."""
    calls: list[Call] = []
    recorder = Recorder()
    feed = Feed(*[[number, OSError()] for number in range(100)], ["end"])
    pipeline = Pipeline(Retry(on=OSError, wait=0, resume=True), Timeout(1), observers=(recorder,))
    await read(pipeline.stream(feed, op=READ))
    numbers = [event.attempt.number for event in recorder.attempts]
    assert numbers == list(range(1, 102))
    assert {event.attempt.kind for event in recorder.attempts[1:]} == {"retry"}
    calls = [event.call for event in recorder.calls]
    assert [attempt.number for attempt in calls[0].attempts] == list(range(70, 102))


@virtual
async def test_two_streams_of_one_pipeline_go_their_own_ways() -> None:
    """Each has its token and its story."""

    @Retry(attempts=2, on=OSError, wait=0, resume="after")
    async def numbers(most: int, after: int = 0) -> AsyncIterator[int]:
        yield after + 1
        await asyncio.sleep(1)
        if after + 1 < most:
            raise OSError

    async def count(most: int) -> list[int]:
        return await read(numbers(most))

    assert await asyncio.gather(count(3), count(5)) == [[1, 2, 3], [1, 2, 3, 4, 5]]


# -- timeout and deadline -------------------------------------------------------------------------------------


@virtual
async def test_the_time_is_that_of_one_item() -> None:
    """The first, and each further one, from asking to having; a stream of any length fits."""
    feed = Feed([(0.9,), 1, (0.9,), 2, (1.1,), 3])
    stream = Pipeline(Timeout(1)).stream(feed)
    assert [await anext(stream), await anext(stream)] == [1, 2]
    with pytest.raises(TimedOut) as caught:
        await anext(stream)
    assert caught.value.sent
    assert clock() == pytest.approx(2.8)
    assert feed.ended == ["CancelledError"]


@virtual
async def test_the_consumers_own_time_is_its_own() -> None:
    """It may think for an hour between two items."""
    stream = Pipeline(Timeout(1)).stream(Feed([1, 2, 3]))
    async for _ in stream:
        await asyncio.sleep(3600)
    assert clock() == 3 * 3600


@virtual
async def test_each_operation_has_its_time() -> None:
    """per_op, as for calls."""
    pipeline = Pipeline(Timeout(1, per_op={"trades": 5}))
    assert await read(pipeline.stream(Feed([(4,), 1]), op=READ)) == [1]
    with pytest.raises(TimedOut):
        await read(pipeline.stream(Feed([(4,), 1]), op=Op("other")))


@virtual
async def test_a_late_item_is_a_reason_to_open_again() -> None:
    """Silence is how a dead connection looks."""
    feed = Feed([1, (60,)], [2])
    stream = Pipeline(Retry(on=TimeoutError, wait=0, resume=True), Timeout(5)).stream(feed)
    assert await read(stream) == [1, 2]
    assert feed.begun == [0, 5]
    assert feed.ended == ["CancelledError", "exhausted"]


@virtual
async def test_within_bounds_the_whole_stream() -> None:
    """With a timeout beneath or without, and where the consumer used up the time; never a wait beyond it."""
    for policies in (), (Timeout(9),), (Bulkhead(1),):
        begun, feed = clock(), Feed([(0.75,), 1, (0.75,), 2])
        with within(1), pytest.raises(TimedOut) as caught:
            await read(Pipeline(*policies).stream(feed))
        assert caught.value.limit == "deadline"
        assert clock() - begun == 1
        assert feed.open == 0
    with within(1):
        slow = Feed([1, 2])
        stream = Pipeline().stream(slow)
        await anext(stream)
        await asyncio.sleep(2)
        with pytest.raises(TimedOut):
            await anext(stream)
        assert slow.ended == ["GeneratorExit"]
    begun = clock()
    with within(1), pytest.raises(OSError, match="down") as failed:
        await read(Pipeline(Retry(on=OSError, wait=5, jitter="none")).stream(Feed([OSError("down")])))
    assert clock() == begun
    assert "deadline_would_exceed" in failed.value.__notes__[-1]


@virtual
async def test_what_was_refused_is_forgotten() -> None:
    """A step that came too late to be made leaves nothing of its call behind."""
    pipeline = Pipeline(Timeout(9))
    feed = Feed([1, 2])
    refused = weakref.ref(feed)
    with within(1):
        stream = pipeline.stream(feed)
        await anext(stream)
        await asyncio.sleep(2)
        with pytest.raises(TimedOut):
            await anext(stream)
    del feed, stream
    gc.collect()
    assert refused() is None


@virtual
async def test_a_cancellation_carries_no_note() -> None:
    """It is not a failure, and nobody would have opened the stream again."""
    task = asyncio.ensure_future(read(Pipeline(Retry(on=OSError)).stream(Feed([1, (9,)]))))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert not hasattr(caught.value, "__notes__")


# -- bulkhead -------------------------------------------------------------------------------------------------


async def left_by_closing(stream: AsyncGenerator[int, Any]) -> None:
    async with aclosing(stream):
        async for _ in stream:
            break


async def left_to_the_collector(stream: AsyncGenerator[int, Any]) -> None:
    async for _ in stream:
        break


async def left_by_exhaustion(stream: AsyncGenerator[int, Any]) -> None:
    await read(stream)


async def left_by_a_cancellation(stream: AsyncGenerator[int, Any]) -> None:
    task = asyncio.ensure_future(read(stream))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def left_by_throwing(stream: AsyncGenerator[int, Any]) -> None:
    await anext(stream)
    with pytest.raises(ValueError, match="mine"):
        await stream.athrow(ValueError("mine"))


async def left_by_an_error(stream: AsyncGenerator[int, Any]) -> None:
    with pytest.raises(KeyError):
        await read(stream)


@pytest.mark.parametrize(
    "leave",
    [
        left_by_closing,
        left_to_the_collector,
        left_by_exhaustion,
        left_by_a_cancellation,
        left_by_throwing,
        left_by_an_error,
    ],
)
@virtual
async def test_a_place_is_held_for_as_long_as_the_stream_is_open(leave: Callable[..., Any]) -> None:
    """And given back however the stream ends."""
    pipeline = Pipeline(Bulkhead(1))
    feed = Feed([1, KeyError()] if leave is left_by_an_error else [1, (1,), 2])
    first = pipeline.stream(feed)
    assert await anext(first) == 1
    with pytest.raises(BulkheadFull):
        await anext(pipeline.stream(feed))
    with pytest.raises(BulkheadFull):
        await pipeline.run(asyncio.sleep, 0)
    await first.aclose()
    feed.begun.clear()
    await leave(pipeline.stream(feed))
    gc.collect()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pipeline.status()["bulkhead"]["busy"] == 0
    assert feed.open == 0
    assert await pipeline.run(asyncio.sleep, 0, "free") == "free"


@virtual
async def test_a_stream_waits_for_a_place() -> None:
    """In the queue of the calls, in order of arrival."""
    pipeline = Pipeline(Bulkhead(1, queue=2))
    first = pipeline.stream(Feed([1, 2]))
    await anext(first)
    order: list[str] = []

    async def call() -> None:
        await pipeline.run(asyncio.sleep, 1)
        order.append(f"call {clock()}")

    async def stream() -> None:
        await read(pipeline.stream(Feed([(1,), 1])))
        order.append(f"stream {clock()}")

    waiting = [asyncio.ensure_future(stream()), asyncio.ensure_future(call())]
    await asyncio.sleep(3)
    assert not order
    await first.aclose()
    await asyncio.gather(*waiting)
    assert order == ["stream 4.0", "call 5.0"]


@virtual
async def test_a_place_outlives_no_attempt() -> None:
    """Beneath a retry it is given back for the pause; above, it is held."""
    for policies, busy in (
        ((Retry(on=OSError, wait=1, jitter="none"), Bulkhead(1)), 0),
        ((Bulkhead(1), Retry(on=OSError, wait=1, jitter="none")), 1),
    ):
        pipeline = Pipeline(*policies)
        task = asyncio.ensure_future(read(pipeline.stream(Feed([OSError()], ["item"]))))
        await asyncio.sleep(0.5)
        assert pipeline.status()["bulkhead"]["busy"] == busy
        assert await task == ["item"]
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_cleaning_up_comes_before_the_place_is_free() -> None:
    """The generator's own clean-up is awaited, and an error of it is told."""
    told: list[Any] = []
    pipeline = Pipeline(Bulkhead(1), Timeout(9))

    async def careful() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            told.append(pipeline.status()["bulkhead"]["busy"])
            raise RuntimeError("could not unsubscribe")

    stream = pipeline.stream(careful)
    await anext(stream)
    with pytest.raises(RuntimeError, match="unsubscribe"):
        await stream.aclose()
    assert told == [1]
    assert pipeline.status()["bulkhead"]["busy"] == 0


# -- what observers are told ----------------------------------------------------------------------------------


@virtual
async def test_events_of_a_stream() -> None:
    """One call, and an attempt for each opening, properly nested; leaving early is no error."""
    recorder = Recorder()
    pipeline = Pipeline(Retry(on=OSError, wait=0, resume=True), Bulkhead(1), observers=(recorder,), name="feed")
    async with aclosing(pipeline.stream(Feed([1, OSError()], [2, 3]))) as items:
        async for item in items:
            if item == 2:
                break
    kinds = [type(event) for event in recorder.events if type(event).__name__ != "Waiting"]
    assert kinds == [CallStarted, AttemptStarted, AttemptEnded, AttemptStarted, AttemptEnded, CallEnded]
    assert [type(event.error).__name__ for event in recorder.attempts] == ["OSError", "NoneType"]
    assert recorder.calls[0].error is None
    assert recorder.calls[0].pipeline == "feed"


@virtual
async def test_events_of_a_stream_that_fails_or_is_cancelled() -> None:
    """The error with its verdict; the cancellation with none."""
    recorder = Recorder()
    pipeline = Pipeline(Timeout(9), observers=(recorder,))
    with pytest.raises(ConnectionResetError):
        await read(pipeline.stream(Feed([1, ConnectionResetError()])))
    await left_by_a_cancellation(pipeline.stream(Feed([1, (5,)])))
    assert [type(event.error).__name__ for event in recorder.calls] == ["ConnectionResetError", "CancelledError"]
    assert [event.verdict and event.verdict.kind.value for event in recorder.calls] == ["unknown", None]
    assert recorder.balanced()


@virtual
async def test_what_an_observer_makes_current_is_not_so_for_the_consumer() -> None:
    """A stream is open for long, and its consumer goes about its own business in between."""
    span: ContextVar[str] = ContextVar("span", default="mine")

    def tracer(event: object) -> None:
        if isinstance(event, (CallStarted, AttemptStarted)):
            span.set(type(event).__name__)

    stream = Pipeline(Timeout(1), observers=(tracer,)).stream(Feed([1, 2]))
    assert await anext(stream) == 1
    assert span.get() == "mine"


@virtual
async def test_an_observer_can_be_added_later() -> None:
    """From the next stream on; kept states stay."""
    pipeline = Pipeline(Bulkhead(2))
    first = pipeline.stream(Feed([1, 2]))
    await anext(first)
    recorder = Recorder()
    pipeline.observe(recorder)
    assert await read(pipeline.stream(Feed([1]))) == [1]
    assert len(recorder.calls) == 1
    assert pipeline.status()["bulkhead"]["busy"] == 1
    await first.aclose()
    assert pipeline.status()["bulkhead"]["busy"] == 0


def test_one_decorated_stream_serves_many_loops() -> None:
    """One after the other."""

    @Bulkhead(1)
    @Timeout(1)
    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0.5)
        yield 2

    for _ in range(2):
        assert VirtualLoop().run(read(numbers())) == [1, 2]


@virtual
async def test_an_error_is_gone_with_its_last_reference() -> None:
    """No cycle through its traceback is left for the garbage collector, in whatever part of a stream it passed."""

    class Weak(OSError):
        gone = 0

        def __del__(self) -> None:
            Weak.gone += 1

    class Item: ...

    opened: list[int] = []
    recorder = Recorder()
    pipeline = Pipeline(
        Bulkhead(1), Retry(attempts=2, on=OSError, wait=0), Bulkhead(1), Timeout(1), observers=(recorder,)
    )

    async def fails() -> AsyncIterator[int]:
        raise Weak
        yield 1

    async def second() -> AsyncIterator[int]:
        opened.append(1)
        if len(opened) == 1:
            raise Weak
        yield 1

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Weak):
            await read(pipeline.stream(fails))
        recorder.events.clear()
        assert Weak.gone == 2
        stream = pipeline.stream(Feed([1]))
        await anext(stream)
        with pytest.raises(Weak):
            await stream.athrow(Weak())
        del stream
        recorder.events.clear()
        assert Weak.gone == 3
        assert await read(pipeline.stream(second)) == [1]
        recorder.events.clear()
        assert Weak.gone == 4
        feed = Feed([item := Item()])
        items = weakref.ref(item)
        del item
        await read(pipeline.stream(feed))
        del feed
        recorder.events.clear()
        assert items() is None
    finally:
        gc.enable()


# -- policies of one's own ------------------------------------------------------------------------------------


class Doubled(Policy):
    """Each item twice, as an ordinary async generator."""

    def bind(self, next: Any, kit: Kit, /) -> Any:
        return next

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        async def run(call: Call) -> AsyncGenerator[Any, Any]:
            async with aclosing(next(call)) as items:
                async for item in items:
                    yield item
                    yield item

        return run


@virtual
async def test_a_policy_of_ones_own_is_an_async_generator() -> None:
    """Around the one beneath."""
    feed = Feed([1, 2])
    assert await read(Pipeline(Timeout(1), Doubled(), Bulkhead(1)).stream(feed)) == [1, 1, 2, 2]
    stream = Pipeline(Doubled(), Bulkhead(1)).stream(feed)
    await anext(stream)
    await stream.aclose()
    assert feed.open == 0


class Holding(Policy):
    """Held around a stream; what it saw is noted."""

    def __init__(self, seen: list[str], answers: bool = False, slow: float = 0) -> None:
        self.seen = seen
        self.answers = answers
        self.slow = slow

    def bind(self, next: Any, kit: Kit, /) -> Any:
        async def run(call: Call) -> Any:
            if self.answers:
                return "mine"
            await asyncio.sleep(self.slow)
            try:
                await next(call)
            except BaseException as error:
                self.seen.append(type(error).__name__)
                raise
            else:
                self.seen.append("well")
            finally:
                await asyncio.sleep(self.slow)

        return run

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return held(next, lambda hold: self.bind(hold, kit))


@virtual
async def test_any_policy_can_be_held_around_a_stream() -> None:
    """It waits on the way in and on the way out, and learns how the stream ended."""
    seen: list[str] = []
    pipeline = Pipeline(Holding(seen, slow=1))
    assert await read(pipeline.stream(Feed([1]))) == [1]
    assert clock() == 2
    with pytest.raises(KeyError):
        await read(pipeline.stream(Feed([KeyError()])))
    await left_by_closing(pipeline.stream(Feed([1, 2])))
    await left_by_throwing(pipeline.stream(Feed([1, 2])))
    task = asyncio.ensure_future(read(pipeline.stream(Feed([1, (9,)]))))
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["well", "KeyError", "well", "ValueError", "CancelledError"]


@virtual
async def test_an_error_of_the_held_policy_itself_is_told() -> None:
    """On the way out too, where nothing else was wrong."""

    class Clumsy(Holding):
        def bind(self, next: Any, kit: Kit, /) -> Any:
            async def run(call: Call) -> Any:
                await next(call)
                raise RuntimeError("could not write it down")

            return run

    with pytest.raises(RuntimeError, match="could not write it down"):
        await read(Pipeline(Clumsy([])).stream(Feed([1])))


@virtual
async def test_a_policy_that_answers_by_itself_cannot_be_held() -> None:
    """That is told, and nothing is opened."""
    feed = Feed([1])
    with pytest.raises(RuntimeError, match="answers without its target cannot be held"):
        await read(Pipeline(Holding([], answers=True)).stream(feed))
    assert not feed.begun
