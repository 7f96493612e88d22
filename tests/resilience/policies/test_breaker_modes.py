"""Breaker: its modes, manual control, and the circuits of many keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Breaker, CircuitOpen, ConfigError, Kind, Op, Pipeline, Retry, Timeout, Verdict, load
from resilience.call import Call
from resilience.circuit import Circuits
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
MODES = ["normal", "forced_open", "disabled", "shadow"]


class Down(Exception):
    """FAILED; whatever else is raised is REJECTED."""


def meaning(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind.FAILED if isinstance(exc, Down) else Kind.REJECTED)


def guarded(*policies: Any, observers: tuple[Any, ...] = ()) -> Pipeline:
    return Pipeline(*policies, classify=meaning, observers=observers, seed=1)


async def play(pipeline: Pipeline, *steps: Any, **keys: str) -> list[Any]:
    """Call once for each step, one after the other; what came of it."""
    return [
        (await asyncio.gather(pipeline.send(Call(READ, Script(step), keys=keys)), return_exceptions=True))[0]
        for step in steps
    ]


def circuits(pipeline: Pipeline) -> Circuits:
    found: Circuits = pipeline.states["breaker"]
    return found


def row(pipeline: Pipeline, key: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = pipeline.status()["breaker"][key]
    return found


# -- modes --------------------------------------------------------------------------------------------------------


@virtual
async def test_forced_open_refuses_everybody_and_learns_nothing() -> None:
    """However well the target is; nobody can say for how long."""
    pipeline = guarded(Breaker(mode="forced_open"))
    target = Script("never reached")
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(target)
    assert target.count == 0
    assert (caught.value.state, caught.value.retry_after) == ("forced_open", None)
    assert str(caught.value) == "refused by the breaker: the circuit 'default' is forced open by its mode"
    assert row(pipeline) == {
        "state": "closed", "since": 0, "failure_rate": 0.0, "calls": 0, "opens": 0, "mode": "forced_open"
    }  # fmt: skip


@virtual
async def test_disabled_admits_everybody_and_counts_nothing() -> None:
    """However sick the target is."""
    pipeline = guarded(Breaker(consecutive=1, mode="disabled"))
    outcomes = await play(pipeline, Down(), Down(), "ok", KeyError())
    assert [type(outcome) for outcome in outcomes] == [Down, Down, str, KeyError]
    (task,) = [asyncio.ensure_future(pipeline.run(Script(never)))]
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (row(pipeline)["state"], row(pipeline)["calls"], row(pipeline)["mode"]) == ("closed", 0, "disabled")
    assert circuits(pipeline)["default"].idle


@virtual
async def test_shadow_admits_everybody_and_counts_whom_it_would_have_refused() -> None:
    """The circuit opens, probes and closes as it would; the calls that it would have refused teach it nothing."""
    recorder = Recorder()
    pipeline = guarded(Breaker(consecutive=2, mode="shadow"), observers=(recorder,))
    assert (row(pipeline) if "breaker" in pipeline.states else None) is None
    outcomes = await play(pipeline, Down(), Down(), "ok", Down(), KeyError())
    assert [type(outcome) for outcome in outcomes] == [Down, Down, str, Down, KeyError]
    assert (row(pipeline)["state"], row(pipeline)["would_refuse"], row(pipeline)["mode"]) == ("open", 3, "shadow")
    await asyncio.sleep(6)
    slow = [asyncio.ensure_future(pipeline.run(Script(after(1, step)))) for step in ("probe", "x", Down())]
    await asyncio.gather(*slow, return_exceptions=True)
    assert (row(pipeline)["state"], row(pipeline)["would_refuse"], row(pipeline)["calls"]) == ("closed", 5, 0)
    assert [change.new for change in recorder.changes] == ["open", "half-open", "closed"]
    assert [tuple(event.attempt.notes.items()) for event in recorder.attempts[1:3]] == [
        (("breaker.state", "closed"), ("breaker.generation", 1)),
        (("breaker.would_refuse", True), ("breaker.state", "open"), ("breaker.generation", 2)),
    ]


@virtual
async def test_a_shadow_changes_nothing_for_callers_whoever_counts() -> None:
    """Over slow calls, a ramp, and probes that are out: nobody is refused, all is counted."""
    pipeline = guarded(Breaker(failure_rate=None, slow_after=1, min_calls=2, ramp=10, mode="shadow"))
    tasks = [asyncio.ensure_future(pipeline.run(Script(never))) for _ in range(2)]
    await asyncio.sleep(1)
    assert await play(pipeline, "a", "b") == ["a", "b"]
    assert (row(pipeline)["state"], row(pipeline)["would_refuse"]) == ("open", 2)
    await asyncio.sleep(6)
    assert await play(pipeline, "probe", *["ok"] * 10) == ["probe", *["ok"] * 10]
    assert (row(pipeline)["state"], row(pipeline)["would_refuse"], row(pipeline)["calls"]) == ("closed", 10, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_the_mode_is_switched_while_the_pipeline_runs() -> None:
    """For calls that come; what was counted stays, those under way are counted where they began."""
    recorder = Recorder()
    pipeline = guarded(Breaker(consecutive=2, key="host"), observers=(recorder,))
    await play(pipeline, Down(), host="a")
    begun = asyncio.ensure_future(pipeline.send(Call(READ, Script(after(1, Down())), keys={"host": "a"})))
    await asyncio.sleep(0)
    known = circuits(pipeline)
    known.mode = "forced_open"
    for host in ("a", "new"):
        assert [outcome.state for outcome in await play(pipeline, "x", host=host)] == ["forced_open"]
    known.mode = "disabled"
    assert [type(outcome) for outcome in await play(pipeline, Down(), Down(), Down(), host="b")] == [Down] * 3
    known.mode = "disabled"
    await asyncio.gather(begun, return_exceptions=True)
    assert (row(pipeline, "a")["state"], row(pipeline, "b")["state"]) == ("open", "closed")
    known.mode = "normal"
    assert [type(outcome) for outcome in await play(pipeline, "x", host="a")] == [CircuitOpen]
    assert "mode" not in row(pipeline, "a")
    assert [repr(change) for change in recorder.changes] == [
        "StateChanged(breaker.mode *: normal -> forced_open, by hand)",
        "StateChanged(breaker.mode *: forced_open -> disabled, by hand)",
        "StateChanged(breaker a: closed -> open, 2 failures in a row, the last with Down)",
        "StateChanged(breaker.mode *: disabled -> normal, by hand)",
    ]
    assert [change.at for change in recorder.changes] == [0, 0, 1, 1]


@virtual
async def test_the_mode_of_a_pipeline_that_nobody_observes_is_switched_as_well() -> None:
    """The same, where a calm circuit is not even asked."""
    pipeline = guarded(Breaker(consecutive=1))
    assert await play(pipeline, "ok") == ["ok"]
    circuits(pipeline).mode = "forced_open"
    assert circuits(pipeline).mode == "forced_open"
    assert [type(outcome) for outcome in await play(pipeline, "x")] == [CircuitOpen]
    circuits(pipeline).mode = "disabled"
    assert [type(outcome) for outcome in await play(pipeline, Down(), "ok")] == [Down, str]
    circuits(pipeline).mode = "shadow"
    assert [type(outcome) for outcome in await play(pipeline, "ok", Down(), Down())] == [str, Down, Down]
    assert (row(pipeline)["calls"], row(pipeline)["state"], row(pipeline)["would_refuse"]) == (3, "open", 1)
    circuits(pipeline).mode = "normal"
    assert [type(outcome) for outcome in await play(pipeline, "x")] == [CircuitOpen]
    assert row(pipeline)["would_refuse"] == 1  # and "mode" is gone
    assert "mode" not in row(pipeline)


@virtual
async def test_an_unknown_mode_is_named_and_changes_nothing() -> None:
    """By whoever sets it."""
    pipeline = guarded(Breaker())
    await play(pipeline, "ok")
    with pytest.raises(ConfigError, match="Breaker: mode is 'off', must be one of normal, forced_open, disabled, shad"):
        circuits(pipeline).mode = "off"  # type: ignore[assignment]
    assert circuits(pipeline).mode == "normal"


@virtual
async def test_disabled_and_observed_says_so() -> None:
    """In the notes of the attempt, where the state would stand."""
    recorder = Recorder()
    pipeline = guarded(Breaker(mode="disabled"), observers=(recorder,))
    await play(pipeline, "ok")
    assert recorder.attempts[0].attempt.notes == {
        "breaker.state": "disabled", "breaker.generation": 1, "breaker.would_refuse": False
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@virtual
async def test_every_mode_in_a_composition(mode: Any) -> None:
    """Between a retry and a timeout: the attempts that reach the target are those of the mode."""
    pipeline = guarded(Retry(attempts=4, wait=0), Breaker(consecutive=2, mode=mode), Timeout(1))
    target = Script(Down())
    (outcome,) = await asyncio.gather(pipeline.run(target, op=READ), return_exceptions=True)
    assert isinstance(outcome, CircuitOpen if mode in ("normal", "forced_open") else Down)
    assert target.count == {"normal": 2, "forced_open": 0, "disabled": 4, "shadow": 4}[mode]


def test_all_fields_come_from_a_file(tmp_path: Any) -> None:
    """With their units, by the names that they have in code."""
    path = tmp_path / "breaker.yaml"
    path.write_text(
        "version: 1\n"
        "pipelines:\n"
        "  one:\n"
        "    - breaker: {failure_rate: null, window: null, count_window: 50, slow_after: 800ms, slow_rate: 60%,\n"
        "                max_open_for: 2m, probes: 5, probe_success: 60%, probe_lease: 20s, ramp: 30s, mode: shadow,\n"
        "                forget_after: 1h}\n"
    )
    (policy,) = load(path)["one"].policies
    assert policy == Breaker(
        failure_rate=None, window=None, count_window=50, slow_after=0.8, slow_rate=0.6, max_open_for=120.0, probes=5,
        probe_success=0.6, probe_lease=20.0, ramp=30.0, mode="shadow", forget_after=3600.0,
    )  # fmt: skip
    path.write_text("version: 1\npipelines: {one: [breaker: {mode: sometimes}]}\n")
    with pytest.raises(ConfigError, match="mode"):
        load(path)


# -- manual control -----------------------------------------------------------------------------------------------


@virtual
async def test_a_circuit_is_opened_half_opened_and_closed_by_hand() -> None:
    """At any time, in any state; the calls that are under way then move nothing; and it goes on by itself."""
    recorder = Recorder()
    pipeline = guarded(Breaker(consecutive=1), observers=(recorder,))
    late = [asyncio.ensure_future(pipeline.run(Script(after(1, step)))) for step in ("ok", Down())]
    await asyncio.sleep(0)
    circuit = circuits(pipeline)["default"]
    circuit.open("maintenance")
    assert [type(outcome) for outcome in await play(pipeline, "x")] == [CircuitOpen]
    await asyncio.gather(*late, return_exceptions=True)
    assert row(pipeline)["state"] == "open"
    circuit.half_open()
    assert await play(pipeline, "probe") == ["probe"]
    assert row(pipeline)["state"] == "closed"
    circuit.half_open()
    circuit.close()
    circuit.open()
    await asyncio.sleep(6)
    await play(pipeline, "probe")
    assert [f"{change.new} {change.cause}" for change in recorder.changes] == [
        "open maintenance",
        "half-open by hand",
        "closed its probes succeeded",
        "half-open by hand",
        "closed by hand",
        "open by hand",
        "half-open the open time is over",
        "closed its probes succeeded",
    ]


@pytest.mark.parametrize("more", [{}, {"count_window": 5}, {"slow_after": 1.0}])
@virtual
async def test_a_success_that_comes_after_a_change_by_hand_counts_nowhere(more: dict[str, Any]) -> None:
    """Closed again in the meantime, it is another generation."""
    pipeline = guarded(Breaker(**more))
    late = asyncio.ensure_future(pipeline.run(Script(after(0.5, "ok"))))
    await asyncio.sleep(0)
    circuit = circuits(pipeline)["default"]
    old = circuit._state
    circuit.open()
    circuit.close()
    assert await late == "ok"
    assert (row(pipeline)["calls"], old.busy, circuit._state.busy) == (0, 0, 0)


# -- many keys ----------------------------------------------------------------------------------------------------


@virtual
async def test_a_hundred_thousand_keys_stay_within_the_bound() -> None:
    """At any time; and the circuit that is open is still known at the end."""
    pipeline = guarded(Breaker(consecutive=1, key=lambda call: call.args[0]))
    target = Script("ok")
    await asyncio.gather(pipeline.run(Script(Down()), "sick"), return_exceptions=True)
    known, most = circuits(pipeline), 0
    for number in range(100_000):
        if number % 20:
            known[f"key {number}"]  # what the pipeline asks for, at a fraction of its price
        else:
            await pipeline.run(target, f"key {number}")
        most = max(most, len(known))
    assert (most, len(known)) == (1000, 1000)
    assert "sick" in known
    assert "key 99999" in known


@virtual
async def test_circuits_that_nobody_uses_are_forgotten() -> None:
    """When a new key comes, or somebody asks how they stand: closed and sick ones, but none that a call is using."""
    pipeline = guarded(Breaker(consecutive=1, key="host", forget_after=100))
    await play(pipeline, "ok", host="old")
    await play(pipeline, Down(), host="sick")
    busy = asyncio.ensure_future(pipeline.send(Call(READ, Script(never), keys={"host": "busy"})))
    await asyncio.sleep(50)
    await play(pipeline, "ok", host="young")
    await asyncio.sleep(49)
    assert set(pipeline.status()["breaker"]) == {"old", "sick", "busy", "young"}
    await asyncio.sleep(7)  # a bucket is 3 s, and an open time at most 6
    assert set(circuits(pipeline)._closed) == {"old", "busy", "young"}
    await play(pipeline, "ok", host="new")
    assert {circuit.key for circuit in circuits(pipeline)} == {"busy", "young", "new"}
    await asyncio.sleep(1000)
    assert set(pipeline.status()["breaker"]) == {"busy"}
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    assert pipeline.status()["breaker"] == {}
    assert await play(pipeline, "ok", host="old") == ["ok"]
    assert row(pipeline, "old")["calls"] == 1


@virtual
async def test_a_circuit_that_is_used_is_kept_however_old_it_is() -> None:
    """By calls that count, over either window, and by those that only want to probe."""
    for more in ({}, {"window": None, "count_window": 9}):
        pipeline = guarded(Breaker(key="host", forget_after=100, **more))
        for _ in range(10):
            await play(pipeline, "ok", host="a")
            await asyncio.sleep(90)
        assert set(pipeline.status()["breaker"]) == {"a"}
        circuits(pipeline)["a"].half_open()
        probe = asyncio.ensure_future(pipeline.send(Call(READ, Script(after(50, KeyError())), keys={"host": "a"})))
        await asyncio.sleep(90)
        await asyncio.gather(probe, return_exceptions=True)
        assert set(pipeline.status()["breaker"]) == {"a"}


@virtual
async def test_a_half_open_circuit_whose_probes_teach_nothing_is_not_forgotten() -> None:
    """It would be closed if it were: it is asked for, and that is use."""

    class Throttled(Exception):
        pass

    def throttled(exc: Exception, op: Op) -> Verdict:
        return Verdict(Kind.THROTTLED)

    pipeline = Pipeline(Breaker(key="host", forget_after=100), classify=throttled)
    await play(pipeline, "ok", host="a")
    circuits(pipeline)["a"].half_open()
    for _ in range(10):
        await play(pipeline, Throttled(), host="a")
        await asyncio.sleep(90)
        assert row(pipeline, "a")["state"] == "half-open"


@virtual
async def test_the_one_circuit_of_a_breaker_without_a_key_is_never_forgotten() -> None:
    """Its pipeline is linked to it: it must stay the one that status and manual control reach."""
    pipeline = guarded(Breaker(consecutive=1, forget_after=1))
    await play(pipeline, "ok")
    await asyncio.sleep(1e6)
    assert set(pipeline.status()["breaker"]) == {"default"}
    circuits(pipeline)["default"].open()
    assert [type(outcome) for outcome in await play(pipeline, "x")] == [CircuitOpen]


# -- other loops --------------------------------------------------------------------------------------------------


def test_a_window_goes_on_in_a_loop_whose_clock_is_behind() -> None:
    """Its buckets turn there, and do not wait for the old clock's time to come."""
    pipeline = guarded(Breaker(min_calls=1000))
    ahead = VirtualLoop()
    ahead.advance(1e6)
    ahead.run(play(pipeline, *["ok"] * 5))

    async def main() -> None:
        await play(pipeline, *["ok"] * 3)
        assert row(pipeline)["calls"] == 3
        await asyncio.sleep(30)
        assert row(pipeline)["calls"] == 0
        await play(pipeline, "ok")
        assert row(pipeline)["calls"] == 1

    VirtualLoop().run(main())


