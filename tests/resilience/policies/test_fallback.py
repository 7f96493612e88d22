"""Fallback: what it replaces, what it lets through, and what it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import (
    Breaker,
    BulkheadFull,
    ConfigError,
    Fallback,
    Kind,
    Op,
    Pipeline,
    RateLimited,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
)
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")


class Told(Exception):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


@pytest.mark.parametrize(
    ("kind", "op", "replaced"),
    [
        (Kind.REJECTED, READ, False),
        (Kind.THROTTLED, READ, True),
        (Kind.THROTTLED, WRITE, True),
        (Kind.FAILED, WRITE, True),
        (Kind.UNKNOWN, READ, True),
        (Kind.UNKNOWN, WRITE, False),
    ],
)
@virtual
async def test_the_fallback_column_of_the_verdict_table(kind: Kind, op: Op, replaced: bool) -> None:
    """Yes, yes, no; and UNKNOWN only where it may happen twice."""
    pipeline = Pipeline(Fallback(value="instead"), classify=told)
    if replaced:
        assert await pipeline.run(Script(Told(kind)), op=op) == "instead"
    else:
        with pytest.raises(Told):
            await pipeline.run(Script(Told(kind)), op=op)


@pytest.mark.parametrize("refusal", [BulkheadFull("x"), RateLimited("x")])
@virtual
async def test_a_refusal_is_replaced(refusal: Exception) -> None:
    """Nothing was sent, so nothing can be hidden, not even for a write."""
    assert await Pipeline(Fallback(value=0)).run(Script(refusal), op=WRITE) == 0


@virtual
async def test_a_cancellation_passes() -> None:
    """The caller went away; nobody wants an answer."""
    task = asyncio.ensure_future(Pipeline(Fallback(value=0, on=Exception)).run(Script(never)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual
async def test_a_result_is_never_replaced() -> None:
    """Not even None."""
    assert await Pipeline(Fallback(value="instead")).run(Script(None)) is None


@virtual
async def test_none_is_a_value() -> None:
    """Fallback(value=None) answers None."""
    assert await Pipeline(Fallback(value=None)).run(Script(ConnectionRefusedError())) is None


@virtual
async def test_a_function_of_the_error_answers() -> None:
    """Synchronous or not; its own error is raised as it is."""

    async def slowly(error: Exception) -> str:
        await asyncio.sleep(1)
        return f"slowly, {error}"

    failing = Script(ConnectionRefusedError("gone"))
    assert await Pipeline(Fallback(call=lambda error: f"at once, {error}")).run(failing) == "at once, gone"
    assert await Pipeline(Fallback(call=slowly)).run(failing) == "slowly, gone"

    def worse(error: Exception) -> str:
        raise KeyError("worse")

    with pytest.raises(KeyError, match="worse"):
        await Pipeline(Fallback(call=worse)).run(failing)


@virtual
async def test_on_decides_alone() -> None:
    """It names a rejected error, and leaves out a failed one."""
    pipeline = Pipeline(Fallback(value="instead", on=KeyError))
    assert await pipeline.run(Script(KeyError())) == "instead"
    with pytest.raises(ConnectionRefusedError):
        await pipeline.run(Script(ConnectionRefusedError()))


@virtual
async def test_outside_a_retry_it_comes_last() -> None:
    """All attempts are made first; the note says what it replaced."""
    recorder = Recorder()
    script = Script(OSError())
    pipeline = Pipeline(
        Fallback(value="instead"), Retry(attempts=3, on=OSError, wait=0), Breaker(), observers=(recorder,)
    )
    assert await pipeline.run(script, op=READ) == "instead"
    assert script.count == 3
    assert recorder.calls[0].error is None
    assert recorder.attempts[-1].attempt.notes["fallback"] == "OSError"


@virtual
async def test_a_timeout_of_a_write_is_not_replaced() -> None:
    """It may have been executed."""
    pipeline = Pipeline(Fallback(value="harmless"), Timeout(1))
    with pytest.raises(TimedOut):
        await pipeline.run(Script(never), op=WRITE)
    assert await pipeline.run(Script(never), op=READ) == "harmless"


# -- the last good answer -------------------------------------------------------------------------------------


async def at(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(seconds - loop.time())


async def answer(pipeline: Pipeline, script: Script, *args: Any, op: Op = READ) -> Any:
    """What the call answers, or the error that it raises."""
    try:
        return await pipeline.run(script, *args, op=op)
    except Exception as error:
        return error


@virtual
async def test_the_last_good_answer_serves_until_it_is_too_old() -> None:
    """Up to the very second; then the error itself is raised."""
    down = ConnectionRefusedError("down")
    recorder = Recorder()
    pipeline = Pipeline(Fallback(last_good=30), observers=(recorder,))
    script = Script("good", down)
    assert await answer(pipeline, script) == "good"
    assert recorder.attempts[-1].attempt.notes == {}
    await at(30)
    assert await answer(pipeline, script) == "good"
    assert recorder.attempts[-1].attempt.notes == {"fallback": "ConnectionRefusedError", "fallback.age": 30}
    assert pipeline.status() == {"fallback": {"size": 1, "used": 1}}
    await at(30.001)
    assert await answer(pipeline, script) is down
    assert recorder.attempts[-1].attempt.notes == {}
    assert pipeline.status() == {"fallback": {"size": 1, "used": 1}}


@virtual
async def test_each_key_has_its_own() -> None:
    """The operation, the function and its arguments; never the answer of another question."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script(lambda symbol: f"price of {symbol}", lambda symbol: f"price of {symbol}", down)
    for symbol in ("BTC", "ETH"):
        await answer(pipeline, script, symbol)
    assert await answer(pipeline, script, "ETH") == "price of ETH"
    assert await answer(pipeline, script, "BTC") == "price of BTC"
    assert await answer(pipeline, script, "XRP") is down
    assert await answer(pipeline, script, "BTC", op=Op("other", idempotent=True)) is down


