"""Retry: every row of the verdict table, the waits, the deadline, and which error the caller sees."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import weakref
from collections.abc import Generator
from typing import Any

import backoff
import pytest

import resilience
from resilience import (
    Bulkhead,
    BulkheadFull,
    ConfigError,
    Deadline,
    Kind,
    Op,
    Pipeline,
    RateLimited,
    Retry,
    RetryBudget,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.call import Call, takes_call
from resilience.events import AttemptEnded, Event
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")


class Told(Exception):
    """An error that carries its own verdict."""

    def __init__(self, kind: Kind, retry_after: float | None = None) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind, f"told.{kind.value}", retry_after)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


def clock() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    ("kind", "op", "attempts"),
    [
        (Kind.REJECTED, READ, 1),
        (Kind.REJECTED, WRITE, 1),
        (Kind.THROTTLED, READ, 3),
        (Kind.THROTTLED, WRITE, 3),
        (Kind.FAILED, READ, 3),
        (Kind.FAILED, WRITE, 3),
        (Kind.UNKNOWN, READ, 3),
        (Kind.UNKNOWN, WRITE, 1),
    ],
)
@virtual
async def test_the_verdict_decides(kind: Kind, op: Op, attempts: int) -> None:
    """The retry column of the verdict table; UNKNOWN is repeated only where it may happen twice."""
    script = Script(Told(kind))
    with pytest.raises(Told):
        await Pipeline(Retry(attempts=3, wait=0), classify=told).run(script, op=op)
    assert script.count == attempts


@pytest.mark.parametrize("refusal", [BulkheadFull("x"), RateLimited("x")])
@virtual
async def test_a_refusal_is_never_retried(refusal: Exception) -> None:
    """Not even when on= names every exception."""
    script = Script(refusal)
    with pytest.raises(type(refusal)):
        await Pipeline(Retry(on=Exception, wait=0)).run(script, op=READ)
    assert script.count == 1


@pytest.mark.parametrize("budget", [None, RetryBudget(), RetryBudget(per_second=0)])
@pytest.mark.parametrize("steps", [(never,), (OSError(), never)])
@virtual
async def test_a_cancellation_is_never_retried(budget: Any, steps: Any) -> None:
    """The caller went away, in the first attempt or a later one, even if a predicate says yes to everything."""
    pipeline = Pipeline(Retry(on=lambda error: True, wait=0, budget=budget))
    for _ in range(9):
        await pipeline.run(Script("done"))
    script = Script(*steps)
    task = asyncio.ensure_future(pipeline.run(script))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert script.count == len(steps)


@virtual
async def test_cancelled_while_it_waits() -> None:
    """The sleep ends at once, and no further attempt is made."""
    script = Script(OSError())
    task = asyncio.ensure_future(Pipeline(Retry(on=OSError, wait=10, jitter="none")).run(script))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (script.count, clock()) == (1, 1)


@pytest.mark.parametrize(
    "on", [OSError, (KeyError, OSError), "OSError", ["KeyError", "OSError"], lambda exc: isinstance(exc, OSError)]
)
@virtual
async def test_on_decides_for_plain_functions(on: Any) -> None:
    """Types, names of types or a predicate; a subclass counts; what it does not name is not repeated."""
    assert await Pipeline(Retry(on=on, wait=0)).run(Script(ConnectionResetError(), "ok")) == "ok"
    script = Script(ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 (the object itself is compared)
        await Pipeline(Retry(on=on, wait=0)).run(script)
    assert script.count == 1


@virtual
async def test_on_overrides_unknown_and_rejected() -> None:
    """It says aloud that this may be repeated, whatever the verdict."""
    for kind in (Kind.UNKNOWN, Kind.REJECTED):
        assert await Pipeline(Retry(on=Told, wait=0), classify=told).run(Script(Told(kind), "ok"), op=WRITE) == "ok"


@virtual
async def test_with_an_operation_the_default_reading_decides() -> None:
    """A refused connection was never sent; a reset may have been executed; a ValueError is an answer."""
    pipeline = Pipeline(Retry(wait=0))
    assert await pipeline.run(Script(ConnectionRefusedError(), "ok"), op=WRITE) == "ok"
    assert await pipeline.run(Script(ConnectionResetError(), "ok"), op=READ) == "ok"
    for error, op in ((ConnectionResetError(), WRITE), (ValueError(), READ)):
        script = Script(error)
        with pytest.raises(type(error)):
            await pipeline.run(script, op=op)
        assert script.count == 1


@virtual
async def test_an_unwanted_result_is_asked_for_again() -> None:
    """Until the predicate is content; when the attempts are spent, the value is returned as it is."""
    empty = Retry(attempts=3, result=lambda value: value == [], wait=1, jitter="none")
    assert await Pipeline(empty).run(Script([], [], [1])) == [1]
    assert clock() == 2
    script = Script([])
    assert await Pipeline(empty).run(script) == []
    assert script.count == 3


@virtual
async def test_errors_and_results_share_the_attempts() -> None:
    """An error after an unwanted result is raised, an unwanted result after an error returned."""
    retry = Retry(attempts=2, on=OSError, result=lambda value: value is None, wait=0)
    with pytest.raises(OSError, match="second"):
        await Pipeline(retry).run(Script(None, OSError("second")))
    assert await Pipeline(retry).run(Script(OSError("first"), None)) is None


@pytest.mark.parametrize(
    ("wait", "waits"),
    [
        (0, [0, 0, 0, 0]),
        (2, [2, 2, 2, 2]),
        ({"expo": {}}, [1, 2, 4, 8]),
        ({"expo": {"base": 3, "factor": 0.5}}, [0.5, 1.5, 4.5, 9]),
        ({"fibo": {}}, [1, 1, 2, 3]),
        ({"constant": {"interval": 1.5}}, [1.5, 1.5, 1.5, 1.5]),
        ({"runtime": {"value": lambda exc: 7}}, [7, 7, 7, 7]),
        (backoff.fibo, [1, 1, 2, 3]),
        (lambda: backoff.expo(base=3), [1, 3, 9, 9]),
        (lambda: backoff.runtime(value=lambda exc: float(str(exc))), [5, 5, 5, 5]),
    ],
)
@virtual
async def test_backoff_schedules_every_wait(wait: Any, waits: list[float]) -> None:
    """Its generators, by name or as they are, capped by max_wait (here 9)."""
    script = Script(OSError("5"))
    with pytest.raises(OSError, match="5"):
        await Pipeline(Retry(attempts=5, on=OSError, wait=wait, jitter="none", max_wait=9)).run(script)
    assert [b - a for a, b in itertools.pairwise(script.begun)] == pytest.approx(waits)


@virtual
async def test_a_generator_object_begins_anew_for_every_call() -> None:
    """It can run only once, so its values are remembered; concurrent calls do not share its position."""
    pipeline = Pipeline(Retry(attempts=4, on=OSError, wait=backoff.expo(), jitter="none"))
    scripts = [Script(OSError()) for _ in range(3)]
    await asyncio.gather(*(pipeline.run(script) for script in scripts), return_exceptions=True)
    assert [script.begun for script in scripts] == [[0, 1, 3, 7]] * 3


@virtual
async def test_a_plain_generator_without_priming_is_understood() -> None:
    """One that yields its first wait at once loses none."""

    def mine() -> Generator[float, Any, None]:
        yield 3
        yield 1

    script = Script(OSError())
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the notes are asserted)
        await Pipeline(Retry(attempts=9, on=OSError, wait=mine, jitter="none")).run(script)
    assert script.begun == [0, 3, 4]
    assert "schedule_exhausted" in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [
        ("none", 4, 4),
        (None, 4, 4),
        ("full", 0, 4),
        ("equal", 2, 4),
        ("additive", 4, 5),
        ("decorrelated", 4, 12),
        (lambda value: value * 2, 8, 8),
    ],
)
@virtual
async def test_jitters_stay_in_their_ranges(jitter: Any, low: float, high: float) -> None:
    """And the random ones do use them: a sample of 200 waits spreads over most of the range."""
    pipeline = Pipeline(Retry(attempts=2, on=OSError, wait=4, jitter=jitter), seed=1)
    waits = []
    for _ in range(200):
        begun = clock()
        await pipeline.run(Script(OSError(), "ok"))
        waits.append(clock() - begun)
    assert low - 1e-9 <= min(waits)
    assert max(waits) <= high + 1e-9
    assert max(waits) - min(waits) >= 0.9 * (high - low) - 1e-9


@virtual
async def test_decorrelated_waits_grow_from_the_last_one() -> None:
    """Each lies between the base and three times the last, below the cap."""
    script = Script(OSError())
    with pytest.raises(OSError):  # noqa: PT011 (any OSError will do)
        await Pipeline(Retry(attempts=60, on=OSError, wait=1, jitter="decorrelated", max_wait=15), seed=3).run(script)
    waits = [b - a for a, b in itertools.pairwise(script.begun)]
    assert all(1 - 1e-9 <= wait <= 15 + 1e-9 for wait in waits)
    assert all(after <= max(3, 3 * before) + 1e-9 for before, after in itertools.pairwise(waits))
    assert max(waits) > 10


@virtual
async def test_the_users_own_numbers() -> None:
    """3 retries after the first attempt, 2^n + random(0..1), the sum capped at 10 s."""
    retry = Retry(attempts=6, wait={"expo": {"base": 2, "factor": 1}}, jitter="additive", max_wait=10)
    script = Script(ConnectionRefusedError())
    with pytest.raises(ConnectionRefusedError):
        await Pipeline(retry, seed=7).run(script, op=READ)
    waits = [b - a for a, b in itertools.pairwise(script.begun)]
    for wait, base in zip(waits, (1, 2, 4, 8), strict=False):
        assert base <= wait <= base + 1
    assert waits[4] == 10


@virtual
async def test_a_large_exponent_does_not_overflow() -> None:
    """Two thousand attempts stay at the cap."""
    script = Script(OSError())
    for wait in ({"expo": {}}, backoff.expo):
        with pytest.raises(OSError):  # noqa: PT011 (any OSError will do)
            await Pipeline(Retry(attempts=1100, on=OSError, wait=wait, jitter="none", max_wait=1)).run(script)


@virtual
async def test_retry_after_is_a_floor() -> None:
    """At least as long as the server says, up to 10 % more, and above max_wait."""
    pipeline = Pipeline(Retry(attempts=2, wait=0.5, max_wait=1), classify=told, seed=2)
    waits = []
    for _ in range(100):
        begun = clock()
        await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=5), "ok"), op=READ)
        waits.append(clock() - begun)
    assert min(waits) >= 5
    assert max(waits) <= 5.5 + 1e-9
    assert max(waits) - min(waits) > 0.4


@virtual
async def test_a_retry_after_of_just_the_most_is_waited_for() -> None:
    """The most is allowed."""
    pipeline = Pipeline(Retry(max_retry_after=5), classify=told)
    assert await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=5), "ok"), op=READ) == "ok"


@virtual
async def test_our_own_backoff_may_be_longer_than_retry_after() -> None:
    """A floor is not a ceiling."""
    pipeline = Pipeline(Retry(attempts=2, wait=3, jitter="none"), classify=told)
    await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=1), "ok"), op=READ)
    assert clock() == 3


@virtual
async def test_a_retry_after_that_is_too_long_fails_at_once() -> None:
    """Beyond max_retry_after, or past the deadline: no sleep, its own error, and the reason in the notes."""
    for pipeline in (
        Pipeline(Retry(max_retry_after=4), classify=told),
        Pipeline(Deadline(4), Retry(), classify=told),
    ):
        with pytest.raises(Told) as caught:
            await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=5)), op=READ)
        assert "deadline_would_exceed" in caught.value.__notes__[-1]
        assert clock() == 0


@virtual
async def test_it_never_sleeps_past_the_deadline() -> None:
    """The last error is raised as soon as the next attempt would come too late."""
    script = Script(OSError("last"))
    with within(10), pytest.raises(OSError, match="last") as caught:
        await Pipeline(Retry(attempts=9, on=OSError, wait=4, jitter="none")).run(script)
    assert script.begun == [0, 4, 8]
    assert clock() == 8
    assert "deadline_would_exceed" in caught.value.__notes__[-1]


@virtual
async def test_the_last_attempts_own_error_is_raised_with_the_history() -> None:
    """Never a wrapper; every retried failure stands in the notes."""
    last = OSError("third")
    with pytest.raises(OSError, match="third") as caught:
        await Pipeline(Retry(attempts=3, on=OSError, wait=1, jitter="none")).run(
            Script(OSError("first"), OSError("second"), last)
        )
    assert caught.value is last
    assert caught.value.__notes__ == [
        "attempt 1: OSError: first; retried after 1 s",
        "attempt 2: OSError: second; retried after 1 s",
    ]


@pytest.mark.parametrize("later", [Told(Kind.FAILED), Told(Kind.THROTTLED), BulkheadFull("x")])
@virtual
async def test_a_call_with_an_unknown_attempt_stays_unknown(later: Exception) -> None:
    """Followed only by failures or refusals, the UNKNOWN attempt's error is the truth."""
    unknown = Told(Kind.UNKNOWN)
    with pytest.raises(Told) as caught:
        await Pipeline(Retry(attempts=2, wait=0), classify=told).run(Script(unknown, later), op=READ)
    assert caught.value is unknown


