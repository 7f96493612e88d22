"""Hedge: who wins, who is cancelled, and that nothing is left running."""

from __future__ import annotations

import asyncio
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
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
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


@pytest.mark.parametrize("make", [lambda: Hedge(-1), lambda: Hedge(1, extra=0), lambda: Hedge("1s")])  # type: ignore[arg-type]
def test_wrong_settings_are_named(make: Any) -> None:
    """A delay, and at least one extra send."""
    with pytest.raises(ConfigError, match="Hedge: "):
        make()