@virtual
async def test_a_key_function_decides_what_is_the_same() -> None:
    """None says that this call is not remembered."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30, key=lambda call: call.args[0]))
    script = Script("good", "none", down)
    await answer(pipeline, script, "BTC", 1)
    await answer(pipeline, script, None)
    assert await answer(pipeline, script, "BTC", 2) == "good"
    assert await answer(pipeline, script, None) is down


@virtual
async def test_what_cannot_be_hashed_is_not_remembered() -> None:
    """The call works, and its failure is its own."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script("good", down)
    assert await answer(pipeline, script, ["BTC"]) == "good"
    assert await answer(pipeline, script, ["BTC"]) is down
    assert pipeline.status()["fallback"]["size"] == 0


@virtual
async def test_a_value_and_a_function_come_after_it() -> None:
    """Where there is no last good answer, or it is too old, with no age in the notes."""
    down = ConnectionRefusedError("down")
    for fallback in (Fallback("instead", last_good=30), Fallback(call=lambda error: "instead", last_good=30)):
        recorder = Recorder()
        pipeline = Pipeline(fallback, observers=(recorder,))
        script = Script(down, "good", down)
        assert await answer(pipeline, script) == "instead"
        assert recorder.attempts[-1].attempt.notes == {"fallback": "ConnectionRefusedError"}
        assert await answer(pipeline, script) == "good"
        await asyncio.sleep(29)
        assert await answer(pipeline, script) == "good"
        await asyncio.sleep(2)
        assert await answer(pipeline, script) == "instead"
        assert pipeline.states["fallback"].used == 1


@virtual
async def test_a_coroutine_function_comes_after_it_too() -> None:
    """And may itself take a while."""
    pipeline = Pipeline(Fallback(call=lambda error: asyncio.sleep(1, "instead"), last_good=30))
    assert await answer(pipeline, Script(ConnectionRefusedError())) == "instead"


@virtual
async def test_none_is_a_good_answer() -> None:
    """It is remembered like any other."""
    pipeline = Pipeline(Fallback("instead", last_good=30))
    script = Script(None, ConnectionRefusedError())
    assert await answer(pipeline, script) is None
    assert await answer(pipeline, script) is None


@pytest.mark.parametrize("kind", [Kind.REJECTED, Kind.UNKNOWN])
@virtual
async def test_a_write_is_neither_remembered_nor_answered(kind: Kind) -> None:
    """Not even where it FAILED: that an earlier order was placed says nothing about this one."""
    for step in (Told(kind), Told(Kind.FAILED)):
        pipeline = Pipeline(Fallback(last_good=30), classify=told)
        script = Script("order 1", step)
        assert await answer(pipeline, script, op=WRITE) == "order 1"
        assert await answer(pipeline, script, op=WRITE) is step
        assert pipeline.status()["fallback"]["size"] == 0


@virtual
async def test_the_last_answer_never_stands_for_a_refusal_by_the_other_side() -> None:
    """REJECTED is the answer, for a read as well."""
    step = Told(Kind.REJECTED)
    pipeline = Pipeline(Fallback(last_good=30), classify=told)
    script = Script("good", step)
    await answer(pipeline, script)
    assert await answer(pipeline, script) is step