@virtual
async def test_an_error_may_count_as_false() -> None:
    """As one does that is a collection of none."""

    class Empty(Told):
        def __len__(self) -> int:
            return 0

    unknown = Empty(Kind.UNKNOWN)
    with pytest.raises(Told) as caught:
        await Pipeline(Retry(attempts=2, wait=0), classify=told).run(Script(unknown, Told(Kind.FAILED)), op=READ)
    assert caught.value is unknown


@virtual
async def test_a_result_that_is_not_wanted_is_an_answer_too() -> None:
    """What fails after it is the last word."""
    last = Told(Kind.FAILED)
    script = Script(Told(Kind.UNKNOWN), None, last)
    with pytest.raises(Told) as caught:
        await Pipeline(Retry(wait=0, result=lambda value: value is None), classify=told).run(script, op=READ)
    assert caught.value is last


@virtual
async def test_an_answer_that_is_repeated_ends_the_uncertainty() -> None:
    """A rejection that `on` names, and then a failure."""
    last = Told(Kind.FAILED)
    script = Script(Told(Kind.UNKNOWN), Told(Kind.REJECTED), last)
    with pytest.raises(Told) as caught:
        await Pipeline(Retry(wait=0, on=Told), classify=told).run(script, op=READ)
    assert caught.value is last


