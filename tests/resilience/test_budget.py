"""Budgets in use: who charges them and when, who shares them, and that a spent one is seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import resilience
from resilience import ConfigError, Hedge, Kind, Op, Pipeline, Retry, RetryBudget, RetryQuota, Verdict
from resilience.call import Call, takes_call
from resilience.retrying.budget import Budgets
from resilience.retrying.extras import Extras
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")
NONE = RetryBudget(ratio=0, per_second=0)
TWO = RetryBudget(ratio=0, per_second=1, window=2)


class Failed(Exception):
    """Not executed."""


class Busy(Exception):
    """Throttled."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict({Failed: Kind.FAILED, Busy: Kind.THROTTLED}.get(type(exc), Kind.REJECTED))


def pipe(*policies: Any, **more: Any) -> Pipeline:
    return Pipeline(*policies, classify=classify, **more)


def retry(budget: Any, **more: Any) -> Retry:
    return Retry(**{"wait": 0, "budget": budget, **more})


async def fails(pipeline: Pipeline, script: Any = None, error: type[Exception] = Failed, op: Op = READ) -> Exception:
    """The error of a call that fails."""
    with pytest.raises(error) as caught:
        await pipeline.run(script or Script(error), op=op)
    return caught.value


def state(pipeline: Pipeline) -> dict[str, Any]:
    """The status of the one budget of a pipeline."""
    (found,) = [value for key, value in pipeline.status().items() if key.startswith("budget:")]
    return dict(found)


@virtual
async def test_a_spent_budget_is_told_and_the_attempts_own_error_is_raised() -> None:
    """In the notes of the attempt, in the history on the error, and in a count."""
    recorder = Recorder()
    pipeline = pipe(retry(TWO, attempts=9), observers=(recorder,))
    script = Script(Failed("1"), Failed("2"), Failed("3"))
    error = await fails(pipeline, script)
    assert (str(error), script.count) == ("3", 3)
    assert error.__notes__[-1] == "not retried: budget_spent"
    assert recorder.attempts[-1].attempt.notes["retry_stopped"] == "budget_spent"
    assert [attempt.attempt.notes["budget.balance"] for attempt in recorder.attempts] == [1, 0, 0]
    assert state(pipeline) == {"default": {"calls": 1, "scheduled": 2, "refused": 1, "balance": 0}}


@virtual
async def test_one_is_on_by_default() -> None:
    """A fifth of the calls, or ten a second; None switches it off, and then nothing is counted."""
    assert Retry().budget == Hedge(1).budget == RetryBudget(0.2, 10.0, 10.0, None)
    script = Script(Failed)
    pipeline = pipe(Retry(wait=0))
    for _ in range(200):
        await fails(pipeline, script)
    assert script.count == 300
    free = pipe(retry(None))
    script = Script(Failed)
    for _ in range(200):
        await fails(free, script)
    assert script.count == 600
    assert free.status() == {}


@virtual
async def test_it_is_charged_when_the_retry_is_scheduled() -> None:
    """Not when it is sent: two that wait leave nothing for a third (Envoy issue 30205). It is not given back."""
    pipeline = pipe(retry(RetryBudget(0, 0.01, 200), wait=50, jitter="none"))
    waiting = [asyncio.ensure_future(pipeline.run(Script(Failed, "done"), op=READ)) for _ in range(2)]
    await asyncio.sleep(1)
    await fails(pipeline)
    assert state(pipeline)["default"]["refused"] == 1
    waiting[0].cancel()
    await asyncio.wait(waiting)
    assert waiting[1].result() == "done"
    await fails(pipeline)
    assert state(pipeline)["default"] == {"calls": 4, "scheduled": 2, "refused": 2, "balance": 0}


@virtual
async def test_what_is_not_scheduled_is_not_charged() -> None:
    """Rejected, out of attempts, out of time, in all cases."""
    pipeline = pipe(retry(TWO, attempts=2, max_retry_after=1))
    await fails(pipeline, error=ValueError)
    with resilience.within(5):
        await fails(pipe(retry(TWO, wait=9, jitter="none")))
    assert state(pipeline)["default"]["scheduled"] == 0
    await fails(pipeline)
    assert state(pipeline)["default"]["scheduled"] == 1


