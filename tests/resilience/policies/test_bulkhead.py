"""Bulkhead: places, queue, order, and no place lost whatever happens to a waiter."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from resilience import (
    Bulkhead,
    BulkheadFull,
    Call,
    ConfigError,
    Deadline,
    Op,
    Pipeline,
    Retry,
    TimedOut,
    Timeout,
    load,
    within,
)
from resilience.testing import Recorder, Script, after, never, virtual


def clock() -> float:
    return asyncio.get_running_loop().time()


def start(pipeline: Pipeline, script: Script, count: int) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(pipeline.run(script)) for _ in range(count)]


@virtual
async def test_no_more_than_the_limit_run_at_once() -> None:
    """The others wait in the queue and all are served."""
    script = Script(after(1, "ok"))
    pipeline = Pipeline(Bulkhead(3, queue=9))
    assert await asyncio.gather(*start(pipeline, script, 12)) == ["ok"] * 12
    assert script.most == 3
    assert clock() == 4
    assert pipeline.status()["bulkhead"] == {"limit": 3, "busy": 0, "waiting": 0, "refused": 0}


@virtual
async def test_a_full_queue_refuses_at_once() -> None:
    """Limit 1, queue 1: the third is refused, and the refusal says who and why."""
    pipeline = Pipeline(Bulkhead(1, queue=1))
    results = await asyncio.gather(*start(pipeline, Script(after(1, "ok")), 3), return_exceptions=True)
    assert results[:2] == ["ok", "ok"]
    assert isinstance(results[2], BulkheadFull)
    assert str(results[2]) == "refused by the bulkhead: 1 calls are running and 1 wait"
    assert results[2].reason == "bulkhead_full"
    assert clock() == 2


@virtual
async def test_the_queue_is_first_come_first_served() -> None:
    """A newcomer that arrives in the tick of a release does not overtake."""
    order: list[int] = []
    pipeline = Pipeline(Bulkhead(1, queue=9))

    async def one(number: int, delay: float) -> None:
        await asyncio.sleep(delay)

        async def body() -> None:
            order.append(number)
            await asyncio.sleep(1)

        await pipeline.run(body)

    await asyncio.gather(*(one(i, d) for i, d in enumerate((0, 0.1, 0.2, 1.0, 2.0))))
    assert order == [0, 1, 2, 3, 4]


@virtual
async def test_max_wait_bounds_the_queue() -> None:
    """Whoever waits too long is refused; the one behind is served in turn."""
    pipeline = Pipeline(Bulkhead(1, queue=5, max_wait=1))
    results = await asyncio.gather(*start(pipeline, Script(after(1.5, "ok")), 2), return_exceptions=True)
    assert results[0] == "ok"
    assert isinstance(results[1], BulkheadFull)
    assert "none ended within 1 s" in str(results[1])
    assert pipeline.status()["bulkhead"]["refused"] == 1
    assert await pipeline.run(Script("free again")) == "free again"


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_a_deadline_that_has_passed_is_not_waited_for() -> None:
    """Nobody queues for what would come too late."""
    recorder = Recorder()
    pipeline = Pipeline(Bulkhead(1, queue=1), Timeout(9), observers=(recorder,))
    holder = start(pipeline, Script(after(5)), 1)[0]
    with within(1):
        await asyncio.sleep(1)
        with pytest.raises(TimedOut) as caught:
            await pipeline.run(Script())
    assert (caught.value.queued, caught.value.seconds, recorder.waits) == (True, 0, [])
    await holder


@virtual
async def test_whoever_is_cancelled_or_let_in_as_its_time_is_up_is_not_refused_as_well() -> None:
    """What comes first in the tick is what happened."""
    for end in ("cancelled", "let in"):
        pipeline = Pipeline(Bulkhead(1, queue=1, max_wait=1))
        holder = start(pipeline, Script(after(5, "ok")), 1)[0]
        await asyncio.sleep(0)
        tasks: list[asyncio.Task[Any]] = []
        gate = pipeline.states["bulkhead"]
        first = (lambda tasks=tasks: tasks[0].cancel()) if end == "cancelled" else (lambda gate=gate: gate.resize(2))
        asyncio.get_running_loop().call_later(1, first)
        tasks += start(pipeline, Script("second"), 1)
        (outcome,) = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcome == "second" if end == "let in" else isinstance(outcome, asyncio.CancelledError)
        assert await holder == "ok"
        status = pipeline.status()["bulkhead"]
        assert (status["busy"], status["waiting"], status["refused"]) == (0, 0, 0)


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # the deadline must come first
@virtual
async def test_the_deadline_bounds_the_queue() -> None:
    """Past its deadline a waiter is TimedOut, not sent."""
    pipeline = Pipeline(Deadline(1), Bulkhead(1, queue=5), Timeout(60))
    busy = asyncio.ensure_future(Pipeline(Bulkhead(1)).run(Script(never)))
    holder = start(pipeline, Script(never), 1)[0]
    await asyncio.sleep(0)
    with pytest.raises(TimedOut) as caught:
        await pipeline.run(Script("late"))
    assert not caught.value.sent
    assert clock() == 1
    busy.cancel()
    await asyncio.gather(holder, busy, return_exceptions=True)


@virtual
async def test_a_cancelled_waiter_gives_its_turn_away() -> None:
    """Cancelled while waiting, and cancelled in the very tick in which the place was handed over."""
    for cancel_at in (0.5, 1.0):
        pipeline = Pipeline(Bulkhead(1, queue=5))
        first, second, third = start(pipeline, Script(after(1, "ok")), 3)
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(cancel_at, second.cancel)
        assert await first == "ok"
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await third == "ok"
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_errors_give_the_place_back() -> None:
    """By result, error, timeout and cancellation alike."""
    pipeline = Pipeline(Bulkhead(1), Timeout(1))
    for step in ("ok", ValueError(), never):
        await asyncio.gather(pipeline.run(Script(step)), return_exceptions=True)
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_the_wait_is_told_and_recorded() -> None:
    """Observers hear of the queue, and the attempt knows how long it waited."""
    recorder = Recorder()
    pipeline = Pipeline(Bulkhead(1, queue=1), observers=(recorder,))
    await asyncio.gather(*start(pipeline, Script(after(2, "ok")), 2))
    assert [(wait.why, wait.at) for wait in recorder.waits] == [("queue", 0)]
    assert [event.attempt.waited for event in recorder.attempts] == [0, 2]
    assert recorder.attempts[1].attempt.notes["wait.queue"] == 2


@virtual
async def test_a_full_bulkhead_is_not_retried() -> None:
    """Refused by us: never."""
    pipeline = Pipeline(Retry(on=Exception, attempts=5, wait=0), Bulkhead(1))
    script = Script(never)
    holder = start(pipeline, script, 1)[0]
    await asyncio.sleep(0)
    with within(5), pytest.raises(BulkheadFull):
        await pipeline.run(script)
    assert script.count == 1
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)


async def order_of(pipeline: Pipeline, *calls: tuple[float, float, Op]) -> list[int]:
    """In which order calls begin that come one after another at these times, and take so long."""
    order: list[int] = []

    async def one(number: int, at: float, seconds: float, op: Op) -> None:
        async def body() -> None:
            order.append(number)
            await asyncio.sleep(seconds)

        await asyncio.sleep(at)
        await pipeline.run(body, op=op)

    await asyncio.gather(*(one(number, *call) for number, call in enumerate(calls)))
    return order


@virtual
async def test_a_limit_may_be_moved_by_hand() -> None:
    """Through the state that the pipeline keeps: up lets in who waits, down puts nobody out, and newcomers obey it."""
    pipeline = Pipeline(Bulkhead(1, queue=9))
    script = Script(after(1, "ok"))
    first = start(pipeline, script, 3)
    await asyncio.sleep(0.5)
    pipeline.states["bulkhead"].resize(4)
    second = start(pipeline, script, 2)
    await asyncio.sleep(0)
    pipeline.states["bulkhead"].resize(1)
    assert await asyncio.gather(*first, *second) == ["ok"] * 5
    assert script.begun == [0, 0.5, 0.5, 0.5, 1.5]


# -- last in, first out ---------------------------------------------------------------------------------------


@virtual
async def test_a_stack_serves_the_newest_first() -> None:
    """Whoever came last is next; a full one still refuses the newcomer, at once."""
    one = Op("one")
    pipeline = Pipeline(Bulkhead(1, queue=9, order="lifo"))
    assert await order_of(pipeline, (0, 1, one), (0.1, 1, one), (0.2, 1, one), (1.5, 1, one)) == [0, 2, 3, 1]
    pipeline = Pipeline(Bulkhead(1, queue=1, order="lifo"))
    results = await asyncio.gather(*start(pipeline, Script(after(1, "ok")), 3), return_exceptions=True)
    assert [type(result) for result in results] == [str, str, BulkheadFull]


@virtual
async def test_a_light_newcomer_goes_before_a_heavy_one_in_a_stack() -> None:
    """Newest first means just that; in a queue it waits behind."""
    light, heavy = Op("light", cost=1), Op("heavy", cost=2)
    calls = ((0, 1, light), (0.1, 1, heavy), (0.2, 0.1, light))
    pipeline = Pipeline(Bulkhead(2, queue=9, weight="cost", order="lifo"))
    script = Script(after(1))
    tasks = [asyncio.ensure_future(pipeline.run(script, op=op)) for op in (light, heavy, light)]
    await asyncio.gather(*tasks)
    assert script.begun == [0, 0, 1]
    assert await order_of(Pipeline(Bulkhead(2, queue=9, weight="cost", order="lifo")), *calls) == [0, 2, 1]
    assert await order_of(Pipeline(Bulkhead(2, queue=9, weight="cost")), *calls) == [0, 1, 2]


# -- weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cost", "places"), [(0, 1), (0.5, 1), (1, 1), (1.2, 2), (2, 2), (5, 5)])
@virtual
async def test_a_call_takes_as_many_places_as_it_costs(cost: float, places: int) -> None:
    """Rounded up, and at least one."""
    pipeline = Pipeline(Bulkhead(5, weight="cost"))
    running = asyncio.ensure_future(pipeline.run(Script(after(1, "ok")), op=Op("op", cost=cost)))
    await asyncio.sleep(0.5)
    assert pipeline.status()["bulkhead"]["busy"] == places
    assert await running == "ok"
    assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_a_heavy_one_is_not_overtaken_for_ever() -> None:
    """Light calls that come all the time wait behind it, though there would be room for them."""
    light, heavy = Op("light"), Op("heavy", cost=3)
    pipeline = Pipeline(Bulkhead(3, queue=99, weight="cost"))
    lights = [(number / 2, 1.1, light) for number in range(20)]
    order = await order_of(pipeline, *lights[:4], (1.9, 1, heavy), *lights[4:])
    assert order[4] == 4


@virtual
async def test_when_the_heavy_one_gives_up_those_behind_it_go() -> None:
    """By a cancellation, by `max_wait`, by its deadline: in that very tick, all that fit."""
    light, heavy = Op("light"), Op("heavy", cost=3)

    for max_wait, deadline, cancel in ((1.0, 99.0, False), (None, 1.0, False), (None, 99.0, True)):
        pipeline = Pipeline(Bulkhead(3, queue=9, max_wait=max_wait, weight="cost"))
        holder = asyncio.ensure_future(pipeline.run(Script(after(5)), op=light))
        await asyncio.sleep(0)
        with within(deadline):
            waiting = asyncio.ensure_future(pipeline.run(Script("heavy"), op=heavy))
        await asyncio.sleep(0.5)
        begun = clock() + 0.5
        behind = [asyncio.ensure_future(pipeline.run(Script(clock), op=light)) for _ in range(2)]
        if cancel:
            asyncio.get_running_loop().call_later(0.5, waiting.cancel)
        assert await asyncio.gather(*behind) == [begun, begun]
        assert clock() == begun
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert isinstance(outcome, asyncio.CancelledError if cancel else TimedOut if max_wait is None else BulkheadFull)
        await holder
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_all_whose_time_is_up_go_before_anybody_is_let_in() -> None:
    """Two came together: when the heavy one's time is up, so is that of the light one behind it."""
    pipeline = Pipeline(Bulkhead(2, queue=9, max_wait=1, weight="cost"))
    holder = asyncio.ensure_future(pipeline.run(Script(after(5)), op=Op("light")))
    await asyncio.sleep(0)
    late = [pipeline.run(Script("late"), op=op) for op in (Op("heavy", cost=2), Op("light"))]
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BulkheadFull, BulkheadFull]
    assert pipeline.status()["bulkhead"] == {"limit": 2, "busy": 1, "waiting": 0, "refused": 2}
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)