@virtual
async def test_an_answer_ends_the_uncertainty() -> None:
    """REJECTED after UNKNOWN: the exchange has answered, and that is the outcome."""
    answer = Told(Kind.REJECTED)
    with pytest.raises(Told) as caught:
        await Pipeline(Retry(wait=0), classify=told).run(Script(Told(Kind.UNKNOWN), answer), op=READ)
    assert caught.value is answer


@virtual
async def test_a_stale_connection_is_retried_at_once_and_free_of_charge() -> None:
    """Transparent: its own attempt on a fresh connection, no wait, not against the attempts, once per call."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.sent = True
        call.attempt.stale = not call.attempt.fresh
        return await script(call.attempt.number)

    script = Script(ConnectionResetError(), ConnectionResetError(), "ok")
    recorder = Recorder()
    pipeline = Pipeline(Retry(attempts=2, wait=5, jitter="none"), observers=(recorder,))
    assert await pipeline.send(Call(READ, send, (script,))) == "ok"
    assert script.begun == [0, 0, 5]
    assert [event.attempt.fresh for event in recorder.attempts] == [False, True, False]
    assert {event.attempt.kind for event in recorder.attempts} == {"original", "retry"}
    assert recorder.attempts[1].attempt.notes == {"retry": "transparent", "budget.balance": 98}
    assert recorder.attempts[2].attempt.notes == {"retry": "backoff", "wait.backoff": 5}


@virtual
async def test_what_was_sent_again_transparently_stands_in_the_history() -> None:
    """And it needs next to no time."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.stale = not call.attempt.fresh
        return await script()

    script = Script(ConnectionResetError("idle"), ValueError("answer"))
    with within(0.5), pytest.raises(ValueError, match="answer") as caught:
        await Pipeline(Retry()).send(Call(READ, send, (script,)))
    assert caught.value.__notes__ == ["attempt 1: ConnectionResetError: idle; sent again at once on a new connection"]


