"""Nested retries: what one has given up on the next does not repeat, wherever the two stand."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import Any

import pytest

from resilience import Hedge, Kind, Op, Pipeline, Retry, RetryBudget, Verdict, within
from resilience.testing import Recorder, Script, after, virtual

READ = Op("read", idempotent=True)
pytestmark = pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")


class Broken(Exception):
    """Not executed."""


class Wrapped(Exception):
    """Another error of the application, not executed either."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind.FAILED if isinstance(exc, (Broken, Wrapped, ExceptionGroup)) else Kind.REJECTED)


def pipe(*policies: Any, **more: Any) -> Pipeline:
    return Pipeline(*(policies or (Retry(wait=0),)), classify=classify, **more)


class Target:
    """Fails with a new error each time, until `failures` are spent."""

    def __init__(self, failures: int = 10**6) -> None:
        self.count = 0
        self.failures = failures

    async def __call__(self) -> str:
        self.count += 1
        if self.count > self.failures:
            return "done"
        raise Broken(str(self.count))


async def sends(outer: Pipeline, fn: Any, target: Target) -> int:
    """How often the target is asked, if all fails."""
    with pytest.raises((Broken, Wrapped, ExceptionGroup)):
        await outer.run(fn, op=READ)
    return target.count


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
@virtual
async def test_three_attempts_at_n_levels_are_three(levels: int) -> None:
    """Pipelines around pipelines."""
    target = Target()
    fn: Any = target
    for _ in range(levels):
        fn = pipe().guard(READ)(fn) if fn is not target else pipe().guard(READ)(target)
    with pytest.raises(Broken, match="3"):
        await fn()
    assert target.count == 3


@pytest.mark.parametrize("levels", [2, 3])
@virtual
async def test_within_one_pipeline_too(levels: int) -> None:
    """The innermost keeps its attempts."""
    target = Target()
    inner = Retry(attempts=4, wait=0)
    assert await sends(pipe(*[Retry(wait=0)] * (levels - 1), inner), target, target) == 4


@virtual
async def test_the_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In the notes of the outer attempt and of the error, and once per pipeline in the log."""
    target, recorder = Target(), Recorder()
    inner = pipe(name="inner")
    outer = pipe(name="outer", observers=(recorder,))
    for _ in range(2):
        with pytest.raises(Broken) as caught:
            await outer.run(lambda: inner.run(target, op=READ), op=READ)
    assert recorder.attempts[0].attempt.notes == {"retry_stopped": "nested_retry"}
    assert set(outer.states) - {"retry"} == {key for key in outer.states if key.startswith("budget:")}
    assert caught.value.__notes__[-1] == "not retried: nested_retry: a retry beneath has given up on it"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("resilience", logging.WARNING)
    assert record.getMessage().startswith("pipeline 'outer': read is retried at more than one level")


@pytest.mark.parametrize(
    ("inner", "sent"),
    [
        (Retry(attempts=2, wait=0), 2),
        (Retry(wait=0, budget=RetryBudget(0, 0)), 1),
        (Retry(wait=9, max_duration=5, jitter=None), 1),
        (Retry(wait=lambda: iter(())), 1),  # type: ignore[arg-type, return-value]
        (Retry(wait={"constant": {"interval": [0, 0]}}, attempts=9), 3),
    ],
)
@virtual
async def test_whatever_made_it_give_up(inner: Retry, sent: int) -> None:
    """Attempts, budget, duration and schedule are all reasons."""
    target, beneath = Target(), pipe(inner)
    assert await sends(pipe(Retry(wait=0, budget=None)), lambda: beneath.run(target, op=READ), target) == sent


@virtual
async def test_a_deadline_that_would_be_exceeded_beneath() -> None:
    """The inner one had no time; the outer one may have, but does not know better."""
    target, beneath = Target(), pipe(Retry(wait=9, jitter=None))

    async def short() -> Any:
        with within(5):
            return await beneath.run(target, op=READ)

    assert await sends(pipe(), short, target) == 1


@virtual
async def test_what_no_retry_beneath_wanted_is_repeated() -> None:
    """Another error than those which the inner retry repeats; and a retry of one attempt is none."""
    target = Target()
    others = pipe(Retry(on=KeyError, wait=0))
    assert await sends(pipe(), lambda: others.run(target, op=READ), target) == 3
    target = Target()
    single = pipe(Retry(attempts=1))
    assert await sends(pipe(), lambda: single.run(target, op=READ), target) == 3
    target = Target()
    aborted = pipe(Retry(abort_on=Broken))
    assert await sends(pipe(), lambda: aborted.run(target, op=READ), target) == 3


@virtual
async def test_multiplying_on_purpose() -> None:
    """`nested` says that it is meant; it is the outer one's to say."""
    target, beneath = Target(), pipe()
    assert await sends(pipe(Retry(wait=0, nested=True)), lambda: beneath.run(target, op=READ), target) == 9
    target, beneath = Target(), pipe(Retry(wait=0, nested=True))
    assert await sends(pipe(), lambda: beneath.run(target, op=READ), target) == 3
    target = Target()
    assert await sends(pipe(Retry(wait=0, nested=True), Retry(wait=0)), target, target) == 9


