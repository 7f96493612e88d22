"""A thousand reloads of half-written files while a hundred calls run, and a reload between any two steps."""

from __future__ import annotations

import asyncio
import random
from asyncio.events import Handle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import AdaptiveLimit, Breaker, Bulkhead, CircuitOpen, Op, Pipeline, Pool, RateLimit, Retry, Timeout
from resilience.reload import swap
from resilience.testing import Script, VirtualLoop, after

FIRST = """\
version: 1
pipelines:
  busy:
    - retry: {attempts: 3, wait: 0}
    - breaker: {failure_rate: 50%, min_calls: 100000, key: host}
    - rate_limit: {rate: 100000/5s, key: ip}
    - bulkhead: {limit: 150, queue: 10}
    - timeout: 30s
  sick:
    - breaker: {consecutive: 2, open_for: 1h, max_open_for: 2h}
    - timeout: 15s
...
"""
SECOND = (
    FIRST.replace("attempts: 3", "attempts: 4").replace("limit: 150", "limit: 120").replace("100000/5s", "90000/5s")
).replace("timeout: 15s", "timeout: 20s")


def test_a_thousand_half_written_reloads_while_a_hundred_calls_run(tmp_path: Path) -> None:
    """No partial configuration, no lost permit, no failed call that would have succeeded; the breaker stays open."""
    path = tmp_path / "pipelines.yaml"
    whole = []
    for text in (FIRST, SECOND):
        path.write_text(text)
        whole.append({name: pipeline.policies for name, pipeline in resilience.load(path).items()})
    path.write_text(FIRST)
    live = resilience.watch(path)
    busy, sick = live["busy"], live["sick"]
    dice = random.Random(5)
    running = done = 0
    stop = False

    async def caller() -> None:
        nonlocal running, done
        while not stop:
            running += 1
            script = (
                Script(OSError("once"), after(dice.uniform(0.1, 3), "well"))
                if dice.random() < 0.05
                else Script(after(dice.uniform(0.1, 3), "well"))
            )
            assert await busy.run(script, op=Op("read", idempotent=True)) == "well"
            running -= 1
            done += 1

    async def main() -> None:
        nonlocal stop
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                await sick.run(Script(OSError("down")))
        circuit = next(iter(sick.states["breaker"]))
        until = circuit.store.until
        tasks = [asyncio.create_task(caller()) for _ in range(100)]
        await asyncio.sleep(1)
        reloaded = refused = 0
        for _ in range(1000):
            text = dice.choice((FIRST, SECOND))
            path.write_text(text if dice.random() < 0.1 else text[: dice.randrange(len(text) - 4)])
            good = path.read_text() == text
            assert bool(live.reload()) is good
            reloaded, refused = reloaded + good, refused + (not good)
            assert (live.status()["config"]["error"] is None) is good
            assert {name: pipeline.policies for name, pipeline in live.items()} in whole
            assert (live["busy"], live["sick"]) == (busy, sick)
            assert next(iter(sick.states["breaker"])) is circuit
            assert (circuit.store.until, sick.status()["breaker"]["default"]["state"]) == (until, "open")
            await asyncio.sleep(dice.choice((0, 0.01, 0.1)))
            assert busy.status()["bulkhead"]["busy"] <= running
        with pytest.raises(CircuitOpen):
            await sick.run(Script("never asked"))
        stop = True
        await asyncio.gather(*tasks)
        assert reloaded > 50
        assert refused > 500
        assert done > 300
        assert busy.status()["bulkhead"] == {"limit": busy.policies[3].limit, "busy": 0, "waiting": 0, "refused": 0}
        assert busy.status()["breaker"]["default"]["state"] == "closed"
        await live.aclose()

    VirtualLoop().run(main())


# -- between any two steps ----------------------------------------------------------------------------------------

Retries = Retry(attempts=3, on=OSError, wait=0.1, jitter="none", budget=None)


def lent(name: str) -> Pool[str]:
    return Pool(lambda: name, name=name)