@pytest.mark.parametrize(
    ("retry", "reason"),
    [
        (Retry(attempts=1), "attempts_spent"),
        (Retry(wait=lambda: iter(())), "schedule_exhausted"),  # type: ignore[arg-type, return-value]
        (Retry(max_retry_after=2), "deadline_would_exceed"),
        (Retry(wait=6, jitter="none"), "deadline_would_exceed"),
        (Retry(max_duration=1), "duration_spent"),
        (Retry(budget=RetryBudget(0, 0)), "budget_spent"),
        (Retry(abort_on=Told), "aborted"),
    ],
)
@virtual
async def test_why_it_stops_stands_on_the_attempt(retry: Retry, reason: str) -> None:
    """In words that a query can look for, and on the error."""
    recorder = Recorder()
    pipeline = Pipeline(retry, classify=told, observers=(recorder,))
    with within(5), pytest.raises(Told) as caught:
        await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=2.1)), op=READ)
    (ended,) = recorder.attempts
    assert ended.attempt.notes["retry_stopped"] == reason
    lines = getattr(caught.value, "__notes__", [])
    assert [line.split(":")[1].strip() for line in lines] == ([] if reason == "attempts_spent" else [reason])


@virtual
async def test_a_stale_connection_under_a_write_is_unknown() -> None:
    """An order is not sent twice, not even transparently."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.sent = call.attempt.stale = True
        return await script()

    script = Script(ConnectionResetError(), "twice!")
    with pytest.raises(ConnectionResetError):
        await Pipeline(Retry(wait=0)).send(Call(WRITE, send, (script,)))
    assert script.count == 1


@virtual
async def test_timeouts_are_retried_where_the_table_says_so() -> None:
    """A TimedOut of ours after sending: a read is repeated, a write is not; on=TimeoutError names it too."""
    slow = [never, "ok"]
    assert await Pipeline(Retry(wait=0), Timeout(1)).run(Script(*slow), op=READ) == "ok"
    assert await Pipeline(Retry(wait=0, on=TimeoutError), Timeout(1)).run(Script(*slow)) == "ok"
    with pytest.raises(TimedOut):
        await Pipeline(Retry(wait=0), Timeout(1)).run(Script(*slow), op=WRITE)


@virtual
async def test_each_attempt_gets_its_own_timeout_and_place() -> None:
    """Retry outside, bulkhead and timeout inside: three full timeouts, and the place is free between them."""
    script = Script(never)
    pipeline = Pipeline(Retry(attempts=3, on=TimeoutError, wait=1, jitter="none"), Bulkhead(1), Timeout(2))
    with pytest.raises(TimedOut):
        await pipeline.run(script)
    assert script.begun == [0, 3, 6]
    assert clock() == 8
    assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_notes_stay_bounded() -> None:
    """An error object that is raised for ever does not grow for ever, and a long text is cut."""
    error = OSError("x" * 10_000)
    pipeline = Pipeline(Retry(attempts=6, on=OSError, wait=0))
    for _ in range(50):
        with pytest.raises(OSError):  # noqa: PT011 (the object is ours)
            await pipeline.run(Script(error))
    assert len(error.__notes__) == 32
    error.add_note("and one of somebody else's")
    with pytest.raises(OSError):  # noqa: PT011 (the object is ours)
        await pipeline.run(Script(error))
    assert len(error.__notes__) == 33
    error.__notes__.pop()
    assert {len(note) for note in error.__notes__} == {len("attempt 1: ; retried after 0 s") + 200}


@virtual
async def test_a_failed_call_leaves_no_reference_cycle() -> None:
    """The error is freed as soon as the caller lets go of it, without the garbage collector."""

    class Mine(OSError):
        pass

    gc.disable()
    try:
        for attempts in (1, 3):
            seen: list[weakref.ref[Mine]] = []

            async def fail(seen: list[weakref.ref[Mine]] = seen) -> None:
                error = Mine()
                seen.append(weakref.ref(error))
                try:
                    raise error
                finally:
                    del error

            with contextlib.suppress(Mine):
                await Pipeline(Retry(attempts=attempts, on=OSError, wait=0)).run(fail)
            assert [ref() for ref in seen] == [None] * attempts
    finally:
        gc.enable()


@virtual
async def test_waits_are_told() -> None:
    """Backoff and server-ordered waits have different names."""
    recorder = Recorder()
    pipeline = Pipeline(Retry(attempts=3, wait=1, jitter="none"), classify=told, observers=(recorder,))
    await pipeline.run(Script(Told(Kind.FAILED), Told(Kind.THROTTLED, retry_after=9), "ok"), op=READ)
    assert [wait.why for wait in recorder.waits] == ["backoff", "retry_after"]
    assert recorder.waits[0].seconds == 1
    assert recorder.attempts[2].attempt.notes["wait.retry_after"] >= 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(attempts=0), "attempts is 0"),
        (lambda: Retry(attempts=2.5), "attempts is 2.5"),  # type: ignore[arg-type]
        (lambda: Retry(on=()), "on is empty"),
        (lambda: Retry(on=3), "on is 3"),  # type: ignore[arg-type]
        (lambda: Retry(on=BaseException), "subclasses of Exception"),  # type: ignore[arg-type]
        (lambda: Retry(on=asyncio.CancelledError), "subclasses of Exception"),  # type: ignore[arg-type]
        (lambda: Retry(on="not a name"), "must name exception types"),
        (lambda: Retry(result=3), "result is 3"),  # type: ignore[arg-type]
        (lambda: Retry(wait=-1), "wait is -1"),
        (lambda: Retry(wait={"expo": {"bas": 2}}), "wait.expo has no bas; it takes base, factor, max_value"),
        (lambda: Retry(wait={"expo": {"base": "2"}}), "wait.expo.base is '2'"),
        (lambda: Retry(wait={"linear": {}}), "must name one of expo, fibo, constant, runtime"),
        (lambda: Retry(wait={"constant": {"interval": [1, -1]}}), "interval is -1"),
        (lambda: Retry(wait={"runtime": {}}), "runtime needs value"),
        (lambda: Retry(jitter="some"), "jitter is 'some'"),
        (lambda: Retry(max_wait=-1), "max_wait is -1"),
        (lambda: Retry(max_duration=-1), "max_duration is -1"),
        (lambda: Retry(abort_on=()), "abort_on is empty"),
        (lambda: Retry(abort_on=3), "abort_on is 3"),  # type: ignore[arg-type]
        (lambda: Retry(abort_on="not a name"), "abort_on names 'not a name'"),
        (lambda: Retry(throttled_wait=-1), "throttled_wait is -1"),
        (lambda: Retry(throttled_wait={"expo": {"bas": 2}}), "throttled_wait.expo has no bas"),
        (lambda: Retry(max_retry_after=-1), "max_retry_after is -1"),
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    """The error says which field, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        make()