@virtual
async def test_an_outer_retry_goes_on_after_a_success_beneath() -> None:
    """An attempt that fails after the inner call went well is repeated."""
    beneath, count = pipe(), 0

    async def fn() -> None:
        nonlocal count
        count += 1
        await beneath.run(Target(failures=2), op=READ)
        raise Broken

    with pytest.raises(Broken):
        await pipe().run(fn, op=READ)
    assert count == 3


@pytest.mark.parametrize("how", ["from", "from none", "in the handler", "group", "deep"])
@virtual
async def test_an_error_that_was_turned_into_another_is_known(how: str) -> None:
    """By its cause, its context, or as a member of a group."""
    target, beneath = Target(), pipe()

    async def fn() -> None:
        try:
            await beneath.run(target, op=READ)
        except Broken as error:
            if how == "from":
                raise Wrapped from error
            if how == "from none":
                raise Wrapped from None
            if how == "group":
                raise ExceptionGroup("several", [ValueError(), error]) from None
            if how == "deep":
                try:
                    raise ValueError from error
                except ValueError as second:
                    raise Wrapped from second
            raise Wrapped  # noqa: B904 (on purpose)

    assert await sends(pipe(), fn, target) == 3


@virtual
async def test_an_error_of_its_own_is_repeated() -> None:
    """One that is raised after the other was swallowed is a failure of another kind."""
    target, beneath = Target(), pipe()

    async def fn() -> None:
        failed = False
        try:
            await beneath.run(target, op=READ)
        except Broken:
            failed = True
        if failed:
            raise Wrapped

    assert await sends(pipe(), fn, target) == 9


@pytest.mark.parametrize("attempts", [2, 3])
@virtual
async def test_across_tasks(attempts: int) -> None:
    """gather, a task group, and the branches of a hedge."""
    for how in ("gather", "group", "hedge"):
        target, beneath = Target(), pipe(Retry(wait=0, attempts=attempts))

        async def fn(target: Target = target, beneath: Pipeline = beneath, how: str = how) -> None:
            if how == "gather":
                await asyncio.gather(beneath.run(target, op=READ))
            elif how == "group":
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(beneath.run(target, op=READ))
            else:
                await beneath.run(target, op=READ)

        outer = pipe(Retry(wait=0), *([Hedge(9)] if how == "hedge" else []))
        assert await sends(outer, fn, target) == attempts, how


@virtual
async def test_one_error_object_for_many_calls() -> None:
    """Calls that run at the same time and meet the same object do not take each other's mark for one from beneath."""
    error = Broken()
    pipeline = pipe(Retry(wait=1, budget=None), seed=1)
    recorder = Recorder()
    pipeline.observe(recorder)
    scripts = [Script(after(0.5, error)) for _ in range(30)]
    await asyncio.gather(*(pipeline.run(script, op=READ) for script in scripts), return_exceptions=True)
    assert [script.count for script in scripts] == [3] * 30
    await asyncio.gather(*(pipeline.run(script, op=READ) for script in scripts), return_exceptions=True)
    assert {ended.attempt.notes.get("retry_stopped") for ended in recorder.attempts} == {None, "attempts_spent"}