@virtual
async def test_a_newcomer_does_not_wait_behind_those_that_were_cancelled_in_this_tick() -> None:
    """There is room, and nobody before it."""
    pipeline = Pipeline(Bulkhead(2, queue=9, weight="cost"))
    holder = asyncio.ensure_future(pipeline.run(Script(after(5)), op=Op("light")))
    await asyncio.sleep(0)
    heavy = asyncio.ensure_future(pipeline.run(Script("heavy"), op=Op("heavy", cost=2)))
    await asyncio.sleep(0)
    light = pipeline.run(Script("light"), op=Op("light"))
    heavy.cancel()
    with pytest.raises(StopIteration) as ended:
        light.send(None)  # driven by hand: it ends without waiting for anything
    assert ended.value.value == "light"
    holder.cancel()
    await asyncio.gather(holder, heavy, return_exceptions=True)


@pytest.mark.parametrize(
    ("weight", "op", "shown"),
    [
        ("cost", Op("candles", cost=4), "4"),
        ("cost", Op("candles", cost=3.1), "3.1"),
        ("cost", Op("candles", cost=float("inf")), "inf"),
        ("cost", Op("candles", cost=float("nan")), "nan"),
        (lambda call: 4, Op("candles"), "4"),
        (lambda call: 0, Op("candles"), "0"),
        (lambda call: 1.5, Op("candles"), "1.5"),
        (lambda call: True, Op("candles"), "True"),
    ],
)
@virtual
async def test_a_call_that_never_fits_is_a_mistake_in_the_configuration(weight: Any, op: Op, shown: str) -> None:
    """One line that says which call, and what is allowed; nothing is taken, and others go on."""
    pipeline = Pipeline(Bulkhead(3, weight=weight))
    with pytest.raises(ConfigError) as caught:
        await pipeline.run(Script("never"), op=op)
    assert str(caught.value) == f"Bulkhead: 'candles' takes {shown} places, must be a whole number from 1 to 3"
    assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_a_function_may_say_the_weight() -> None:
    """Of the call: what it is about stands in its arguments."""
    pipeline = Pipeline(Bulkhead(3, weight=lambda call: len(call.args)))
    tasks = [asyncio.ensure_future(pipeline.run(Script(after(1, "ok")), *"abc"[:count])) for count in (1, 2, 3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:2] == ["ok", "ok"]
    assert str(results[2]) == "refused by the bulkhead: 3 of 3 places are taken"


# -- keys -----------------------------------------------------------------------------------------------------


async def called(pipeline: Pipeline, op: str, host: str, account: str) -> Any:
    call = Call(Op(op), Script(after(1, "ok")), keys={"host": host, "account": account})
    return await pipeline.send(call)


@pytest.mark.parametrize(
    ("key", "third"),
    [
        ("op", ("a", "h1", "k1")),
        ("host", ("c", "h2", "k1")),
        ("account", ("c", "h1", "k2")),
        (lambda call: call.keys["host"], ("c", "h2", "k1")),
    ],
)
@virtual
async def test_each_key_has_a_limit_of_its_own(key: Any, third: tuple[str, str, str]) -> None:
    """Two of different keys run at once; the third shares the key of one of them."""
    pipeline = Pipeline(Bulkhead(1, key=key))
    calls = [called(pipeline, *names) for names in (("a", "h2", "k2"), ("b", "h3", "k3"), third)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[:2] == ["ok", "ok"]
    assert isinstance(outcomes[2], BulkheadFull)
    name = {"a": "a", "c": "h2"}[third[0]] if third[2] != "k2" else "k2"
    assert str(outcomes[2]) == f"refused by the bulkhead: 1 calls of {name!r} are running"
    assert pipeline.status()["bulkhead"][name] == {"limit": 1, "busy": 0, "waiting": 0, "refused": 1}


@pytest.mark.parametrize("key", ["host", "account"])
@virtual
async def test_calls_without_the_key_share_a_limit(key: Any) -> None:
    """Which is called default."""
    pipeline = Pipeline(Bulkhead(1, key=key))
    await asyncio.gather(*start(pipeline, Script(after(1)), 2), return_exceptions=True)
    assert pipeline.status()["bulkhead"] == {"default": {"limit": 1, "busy": 0, "waiting": 0, "refused": 1}}


@virtual
async def test_key_and_weight_stand_together() -> None:
    """A queue for each key, in which a call takes its cost."""
    pipeline = Pipeline(Bulkhead(2, queue=1, key="op", weight="cost"))
    script = Script(after(1, "ok"))
    ops = [Op("a", cost=2), Op("a"), Op("b"), Op("b"), Op("a")]
    outcomes = await asyncio.gather(*(pipeline.run(script, op=op) for op in ops), return_exceptions=True)
    assert script.begun == [0, 0, 0, 1]
    assert str(outcomes[4]) == "refused by the bulkhead: 2 of 2 places of 'a' are taken and 1 wait"


@virtual
async def test_idle_keys_are_forgotten_and_busy_ones_never() -> None:
    """A thousand are kept; one more, and only those remain that are in use, at twice which it looks again."""
    pipeline = Pipeline(Bulkhead(1, queue=1, key=lambda call: call.args[0]))
    busy = [asyncio.ensure_future(pipeline.run(Script(after(9, "ok")), number)) for number in (1, 2, 2)]
    await asyncio.sleep(0)
    gates = pipeline.states["bulkhead"]
    for number in range(1000):
        await pipeline.run(Script(1), 10 + number)
        assert len(gates.by_key) <= 1000
    assert set(gates.by_key) == {1, 2, 1008, 1009}
    assert await asyncio.gather(*busy) == ["ok"] * 3
    assert clock() == 18


@virtual
async def test_more_keys_than_a_thousand_are_kept_while_all_are_in_use() -> None:
    """Each of them has a call under way, so they are bounded by those; and they are looked through only rarely."""
    pipeline = Pipeline(Bulkhead(1, key=lambda call: call.args[0]))
    script = Script(after(9))
    busy = [asyncio.ensure_future(pipeline.run(script, number)) for number in range(1500)]
    await asyncio.sleep(1)
    gates = pipeline.states["bulkhead"]
    assert len(gates.by_key) == 1500
    assert gates._sweep_at == 2000
    await asyncio.gather(*busy)
    for number in range(500):
        await pipeline.run(Script(1), 2000 + number)
    assert len(gates.by_key) == 2000
    await pipeline.run(Script(1), 3000)
    assert set(gates.by_key) == {3000}
    assert gates._sweep_at == 1000


# -- many -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["fifo", "lifo"])
@virtual
async def test_ten_thousand_may_wait_and_be_cancelled_at_once(order: Any) -> None:
    """No place is lost, no timer stays, and who is left is served."""
    pipeline = Pipeline(Bulkhead(1, queue=10_001, max_wait=60, order=order))
    script = Script(after(1, "ok"))
    tasks = start(pipeline, script, 10_002)
    await asyncio.sleep(0.5)
    assert pipeline.status()["bulkhead"]["waiting"] == 10_001
    for task in tasks[1:-1]:
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pipeline.status()["bulkhead"] == {"limit": 1, "busy": 1, "waiting": 1, "refused": 0}
    assert await tasks[0] == await tasks[-1] == "ok"
    assert (clock(), script.count) == (2, 2)
    assert pipeline.status()["bulkhead"]["busy"] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bulkhead(0), lambda: Bulkhead(1.5), lambda: Bulkhead(1, queue=-1), lambda: Bulkhead(1, max_wait=-1),
        lambda: Bulkhead(1, order="random"), lambda: Bulkhead(1, key="ip"), lambda: Bulkhead(1, weight="two"),
        lambda: Bulkhead(1, key=["host"]), lambda: Bulkhead(1, weight=2),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(make: Any) -> None:
    """Limits are whole and positive."""
    with pytest.raises(ConfigError, match="Bulkhead: "):
        make()


def test_a_file_says_it_with_the_same_names(tmp_path: Path) -> None:
    """But for the functions, which no file can say."""
    file = tmp_path / "pipelines.yaml"
    file.write_text(
        "version: 1\npipelines:\n  market:\n    - bulkhead:"
        " {limit: 5, queue: 2, max_wait: 1s, order: lifo, key: host, weight: cost}\n"
    )
    assert load(file)["market"].policies == (Bulkhead(5, 2, 1.0, "lifo", "host", "cost"),)


@pytest.mark.parametrize(("field", "value"), [("order", "best"), ("key", "ip"), ("weight", "two")])
def test_a_file_that_says_it_wrongly_is_refused(tmp_path: Path, field: str, value: str) -> None:
    """With the place in the file."""
    file = tmp_path / "pipelines.yaml"
    file.write_text(f"version: 1\npipelines:\n  market:\n    - bulkhead: {{limit: 5, {field}: {value}}}\n")
    with pytest.raises(ConfigError, match=f"yaml:4.*{field}"):
        load(file)