def test_no_wait_at_all_is_allowed() -> None:
    """Zero is a time."""
    assert Retry(max_wait=0, max_retry_after=0, max_duration=0, wait=0, throttled_wait=0).max_wait == 0


def test_a_list_of_intervals_is_a_schedule() -> None:
    """As backoff has it."""
    assert Retry(wait={"constant": {"interval": [1, 2]}}).attempts == 3


@virtual
async def test_an_attempt_that_is_late_by_itself() -> None:
    """An attempt may end exactly at the deadline; then there is no time for another."""
    with within(2), pytest.raises(OSError, match="slow") as caught:
        await Pipeline(Retry(on=OSError, wait=0), Timeout(5)).run(Script(after(2, OSError("slow")), "never"))
    assert "deadline_would_exceed" in caught.value.__notes__[-1]


# -- total duration, abort conditions, and a schedule of its own for THROTTLED -----------------------------------


@pytest.mark.parametrize(("most", "begun"), [(4, [0, 2, 4]), (3.99, [0, 2]), (0, [0]), (None, [0, 2, 4, 6, 8])])
@virtual
async def test_no_attempt_begins_later_than_max_duration(most: float | None, begun: list[float]) -> None:
    """After the call began; nobody waits for what will not be tried, and the reason is told."""
    await asyncio.sleep(1000)
    recorder, script = Recorder(), Script(OSError("down"))
    retry = Retry(attempts=5, on=OSError, wait=2, jitter="none", max_duration=most)
    with pytest.raises(OSError, match="down") as caught:
        await Pipeline(retry, observers=(recorder,)).run(script)
    assert [at - 1000 for at in script.begun] == begun
    assert clock() == 1000 + begun[-1]
    if most is not None:
        assert recorder.attempts[-1].attempt.notes["retry_stopped"] == "duration_spent"
        assert caught.value.__notes__[-1] == "not retried: duration_spent: the next attempt was due in 2 s"