@virtual
async def test_on_says_it_for_a_plain_function() -> None:
    """Of which nobody knows more: then it is remembered, whatever the operation."""

    @Fallback(last_good=30, on=OSError)
    async def rates(day: str) -> str:
        return await script(day)

    script = Script("good", OSError("reset"), KeyError("bug"))
    assert await rates("today") == "good"
    assert await rates("today") == "good"
    with pytest.raises(KeyError):
        await rates("today")


def test_it_reads_as_it_was_written() -> None:
    """A value that was not given is told from None; one key is enough to remember."""
    assert Fallback(last_good=0.001, most=1).most == 1
    assert repr(Fallback(last_good=30)).startswith("Fallback(value=<not given>, call=None, on=None, last_good=30, ")


def test_a_function_of_which_nothing_is_known_is_refused() -> None:
    """With last_good alone, at decoration; a value alone is as before."""

    async def place(order: str) -> None: ...

    with pytest.raises(ConfigError, match=r"place: Fallback\(last_good=...\) must not answer a write with what"):
        Fallback(last_good=30)(place)
    Fallback("instead")(place)
    Fallback(last_good=30, on=OSError)(place)
    Pipeline(Fallback(last_good=30)).guard(READ)(place)


@virtual
async def test_at_most_so_many_keys_are_kept() -> None:
    """The one that was renewed last stays."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30, most=2))
    script = Script("a", "b", "a again", "c", down)
    for symbol in ("A", "B", "A", "C"):
        await answer(pipeline, script, symbol)
    assert pipeline.status()["fallback"]["size"] == 2
    assert [await answer(pipeline, script, symbol) for symbol in "ABC"] == ["a again", down, "c"]


@virtual
async def test_an_answer_that_was_asked_for_earlier_does_not_replace_a_later_one() -> None:
    """However late it arrives."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script(after(5, "old"), after(1, "new"), down)
    slow = asyncio.ensure_future(answer(pipeline, script))
    await asyncio.sleep(1)
    assert await answer(pipeline, script) == "new"
    assert await slow == "old"
    assert await answer(pipeline, script) == "new"


@virtual
async def test_the_age_counts_from_the_arrival() -> None:
    """And not from the question."""
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script(after(10, "good"), ConnectionRefusedError())
    await answer(pipeline, script)
    await at(40)
    assert await answer(pipeline, script) == "good"


def test_another_event_loop_begins_with_nothing() -> None:
    """The clocks of two loops cannot be compared."""
    down = ConnectionRefusedError("down")
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script("good", down)
    assert VirtualLoop().run(answer(pipeline, script)) == "good"
    assert VirtualLoop().run(answer(pipeline, script)) is down


@virtual
async def test_a_new_observer_forgets_nothing() -> None:
    """The pipeline binds anew in the same loop."""
    pipeline = Pipeline(Fallback(last_good=30))
    script = Script("good", ConnectionRefusedError())
    await answer(pipeline, script)
    pipeline.observe(Recorder())
    assert await answer(pipeline, script) == "good"


@virtual
async def test_outside_a_retry_and_a_breaker_it_serves_while_the_circuit_is_open() -> None:
    """A refusal of ours is replaced, and nothing is sent."""
    recorder = Recorder()
    pipeline = Pipeline(
        Fallback(last_good=60), Retry(attempts=2, wait=0), Breaker(consecutive=2), Timeout(1), observers=(recorder,)
    )
    script = Script("good", ConnectionRefusedError())
    assert [await answer(pipeline, script) for _ in range(4)] == ["good"] * 4
    assert script.count == 3
    assert recorder.attempts[-1].attempt.notes["fallback"] == "CircuitOpen"


@pytest.mark.parametrize(
    "make",
    [
        Fallback,
        lambda: Fallback(value=1, call=lambda error: 2),
        lambda: Fallback(call=3),  # type: ignore[arg-type]
        lambda: Fallback(value=1, on=3),  # type: ignore[arg-type]
        lambda: Fallback(value=1, call=lambda error: 2, last_good=1),
        lambda: Fallback(last_good=0),
        lambda: Fallback(last_good=1, key="op"),  # type: ignore[arg-type]
        lambda: Fallback(last_good=1, most=0),
    ],
)
def test_wrong_settings_are_named(make: Any) -> None:
    """One answer, and a usable on."""
    with pytest.raises(ConfigError, match="Fallback: "):
        make()
