"""Hedge: who wins, who is cancelled, and that nothing is left running."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from resilience import (
    Breaker,
    BulkheadFull,
    ConfigError,
    Hedge,
    Kind,
    Op,
    Pipeline,
    Policy,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.call import Call, Handler, takes_call
from resilience.kit import Kit
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)


class Told(Exception):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


def clock() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_a_quick_answer_is_sent_once() -> None:
    """No second send before the delay."""
    script = Script(after(0.9, "first"))
    assert await Pipeline(Hedge(1)).run(script, op=READ) == "first"
    assert (script.count, clock()) == (1, 0.9)


@virtual
async def test_the_first_answer_wins_and_the_loser_is_cancelled() -> None:
    """The extra send answers first; the original ends before the call does."""
    script = Script(after(9, "slow"), after(0.5, "quick"))
    recorder = Recorder()
    assert await Pipeline(Hedge(1), observers=(recorder,)).run(script, op=READ) == "quick"
    assert script.begun == [0, 1]
    assert clock() == 1.5
    assert (script.cancelled, script.running) == (1, 0)
    assert len(asyncio.all_tasks()) == 1
    assert recorder.balanced()
    assert [(e.attempt.number, e.attempt.kind) for e in recorder.attempts] == [(2, "hedge"), (1, "original")]
    assert recorder.attempts[1].attempt.notes["hedge"] == "lost"
    assert isinstance(recorder.attempts[1].error, asyncio.CancelledError)


@virtual
async def test_the_original_may_still_win() -> None:
    """Whoever is first, whatever its number."""
    script = Script(after(1.2, "original"), after(5, "hedge"))
    assert await Pipeline(Hedge(1)).run(script, op=READ) == "original"
    assert script.cancelled == 1


@virtual
async def test_up_to_extra_sends_one_delay_apart() -> None:
    """Then it only waits."""
    script = Script(never, never, never, "never asked")
    with within(10), pytest.raises(TimedOut):
        await Pipeline(Hedge(1, extra=2)).run(script, op=READ)
    assert script.begun == [0, 1, 2]
    assert script.cancelled == 3


@virtual
async def test_a_failing_branch_does_not_put_off_the_next_send() -> None:
    """The delay counts from the last send, not from what came of it."""
    script = Script(never, after(0.5, ConnectionRefusedError()), "third")
    assert await Pipeline(Hedge(1, extra=2)).run(script, op=READ) == "third"
    assert script.begun == [0, 1, 2]


@virtual
async def test_what_may_not_happen_twice_is_never_hedged() -> None:
    """A write passes through, and no task is made for it."""
    script = Script(after(5, "once"))
    assert await Pipeline(Hedge(1)).run(script, op=Op("write")) == "once"
    assert script.count == 1


@virtual
async def test_a_failure_before_the_delay_is_the_retrys_business() -> None:
    """Nothing else is under way, so the error is raised at once."""
    script = Script(ConnectionRefusedError(), "again")
    assert await Pipeline(Retry(wait=0), Hedge(1)).run(script, op=READ) == "again"
    assert clock() == 0


@virtual
async def test_a_failed_branch_lets_the_other_run() -> None:
    """FAILED and UNKNOWN decide nothing while somebody may still answer."""
    for kind in (Kind.FAILED, Kind.UNKNOWN):
        script = Script(after(3, "answer"), Told(kind))
        assert await Pipeline(Hedge(1), classify=told).run(script, op=READ) == "answer"


@virtual
async def test_a_rejection_is_the_answer() -> None:
    """It wins like a value, and the other branch is cancelled."""
    script = Script(never, Told(Kind.REJECTED))
    with pytest.raises(Told):
        await Pipeline(Hedge(1), classify=told).run(script, op=READ)
    assert script.cancelled == 1


@pytest.mark.parametrize("stop", [Told(Kind.THROTTLED), BulkheadFull("x")])
@virtual
async def test_throttled_and_refused_stop_further_sends(stop: Exception) -> None:
    """No new branch; one that is under way may still win."""
    script = Script(after(5, "answer"), stop, "never asked")
    assert await Pipeline(Hedge(1, extra=5), classify=told).run(script, op=READ) == "answer"
    assert script.count == 2


@virtual
async def test_when_all_fail_the_unknown_one_is_the_truth() -> None:
    """It may have been executed, whatever the other met."""
    unknown = Told(Kind.UNKNOWN)
    script = Script(after(2, unknown), after(5, Told(Kind.FAILED)))
    with pytest.raises(Told) as caught:
        await Pipeline(Hedge(1), classify=told).run(script, op=READ)
    assert caught.value is unknown


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("truth", "other"),
    [
        (Told(Kind.UNKNOWN), Told(Kind.THROTTLED)),
        (Told(Kind.THROTTLED), Told(Kind.FAILED)),
        (Told(Kind.UNKNOWN), BulkheadFull("x")),
        (Told(Kind.FAILED), BulkheadFull("x")),
    ],
)
@virtual
async def test_when_all_fail_the_one_that_says_most_is_raised(truth: Exception, other: Exception, turned: bool) -> None:
    """Whichever came first; a refusal of ours says least."""
    errors = (other, truth) if turned else (truth, other)
    script = Script(after(2, errors[0]), after(5, errors[1]))
    with pytest.raises(type(truth)) as caught:
        await Pipeline(Hedge(1), classify=told).run(script, op=READ)
    assert caught.value is truth


@virtual
async def test_when_all_fail_alike_the_last_error_is_raised() -> None:
    """And no exception group."""
    last = Told(Kind.FAILED)
    with pytest.raises(Told) as caught:
        await Pipeline(Hedge(1), classify=told).run(Script(after(2, Told(Kind.FAILED)), after(5, last)), op=READ)
    assert caught.value is last


@virtual
async def test_the_callers_cancellation_cancels_all_branches() -> None:
    """They have ended when the call has."""
    script = Script(never)
    task = asyncio.ensure_future(Pipeline(Hedge(1, extra=2)).run(script, op=READ))
    await asyncio.sleep(2.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (script.count, script.cancelled, script.running) == (3, 3, 0)


@virtual
async def test_a_stubborn_loser_is_left_behind_after_a_grace() -> None:
    """The caller waits a second for it, not for ever."""
    ended: list[float] = []

    async def stubborn(number: list[int]) -> str:
        number.append(1)
        if len(number) == 2:
            return "quick"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            ended.append(clock())
            raise ValueError("clean-up failed, and nobody is told") from None
        return "slow"

    assert await Pipeline(Hedge(1)).run(stubborn, [], op=READ) == "quick"
    assert clock() == 2
    await asyncio.sleep(9)
    assert ended == [6]


@virtual
async def test_branches_have_their_own_context() -> None:
    """What one sets, neither the other nor the caller sees."""
    seen: ContextVar[str] = ContextVar("seen", default="nothing")

    async def branch(step: Script) -> tuple[str, Any]:
        before = seen.get()
        seen.set("mine")
        return before, await step()

    script = Script(after(9, "slow"), "quick")
    assert await Pipeline(Hedge(1)).run(branch, script, op=READ) == ("nothing", "quick")
    assert seen.get() == "nothing"


@virtual
async def test_each_branch_has_its_own_timeout_and_the_breaker_ignores_losers() -> None:
    """A cancelled loser is no mark against the target."""
    script = Script(after(1.9, "original"), never)
    pipeline = Pipeline(Hedge(1), Breaker(consecutive=1, failure_rate=None), Timeout(2))
    assert await pipeline.run(script, op=READ) == "original"
    assert await pipeline.run(Script("still closed"), op=READ) == "still closed"


@virtual
async def test_a_cancellation_from_beneath_is_one() -> None:
    """A target that cancels itself is not mistaken for an answer."""
    with pytest.raises(asyncio.CancelledError):
        await Pipeline(Hedge(1)).run(Script(asyncio.CancelledError()), op=READ)


def test_a_plain_function_must_say_that_it_may_happen_twice() -> None:
    """Decorating with nothing known would silently hedge nothing."""

    async def fetch() -> None: ...

    with pytest.raises(ConfigError, match="idempotent=True"):
        Hedge(1)(fetch)
    Pipeline(Hedge(1)).guard(READ)(fetch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hedge(-1), "Hedge: delay is -1"),
        (lambda: Hedge(1, extra=0), "Hedge: extra is 0"),
        (lambda: Hedge(1, extra=1.5), "Hedge: extra is 1.5"),  # type: ignore[arg-type]
        (lambda: Hedge("1s"), "Hedge: delay: '1s' is no quantile: write p and a percentage .* p95, or give seconds"),
        (lambda: Hedge("p0"), "Hedge: delay: 'p0' is no quantile"),
        (lambda: Hedge("p100"), "Hedge: delay: 'p100' is no quantile"),
        (lambda: Hedge("p95", initial=-1), "Hedge: initial is -1"),
        (lambda: Hedge("p95", least=-1), "Hedge: least is -1"),
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    """A delay or a quantile, and at least one extra send."""
    with pytest.raises(ConfigError, match=message):
        make()


def test_no_delay_is_allowed() -> None:
    """Both are sent at once then; and a measured one may have no floor."""
    assert Hedge(0, initial=0, least=0).delay == 0


# -- losers -------------------------------------------------------------------------------------------------------


@virtual
async def test_losers_are_marked_before_they_are_cancelled() -> None:
    """So that whoever hears of the cancellation beneath knows that it teaches nothing; the winner is not marked."""
    lost: dict[int, bool] = {}

    @takes_call
    async def fetch(call: Call, script: Script) -> Any:
        try:
            return await script()
        finally:
            lost[call.attempt.number] = call.attempt.lost

    pipeline = Pipeline(Hedge(1, extra=2))
    assert await pipeline.send(Call(READ, fetch, (Script(never, after(1.5, "second"), never),))) == "second"
    assert lost == {1: True, 2: False, 3: True}


@virtual
async def test_nobody_loses_where_nobody_wins() -> None:
    """Cancelled by the caller, or by an error that is no answer: the branches are cancelled, and have not lost."""
    recorder = Recorder()
    pipeline = Pipeline(Hedge(1), observers=(recorder,))
    task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(2)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(asyncio.CancelledError):
        await pipeline.run(Script(never, asyncio.CancelledError()), op=READ)
    assert len(recorder.attempts) == 4
    assert not any(ended.attempt.lost or "hedge" in ended.attempt.notes for ended in recorder.attempts)


@virtual
async def test_a_loser_that_ended_in_the_same_tick_is_a_loser() -> None:
    """The branch with the lower number wins, and the error of the other is nobody's."""
    script = Script(after(2, "first"), after(1, ValueError("second")))
    recorder = Recorder()
    pipeline = Pipeline(Hedge(1), observers=(recorder,))
    assert await pipeline.run(script, op=READ) == "first"
    assert {ended.attempt.number: ended.attempt.lost for ended in recorder.attempts} == {1: False, 2: True}