@virtual
async def test_a_slow_attempt_counts_too() -> None:
    """The duration is that of the call, and a server's order does not stretch it."""
    script = Script(after(6, Told(Kind.FAILED)))
    with pytest.raises(Told):
        await Pipeline(Retry(wait=0, max_duration=5), classify=told).run(script, op=READ)
    assert script.count == 1
    script = Script(Told(Kind.THROTTLED, retry_after=6))
    with pytest.raises(Told):
        await Pipeline(Retry(max_duration=5), classify=told).run(script, op=READ)
    assert script.count == 1


@pytest.mark.parametrize("abort_on", [KeyError, "KeyError", (ValueError, KeyError), lambda exc: type(exc) is KeyError])
@virtual
async def test_what_aborts_is_never_retried(abort_on: Any) -> None:
    """Whatever `on` and the verdict say; any other error is."""
    recorder = Recorder()
    pipeline = Pipeline(Retry(on=Exception, abort_on=abort_on, wait=0), observers=(recorder,))
    script = Script(OSError(), KeyError("enough"), "never")
    with pytest.raises(KeyError) as caught:
        await pipeline.run(script)
    assert script.count == 2
    assert recorder.attempts[-1].attempt.notes["retry_stopped"] == "aborted"
    assert caught.value.__notes__[-1] == "not retried: aborted: abort_on names it"