@virtual
async def test_a_transparent_retry_is_charged_too() -> None:
    """A server that resets every connection would otherwise be sent everything twice, for ever."""

    @takes_call
    async def send(call: Call, script: Script) -> Any:
        call.attempt.stale = not call.attempt.fresh
        return await script()

    script = Script(Failed)
    pipeline = pipe(retry(RetryBudget(0, 0.1, 10), attempts=1))
    for _ in range(3):
        with pytest.raises(Failed) as caught:
            await pipeline.send(Call(READ, send, (script,)))
    assert script.count == 4
    assert caught.value.__notes__[-1] == "not retried: budget_spent"
    quota = pipe(retry(RetryQuota(tokens=20), attempts=1))
    with pytest.raises(Failed):
        await quota.send(Call(READ, send, (script,)))
    assert state(quota)["default"]["balance"] == 6


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")
@pytest.mark.parametrize("policies", [(Retry, Hedge), (Hedge, Retry), (Retry, Retry)])
@virtual
async def test_one_pipeline_shares_it_and_counts_a_call_once(policies: Any) -> None:
    """Whichever lies within the other; attempts are no calls."""
    made = {Retry: retry(RetryBudget(), nested=True), Hedge: Hedge(1, budget=RetryBudget())}
    pipeline = pipe(*(made[kind] for kind in policies))
    script = Script(Failed)
    await fails(pipeline, script)
    assert state(pipeline)["default"] == {
        "calls": 1, "scheduled": script.count - 1, "refused": 0, "balance": 101 - script.count,
    }  # fmt: skip
    assert script.count == (9 if policies == (Retry, Retry) else 3)


@virtual
async def test_pipelines_of_one_scope_share_it_and_others_do_not() -> None:
    """Equal settings, loaded together."""
    shared: dict[str, Any] = {}
    one, two = (pipe(retry(TWO), shared=shared, scope="a") for _ in range(2))
    other = pipe(retry(TWO), shared=shared, scope="b")
    different = pipe(retry(RetryBudget(0, 2, 1)), shared=shared, scope="a")
    alone = pipe(retry(TWO))
    await fails(one)
    await fails(two)
    assert state(one) == state(two) == {"default": {"calls": 2, "scheduled": 2, "refused": 1, "balance": 0}}
    for pipeline in (other, different, alone):
        script = Script(Failed)
        await fails(pipeline, script)
        assert script.count == 3


@virtual
async def test_a_hedge_is_charged_when_it_is_sent_and_refused_when_spent() -> None:
    """The call goes on with the branches that it has."""
    recorder = Recorder()
    pipeline = pipe(Hedge(1, extra=5, budget=TWO), observers=(recorder,))
    script = Script(after(9, "slow"))
    assert await pipeline.run(script, op=READ) == "slow"
    assert script.begun == [0, 1, 2]
    assert state(pipeline)["default"]["refused"] == 1
    notes = next(ended.attempt.notes for ended in recorder.attempts if ended.attempt.number == 1)
    assert notes == {"budget.balance": 0, "hedge_stopped": "budget_spent"}


@virtual
async def test_hedges_and_retries_draw_on_one_purse() -> None:
    """What one has taken the other has not."""
    two = RetryBudget(0, 0.2, 10)
    pipeline = pipe(retry(two), Hedge(1, budget=two))
    script = Script(after(3, Failed()))
    await fails(pipeline, script)
    assert script.begun == [0, 1, 4]  # the original, a hedge, a retry; no hedge of that, and no second retry
    assert state(pipeline)["default"] == {"calls": 1, "scheduled": 2, "refused": 2, "balance": 0}


@virtual
async def test_an_operation_that_is_not_hedged_is_a_call_all_the_same() -> None:
    """Its calls justify retries."""
    pipeline = pipe(retry(RetryBudget(0.5, 0)), Hedge(1, budget=RetryBudget(0.5, 0)))
    for _ in range(4):
        await pipeline.run(Script("done"), op=WRITE)
    script = Script(Failed)
    await fails(pipeline, script, op=WRITE)
    assert (script.count, state(pipeline)["default"]["calls"]) == (3, 5)


@pytest.mark.parametrize(
    ("key", "calls"),
    [
        ("host", [({"host": "a"}, READ), ({"host": "b"}, READ)]),
        ("account", [({"account": "a"}, READ), ({"account": "b"}, READ)]),
        ("op", [({}, Op("a")), ({}, Op("b"))]),
        (lambda call: call.args[0], [({}, READ), ({}, WRITE)]),
    ],
)
@virtual
async def test_each_key_has_its_own(key: Any, calls: list[Any]) -> None:
    """A sick host does not spend the budget of a healthy one."""
    pipeline = pipe(retry(RetryBudget(0, 1, 2, key=key)))
    for number, (keys, op) in enumerate(calls):
        script = Script(Failed)
        for _ in range(2):
            with pytest.raises(Failed):
                await pipeline.send(Call(op, script, (f"{'ab'[number]}",), keys=keys))
        assert script.count == 4
    assert set(state(pipeline)) == {"a", "b"}