BULKHEADS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "nothing": ((Retries, Bulkhead(2, queue=9)), (Retries, Bulkhead(2, queue=9))),
    "more places": ((Retries, Bulkhead(1, queue=9)), (Retries, Bulkhead(3, queue=9))),
    "fewer places": ((Retries, Bulkhead(3, queue=9)), (Retries, Bulkhead(1, queue=9))),
    "fewer than a call takes": (
        (Retries, Bulkhead(3, queue=9, weight="cost")), (Retries, Bulkhead(1, queue=9, weight="one")),
    ),
    "another key": ((Retries, Bulkhead(2, queue=9)), (Retries, Bulkhead(2, queue=9, key="op"))),
    "one more inside": ((Bulkhead(3, queue=9), Retries), (Bulkhead(3, queue=9), Retries, Bulkhead(1, queue=9))),
    "one less": ((Bulkhead(3, queue=9), Retries, Bulkhead(1, queue=9)), (Bulkhead(2, queue=9), Retries)),
    "adaptive": (
        (Retries, AdaptiveLimit(initial=1, queue=9)), (Retries, AdaptiveLimit("vegas", 3, least=2, queue=9)),
    ),
    "a breaker": (
        (Retries, Breaker(consecutive=9), Timeout(9)), (Retries, Breaker(consecutive=8, count_window=7, slow_after=30)),
    ),
    "a slower limit": ((Retries, RateLimit("4/1s", key="ip")), (Retries, RateLimit("3/1s", key="ip"))),
    "another limit": ((Retries, RateLimit("4/1s", key="ip")), (Retries, RateLimit("3/1s", key="op"))),
    "another resource": ((Retries, Bulkhead(2, queue=9), lent("a")), (Retries, Bulkhead(2, queue=9), lent("b"))),
}  # fmt: skip


def _between(monkeypatch: pytest.MonkeyPatch, hook: Callable[[], None]) -> None:
    """Call the hook before every single step that the event loop makes."""
    plain = Handle._run

    def run(handle: Handle) -> None:
        hook()
        if not handle.cancelled():  # by the hook
            plain(handle)

    monkeypatch.setattr(Handle, "_run", run)


@pytest.mark.parametrize("name", BULKHEADS)
def test_a_reload_between_any_two_steps_loses_no_permit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four calls, one of which fails twice; every one succeeds, and every permit is back, wherever the reload falls."""
    at, steps = 0, 1
    while at < steps:
        steps = _reloaded_at(at, name, monkeypatch)
        at += 1
    assert steps > 30


def _reloaded_at(at: int, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Play the scene with a reload before this step; how many there were."""
    old, new = BULKHEADS[name]
    steps = 0
    shared: dict[str, Any] = {}
    pipeline = Pipeline(*old, name="p", shared=shared)
    abandoned: list[Any] = []

    def hook() -> None:
        nonlocal steps
        if steps == at:
            candidate = Pipeline(*new, name="p", shared={})
            abandoned.extend(swap({"p": pipeline}, {"p": candidate}, shared, ())[1])
        steps += 1

    with monkeypatch.context() as patched:
        _between(patched, hook)
        outcomes = VirtualLoop().run(_four_calls(pipeline))
    assert outcomes == ["well"] * 4, at
    for state in (*pipeline.states.values(), *abandoned):
        status = state.status() if hasattr(state, "status") else {}
        for row in (status, *(value for value in status.values() if isinstance(value, dict))):
            assert (row.get("busy", 0), row.get("waiting", 0), row.get("active", 0)) == (0, 0, 0), (at, status)
        for circuit in state if name == "a breaker" and hasattr(state, "mode") else ():
            assert circuit._state.busy == 0
    return steps


async def _four_calls(pipeline: Pipeline) -> list[Any]:
    well = Script(after(1, "well"))
    flaky = Script(after(0.5, OSError("once")), OSError("twice"), after(0.5, "well"))
    heavy = Op("heavy", idempotent=True, cost=2)

    async def one(script: Script, pause: float, op: Op) -> Any:
        await asyncio.sleep(pause)
        return await pipeline.run(script, op=op)

    light = Op("light", idempotent=True)
    return await asyncio.gather(one(well, 0, light), one(flaky, 0, light), one(well, 0.2, heavy), one(well, 0.4, light))