def test_a_probe_that_was_left_in_another_loop_takes_no_place() -> None:
    """That loop is gone, and its clock was ahead: no lease would ever be over."""
    pipeline = guarded(Breaker())
    left = []

    async def leave() -> None:
        await play(pipeline, "ok")
        circuits(pipeline)["default"].half_open()
        left.append(pipeline._handler(Call(READ, Script(never))))
        left[0].send(None)  # type: ignore[attr-defined]  # under way, in no task

    ahead = VirtualLoop()
    ahead.advance(1e6)
    ahead.run(leave())
    old = circuits(pipeline)["default"]._state
    assert old.busy == 1
    assert VirtualLoop().run(play(pipeline, "probe")) == ["probe"]
    assert row(pipeline)["state"] == "closed"
    left[0].close()  # type: ignore[attr-defined]
    assert old.busy == 0


def test_slow_calls_and_a_ramp_of_another_loop_are_forgotten() -> None:
    """Nobody knows any more how long they run, nor when it ends."""
    pipeline = guarded(Breaker(failure_rate=None, slow_after=1, min_calls=1, ramp=10))
    left = []

    async def leave() -> None:
        await play(pipeline, "ok")
        circuits(pipeline)["default"].half_open()
        await play(pipeline, "probe")
        left.append(pipeline._handler(Call(READ, Script(never))))
        left[0].send(None)  # type: ignore[attr-defined]
        assert (await play(pipeline, "x"))[0].state == "ramping"

    VirtualLoop().run(leave())
    ahead = VirtualLoop()
    ahead.advance(5)
    assert ahead.run(play(pipeline, *["ok"] * 10)) == ["ok"] * 10
    assert row(pipeline)["slow_under_way"] == 0
    left[0].close()  # type: ignore[attr-defined]
    assert circuits(pipeline)["default"].idle