@virtual
async def test_a_call_without_the_key_shares_one() -> None:
    """As calls without a host do."""
    pipeline = pipe(retry(RetryBudget(key="host")))
    await pipeline.run(Script("done"), op=READ)
    assert state(pipeline) == {"default": {"calls": 1, "scheduled": 0, "refused": 0, "balance": 100}}


@virtual
async def test_the_number_of_keys_is_bounded() -> None:
    """Keys with nothing to remember are dropped; when all have, the rest share one, until a sweep finds room."""
    pipeline = pipe(retry(RetryBudget(0, 2, 10, key=lambda call: call.args[0])))
    for number in range(3000):
        await pipeline.run(Script("done"), number, op=READ)
    assert len(state(pipeline)) <= 1001
    await asyncio.sleep(2)
    for number in range(1100):
        with pytest.raises(Failed):
            await pipeline.run(Script(Failed), f"busy {number}", op=READ)
    rows = state(pipeline)
    assert len(rows) == 1001
    assert rows["busy 999"] == {"calls": 1, "scheduled": 2, "refused": 0, "balance": 18}
    assert rows["others"] == {"calls": 100, "scheduled": 20, "refused": 90, "balance": 0}
    await asyncio.sleep(20)
    await pipeline.run(Script("done"), "new", op=READ)
    assert list(state(pipeline)) == ["new"]


@virtual
async def test_the_quota_of_the_aws_sdks() -> None:
    """A retry costs 14, one after a THROTTLED 5; a success gives back what its last retry cost, else one."""
    pipeline = pipe(retry(RetryQuota(tokens=40), attempts=9))
    script = Script(Failed)
    await fails(pipeline, script)
    assert script.count == 3
    assert state(pipeline) == {"default": {"scheduled": 2, "refused": 1, "balance": 12}}
    assert await pipeline.run(Script(Busy(), Busy(), "done"), op=READ) == "done"
    assert state(pipeline)["default"]["balance"] == 7
    for _ in range(3):
        await pipeline.run(Script("done"), op=READ)
    assert state(pipeline)["default"]["balance"] == 10
    generous = pipe(retry(RetryQuota(tokens=40, success=5)))
    await fails(generous)
    await generous.run(Script("done"), op=READ)
    assert state(generous)["default"]["balance"] == 17


@virtual
async def test_a_quota_is_shared_by_retry_and_hedge_and_a_success_counts_once() -> None:
    """Each gives back what it took itself, and the innermost the one for a clean success."""
    quota = RetryQuota(tokens=100)
    pipeline = pipe(retry(quota), Hedge(1, budget=quota))
    await fails(pipeline)
    left = state(pipeline)["default"]["balance"]
    assert left == 72
    await pipeline.run(Script("done"), op=READ)
    assert state(pipeline)["default"]["balance"] == 73
    await pipeline.run(Script(after(9, "slow"), "quick"), op=READ)
    assert state(pipeline)["default"]["balance"] == 73
    await pipeline.run(Script(Failed(), "done"), op=READ)
    assert state(pipeline)["default"]["balance"] == 74  # -14 +14, and one for the attempt that went well


@virtual
async def test_a_hedge_costs_a_quota_what_a_retry_does() -> None:
    """And not what a throttled one does."""
    pipeline = pipe(Hedge(1, budget=RetryQuota(tokens=20)))
    await fails(pipeline, Script(after(2, Failed())))
    assert state(pipeline)["default"] == {"scheduled": 1, "refused": 0, "balance": 6}
    pipeline = pipe(Hedge(1, budget=RetryQuota(tokens=20, success=5)))
    await fails(pipeline, Script(after(2, Failed())))
    await pipeline.run(Script("done"), op=READ)
    assert state(pipeline)["default"]["balance"] == 11


@virtual
async def test_a_keyed_quota() -> None:
    """A purse each."""
    pipeline = pipe(retry(RetryQuota(tokens=14, key="op")))
    for op in (READ, WRITE):
        script = Script(Failed)
        await fails(pipeline, script, op=op)
        assert script.count == 2


@virtual
async def test_streams_are_calls() -> None:
    """Opened again from the same budget."""

    async def items() -> Any:
        raise Failed
        yield

    pipeline = pipe(retry(TWO, attempts=9))
    with pytest.raises(Failed):
        async for _ in pipeline.stream(items, op=READ):
            pass
    assert state(pipeline)["default"] == {"calls": 1, "scheduled": 2, "refused": 1, "balance": 0}