@virtual
async def test_one_error_object_and_a_spent_budget() -> None:
    """Nor where each gives up at once."""
    error, recorder = Broken(), Recorder()
    pipeline = pipe(Retry(wait=0, budget=RetryBudget(0, 0)), observers=(recorder,))
    await asyncio.gather(*(pipeline.run(Script(after(1, error)), op=READ) for _ in range(9)), return_exceptions=True)
    assert [ended.attempt.notes["retry_stopped"] for ended in recorder.attempts] == ["budget_spent"] * 9


@virtual
async def test_one_error_object_that_was_given_up_before() -> None:
    """Once as the last of several, by which nobody can tell that it will come again; later it is known."""
    error = Broken()
    pipeline = pipe(Retry(wait=1, budget=None), seed=1)
    with pytest.raises(Broken):
        await pipeline.run(Script(Broken(), Broken(), error), op=READ)
    scripts = [Script(after(0.5 + number, error)) for number in range(5)]
    await asyncio.gather(*(pipeline.run(script, op=READ) for script in scripts), return_exceptions=True)
    assert [script.count for script in scripts] == [3] * 5


@virtual
async def test_one_error_object_in_nested_retries() -> None:
    """Within one task it is known all the same."""
    error = Broken()
    for _ in range(2):
        script, beneath = Script(error), pipe()
        with pytest.raises(Broken):
            await pipe().run(lambda beneath=beneath, script=script: beneath.run(script, op=READ), op=READ)
        assert script.count == 3


@virtual
async def test_an_old_mark_is_no_mark() -> None:
    """An error that was given up on and is raised again later, by something without retries, is repeated."""
    beneath, outer = pipe(), pipe()
    kept: list[Broken] = []

    async def first() -> None:
        try:
            await beneath.run(Target(), op=READ)
        except Broken as error:
            kept.append(error)

    await first()
    script = Script(kept[0])
    with pytest.raises(Broken):
        await outer.run(script, op=READ)
    assert script.count == 3


@virtual
async def test_a_cause_that_was_given_up_just_before_the_attempt_is_old() -> None:
    """Though something else is given up meanwhile."""
    beneath, count = pipe(), 0
    with pytest.raises(Broken) as caught:
        await beneath.run(Target(), op=READ)
    new = Wrapped()
    new.__cause__ = caught.value

    async def fn() -> None:
        nonlocal count
        count += 1
        with contextlib.suppress(Broken):
            await beneath.run(Target(), op=READ)
        raise new

    with pytest.raises(Wrapped):
        await pipe(Retry(wait=0, attempts=2)).run(fn, op=READ)
    assert count == 2


@pytest.mark.parametrize(("length", "sent"), [(15, 3), (16, 9), (40, 9)])
@virtual
async def test_a_long_chain_of_causes_is_not_followed_for_ever(length: int, sent: int) -> None:
    """Sixteen errors are looked at, also where they go round in a circle."""
    target, beneath = Target(), pipe()

    async def fn() -> None:
        last: Exception = Wrapped()
        try:
            await beneath.run(target, op=READ)
        except Broken as error:
            last = error
        for _ in range(length):
            new = Wrapped()
            new.__cause__, last = last, new
        raise last

    assert await sends(pipe(), fn, target) == sent
    circle, beneath = Wrapped(), pipe()
    circle.__cause__, circle.__context__ = Wrapped(), circle

    async def round() -> None:
        with contextlib.suppress(Broken):
            await beneath.run(Target(), op=READ)
        raise circle

    with pytest.raises(Wrapped):
        await pipe().run(round, op=READ)


@virtual
async def test_errors_that_cannot_be_changed() -> None:
    """They are marked where their dataclass does not look."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Broken):
        number: int

    script, beneath = Script(lambda: Frozen(script.count)), pipe()
    with pytest.raises(Frozen):
        await pipe().run(lambda: beneath.run(script, op=READ), op=READ)
    assert script.count == 3