@virtual
async def test_a_rejection_wins_too() -> None:
    """The others lost."""
    recorder = Recorder()
    with pytest.raises(Told):
        await Pipeline(Hedge(1), classify=told, observers=(recorder,)).run(Script(never, Told(Kind.REJECTED)), op=READ)
    assert [ended.attempt.lost for ended in recorder.attempts] == [False, True]


async def stubborn(numbers: list[int]) -> str:
    """The first branch takes five seconds to be cancelled, the second is quick."""
    numbers.append(1)
    if len(numbers) > 1:
        return "quick"
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        me = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(5, weakly, weakref.ref(me))
        await me
    return "late"


def weakly(ref: weakref.ref[asyncio.Future[None]]) -> None:
    future = ref()
    if future is not None:
        future.set_result(None)


@virtual
async def test_a_loser_that_is_left_behind_is_not_lost_sight_of() -> None:
    """asyncio holds tasks weakly: without a reference it would vanish in the middle of its clean-up."""
    pipeline = Pipeline(Hedge(1))
    assert await pipeline.run(stubborn, [], op=READ) == "quick"
    assert clock() == 2
    gc.collect()
    assert pipeline.status()["hedge"] == {"left_behind": 1, "delay": 1}
    (left,) = pipeline.states["hedge"].left_behind
    await asyncio.sleep(5)
    assert left.result() == "late"
    assert pipeline.status()["hedge"]["left_behind"] == 0