@pytest.mark.parametrize("more", [{}, {"max_duration": 60}])
@pytest.mark.parametrize(
    "budget", [RetryBudget(), RetryBudget(per_second=0), RetryBudget(key="op"), RetryQuota(), None]
)
@virtual
async def test_every_kind_of_budget_lets_results_through(budget: Any, more: Any) -> None:
    """The first attempt is made by different code for each; all of it returns, repeats and raises alike."""
    pipeline = pipe(retry(budget, result=lambda value: value == "bad", **more))
    for _ in range(10):
        assert await pipeline.run(Script("good"), op=READ) == "good"
    assert await pipeline.run(Script("bad", "good"), op=READ) == "good"
    assert await pipeline.run(Script(Failed(), "good"), op=READ) == "good"
    await fails(pipeline, error=ValueError)
    task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    status = state(pipeline)["default" if getattr(budget, "key", None) is None else "read"] if budget else {}
    assert status.get("scheduled", 2) == 2
    assert status.get("calls", 14) == 14


def test_a_pipeline_that_moves_to_another_loop_begins_anew() -> None:
    """Whose clock may be behind."""
    pipeline = pipe(retry(TWO))

    async def spent_twice(late: float) -> None:
        await asyncio.sleep(late)
        script = Script(Failed)
        await fails(pipeline, script)
        await fails(pipeline, script)
        assert script.count == 4

    VirtualLoop().run(spent_twice(1000))
    VirtualLoop().run(spent_twice(0))
    assert state(pipeline)["default"]["balance"] == 0  # asked without a running loop


def test_a_key_functions_name_is_its_own() -> None:
    """Two functions of one name are two budgets; one that is used twice is one."""

    def by(call: Call) -> str:
        return "x"

    first, second = RetryBudget(key=by), RetryBudget(key=lambda call: "x")
    assert first.name == RetryBudget(key=by).name != second.name
    assert "by@" in first.name
    assert RetryBudget().name == "all/0.2 or 10/s in 10s"
    assert RetryQuota(key="op").name == "op/500 tokens 14-5+1"
    assert len({RetryBudget().name, RetryBudget(0.1).name, RetryBudget(key="op").name, RetryQuota().name}) == 4
    assert type(Budgets(RetryBudget()).counter) is Extras
    for other in (first, RetryBudget(per_second=0), RetryBudget(key="op"), RetryQuota()):
        assert Budgets(other).counter is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RetryBudget(ratio=1.1), "RetryBudget: ratio is 1.1"),
        (lambda: RetryBudget(ratio=-0.1), "RetryBudget: ratio is -0.1"),
        (lambda: RetryBudget(per_second=-1), "RetryBudget: per_second is -1"),
        (lambda: RetryBudget(window=0), "RetryBudget: window is 0"),
        (lambda: RetryBudget(key="ip"), "RetryBudget: key is 'ip', must be host, account, op, or a function"),
        (lambda: RetryBudget(key=3), "RetryBudget: key is 3"),  # type: ignore[arg-type]
        (lambda: RetryQuota(tokens=0), "RetryQuota: tokens is 0"),
        (lambda: RetryQuota(tokens=1.5), "RetryQuota: tokens is 1.5"),  # type: ignore[arg-type]
        (lambda: RetryQuota(transient=0), "RetryQuota: transient is 0"),
        (lambda: RetryQuota(transient=2.5), "RetryQuota: transient is 2.5"),  # type: ignore[arg-type]
        (lambda: RetryQuota(throttle=0), "RetryQuota: throttle is 0"),
        (lambda: RetryQuota(throttle=2.5), "RetryQuota: throttle is 2.5"),  # type: ignore[arg-type]
        (lambda: RetryQuota(success=-1), "RetryQuota: success is -1"),
        (lambda: RetryQuota(success=0.5), "RetryQuota: success is 0.5"),  # type: ignore[arg-type]
        (lambda: RetryQuota(key=""), "RetryQuota: key is ''"),
        (lambda: Retry(budget=5), "Retry: budget is 5, must be a RetryBudget, a RetryQuota or None"),  # type: ignore[arg-type]
        (lambda: Hedge(1, budget=5), "Hedge: budget is 5"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    """The error says which field, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_edges_of_the_settings_are_allowed() -> None:
    """All, nothing, and the smallest purse."""
    assert RetryBudget(ratio=1, per_second=0).make()
    assert RetryBudget(ratio=0, per_second=0, window=0.001).make()
    assert RetryQuota(tokens=1, transient=1, throttle=1, success=0).make()


def test_the_limits_are_what_is_left_where_nothing_was_sent() -> None:
    """By the same keys as the status: tokens of a quota, and of a budget what its calls and the seconds justify."""
    for budget, most in ((RetryQuota(tokens=7), 7), (RetryBudget(ratio=0.5, per_second=2.0, window=10.0), 20)):
        budgets = Budgets(budget)
        budgets.now = lambda: 0.0
        assert budgets.limits() == {"default": most}