@virtual
async def test_what_aborts_is_not_sent_again_transparently_either() -> None:
    """It is named, so it is not repeated in any way."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.stale = True
        return await script()

    script = Script(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await Pipeline(Retry(abort_on=ConnectionResetError)).send(Call(READ, send, (script,)))
    assert script.count == 1


@virtual
async def test_throttled_has_a_schedule_of_its_own() -> None:
    """Each of the two goes on where it was; `max_wait` and jitter are common to both."""
    script = Script(*(Told(kind) for kind in [Kind.FAILED, Kind.THROTTLED, Kind.FAILED, Kind.THROTTLED] * 2))
    retry = Retry(
        attempts=8, wait={"expo": {}}, throttled_wait={"constant": {"interval": [10, 90]}}, jitter="none", max_wait=50,
        budget=None,
    )  # fmt: skip
    with pytest.raises(Told):
        await Pipeline(retry, classify=told).run(script, op=READ)
    assert [b - a for a, b in itertools.pairwise(script.begun)] == [1, 10, 2, 50, 4]
    assert clock() == 67


@virtual
async def test_a_retry_after_is_the_floor_of_that_schedule_too() -> None:
    """Never sooner than the server says."""
    pipeline = Pipeline(Retry(throttled_wait=1, wait=9, jitter="none"), classify=told)
    await pipeline.run(Script(Told(Kind.THROTTLED, retry_after=5), Told(Kind.THROTTLED), "ok"), op=READ)
    assert 6 <= clock() <= 6.5


@virtual
async def test_without_one_throttled_waits_like_a_failure() -> None:
    """One schedule, one position in it."""
    script = Script(Told(Kind.FAILED), Told(Kind.THROTTLED), Told(Kind.FAILED), "ok")
    await Pipeline(Retry(attempts=4, wait={"expo": {}}, jitter="none"), classify=told).run(script, op=READ)
    assert script.begun == [0, 1, 3, 7]


@virtual
async def test_a_wait_of_zero_does_not_even_yield() -> None:
    """No turn of the event loop lies between two attempts."""
    call = Pipeline(Retry(on=OSError, wait=0)).run(Script(OSError(), OSError(), "done"))
    with pytest.raises(StopIteration, match="done"):
        call.send(None)


@virtual
async def test_the_first_error_is_not_held_while_it_waits() -> None:
    """Its traceback would hold what the request held, for as long as the backoff. (An UNKNOWN one may be needed.)"""

    class Mine(ConnectionRefusedError):
        pass

    seen: list[weakref.ref[Mine]] = []

    async def fail() -> None:
        error = Mine()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    task = asyncio.ensure_future(Pipeline(Retry(on=OSError, wait=10, jitter="none")).run(fail))
    await asyncio.sleep(15)
    assert len(seen) == 2
    assert [ref() for ref in seen] == [None, None]
    task.cancel()
    await asyncio.wait([task])


@virtual
async def test_a_transparent_retry_happens_once_a_call_at_any_level() -> None:
    """What a retry beneath has sent again is not sent again by the one above."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.stale = True
        return await script()

    script = Script(ConnectionResetError())
    with pytest.warns(resilience.PipelineWarning), pytest.raises(ConnectionResetError):
        await Pipeline(Retry(wait=0, nested=False), Retry(attempts=2, wait=0)).send(Call(READ, send, (script,)))
    assert script.count == 3


def test_a_transport_keeps_the_call_of_each_attempt() -> None:
    """What comes late (the end of a look-up that was cut short, say) is written on the attempt that it belongs to."""

    @virtual
    async def main() -> None:
        calls: list[Call] = []

        @takes_call
        async def transport(call: Call) -> str:
            calls.append(call)
            if len(calls) < 3:
                raise ConnectionRefusedError
            return "ok"

        assert await Pipeline(Retry(attempts=3, wait=0)).run(transport) == "ok"
        assert [call.attempt.number for call in calls] == [1, 2, 3]

    main()


@virtual
async def test_an_observer_may_keep_the_call_of_an_attempt() -> None:
    """Each attempt has a call of its own, which goes on to say which attempt it was."""
    seen: list[Event] = []
    pipeline = Pipeline(Retry(attempts=3, on=OSError, wait=0), observers=(seen.append,))
    assert await pipeline.run(Script(OSError(), OSError(), "well")) == "well"
    ended = [event for event in seen if isinstance(event, AttemptEnded)]
    assert [event.call.attempt.number for event in ended] == [1, 2, 3], seen
    assert len({id(event.call) for event in ended}) == 3