@virtual
async def test_nor_when_the_caller_does_not_wait_for_it() -> None:
    """Cancelled during the grace: the cancellation wins, the loser is remembered."""
    pipeline = Pipeline(Hedge(1))
    task = asyncio.ensure_future(pipeline.run(stubborn, [], op=READ))
    await asyncio.sleep(1.5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert clock() == 1.5
    assert pipeline.status()["hedge"]["left_behind"] == 1
    await asyncio.sleep(10)
    assert pipeline.status()["hedge"]["left_behind"] == 0


@dataclasses.dataclass(frozen=True, slots=True)
class Above(Policy):
    """Notes which attempt a policy above the hedge sees when the call has ended."""

    seen: list[int]

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            try:
                return await next(call)
            finally:
                self.seen.append(call.attempt.number)

        return run


@virtual
async def test_policies_above_see_the_attempt_that_decided() -> None:
    """Whether it answered or failed: what it learned stands on its record."""
    seen: list[int] = []
    pipeline = Pipeline(Above(seen), Hedge(1), classify=told)
    await pipeline.run(Script(never, "second"), op=READ)
    await pipeline.run(Script(after(2, "first"), never), op=READ)
    for steps in (
        (never, Told(Kind.REJECTED)),
        (after(2, Told(Kind.UNKNOWN)), after(5, Told(Kind.FAILED))),
        (after(2, Told(Kind.FAILED)), after(5, Told(Kind.FAILED))),
    ):
        with pytest.raises(Told):
            await pipeline.run(Script(*steps), op=READ)
    assert seen == [2, 1, 2, 1, 2]


# -- a measured delay ---------------------------------------------------------------------------------------------


async def answer(pipeline: Pipeline, *seconds: float, op: Op = READ) -> Script:
    """One call, whose branches take so long each."""
    script = Script(*(after(each, "done") for each in seconds))
    assert await pipeline.run(script, op=op) == "done"
    return script


@virtual
async def test_a_quantile_follows_the_latency() -> None:
    """The cold start value first; then what all but a few calls took."""
    pipeline = Pipeline(Hedge("p90", initial=5))
    assert (await answer(pipeline, 9, 1)).begun == [0, 5]
    for number in range(32):
        await answer(pipeline, 0.2 if number % 8 else 0.4)
    status = pipeline.status()["hedge"]
    delay = status["delay"]["read"]
    assert status == {"left_behind": 0, "delay": {"read": delay}}
    assert 0.4 <= delay <= 0.44
    began = clock()
    script = await answer(pipeline, 9, 0.1)
    assert [at - began for at in script.begun] == [0, pytest.approx(delay)]


@virtual
async def test_each_operation_has_its_own_delay() -> None:
    """A slow one is not hedged because another is quick."""
    pipeline = Pipeline(Hedge("p50", initial=3))
    for _ in range(20):
        await answer(pipeline, 0.1)
    other = Op("other", idempotent=True)
    began = clock()
    script = await answer(pipeline, 9, 0.1, op=other)
    assert [at - began for at in script.begun] == pytest.approx([0, 3])


@virtual
async def test_the_delay_has_a_floor() -> None:
    """However quick the answers are."""
    pipeline = Pipeline(Hedge("p50", least=0.5))
    for _ in range(20):
        await answer(pipeline, 0.01)
    assert pipeline.status()["hedge"]["delay"] == {"read": 0.5}


@virtual
async def test_what_a_loser_took_until_then_counts() -> None:
    """Left out, the slow ones would never be seen, and each hedge would make the next one come sooner."""
    pipeline = Pipeline(Hedge("p75", initial=1, budget=None))
    for number in range(160):
        await answer(pipeline, 0.1 if number % 2 else 8, 0.1)
    assert pipeline.status()["hedge"]["delay"]["read"] > 1  # and grows, towards the 8 that are true


@virtual
async def test_what_does_not_count() -> None:
    """A hedge's own time, a failure, a cancellation; a rejection is an answer and does."""
    pipeline = Pipeline(Hedge("p50", initial=2, budget=None), classify=told)
    for _ in range(20):
        with pytest.raises(Told):
            await pipeline.run(Script(after(0.1, Told(Kind.FAILED))), op=READ)
        task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        await pipeline.run(Script(after(2.5, Told(Kind.FAILED)), after(1, "done")), op=READ)
    assert pipeline.status()["hedge"]["delay"] == {"read": 2}
    for _ in range(16):
        with pytest.raises(Told):
            await pipeline.run(Script(after(0.1, Told(Kind.REJECTED))), op=READ)
    assert pipeline.status()["hedge"]["delay"] == {"read": pytest.approx(0.1, rel=0.05)}


@virtual
async def test_the_number_of_operations_is_bounded() -> None:
    """Beyond a thousand, all others have one in common."""
    pipeline = Pipeline(Hedge("p50"))
    for number in range(1005):
        await answer(pipeline, 0, op=Op(f"op {number}", idempotent=True))
    delays = pipeline.status()["hedge"]["delay"]
    assert len(delays) == 1001
    assert "" in delays


@virtual
async def test_every_hedge_is_one_delay_after_the_one_before() -> None:
    """A measured delay too."""
    pipeline = Pipeline(Hedge("p50", extra=2, initial=2))
    assert (await answer(pipeline, 9, 9, 1)).begun == [0, 2, 4]
