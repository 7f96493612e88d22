"""What do the five stages cost, beside the bare call, the floor, the peers and the stacks of single-purpose libraries?

Every arm runs in a fresh process of the same interpreter, several times, all arms taking turns, so that none inherits
another's caches or garbage and a busy machine disturbs them alike. Minimum and median are over all rounds of all its
processes. What many calls in flight cost is told in processor time, because rounds of it are long. At the end stands
one line for each figure that is wanted. ``--quick`` (for CI) proves that it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from arms import Target, find

ROUND = 200_000  # ns: a round short enough to lie between two interruptions, on a machine that is not idle


@dataclass
class Arm:
    """One row: `maker` is looked up in `benchmarks/arms`; `fails` where what is timed ends in an exception."""

    title: str
    maker: str
    fails: bool = False
    rounds: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def least(self) -> float:
        return min(self.rounds)


GROUPS: dict[str, list[Arm]] = {
    "one successful call": [
        Arm("bare call", "ours:call_itself"),
        Arm("five stages, inlined by hand in one coroutine", "inlined:five_stages"),
        Arm("pipeline with no policy", "ours:empty"),
        Arm("pipeline of five policies that only pass", "ours:five_that_pass"),
        Arm("FIVE STAGES, no observer", "ours:five_stages"),
        Arm("FIVE STAGES, every attempt recorded (tail)", "ours:five_recorded"),
        Arm("hyx", "peers:hyx"),
        Arm("hyx as async with blocks, by hand", "peers:hyx_blocks"),
        Arm("pyresilience", "peers:pyresilience"),
        Arm("redress (no limiter, no bulkhead)", "peers:redress"),
        Arm("interlock-cb (no limiter)", "peers:interlock"),
        Arm("tenacity aiobreaker timeout Semaphore span", "stacks:with_tenacity"),
        Arm("stamina aiobreaker timeout Semaphore span", "stacks:with_stamina"),
    ],
    "one call of three failed attempts, no wait": [
        Arm("RETRY", "ours:three_failures", fails=True),
        Arm("backoff", "stacks:backoff_fails", fails=True),
        Arm("tenacity", "stacks:tenacity_fails", fails=True),
        Arm("stamina", "stacks:stamina_fails", fails=True),
    ],
    "one refusal by an open breaker": [
        Arm("BREAKER, the policy alone", "ours:refusal", fails=True),
        Arm("PIPELINE of a breaker", "ours:refusal_of_a_pipeline", fails=True),
        Arm("aiobreaker", "peers:open_aiobreaker", fails=True),
    ],
}
ALL_IN_ONE = ("hyx", "pyresilience", "redress", "interlock")


# -- in the process of one arm --------------------------------------------------------------------------------


async def timed(target: Target, fails: bool, seconds: float) -> list[float]:
    """ns per call of one round after another, for so many seconds."""

    async def round_of(calls: int) -> float:
        begun = time.perf_counter_ns()
        if fails:
            for _ in range(calls):
                try:  # noqa: SIM105 (suppress() would be timed too)
                    await target()
                except Exception:  # noqa: S110 (what a caller does: catching is part of the price)
                    pass
        else:
            for _ in range(calls):
                await target()
        return (time.perf_counter_ns() - begun) / calls

    await round_of(20)
    calls = max(5, min(200, int(ROUND / await round_of(20))))
    rounds = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(rounds) < 20:
        rounds.append(await round_of(calls))
    return rounds


async def one_arm(maker: str, fails: bool, seconds: float) -> list[float]:
    return await timed(await find(maker)(), fails, seconds)


async def flatness(quick: bool) -> dict[str, Any]:
    from arms import flat

    calls, rounds = (20_000, 2) if quick else (100_000, 7)
    counts = (10, 100, 1_000, 10_000)
    return {
        "overlapping": await flat.overlapping(counts, calls, rounds),
        "beside": await flat.beside_parked(counts, calls // 5, rounds),
        "bytes": await flat.bytes_in_flight(),
        "keys": await flat.breaker_keys(),
        "tasks": await flat.tasks_created(),
    }


def child(options: argparse.Namespace) -> None:
    """Prints one JSON document: the figures, or what could not be imported."""
    try:
        if options.arm == "flat":
            found: Any = asyncio.run(flatness(options.quick))
        else:
            found = asyncio.run(one_arm(options.arm, options.fails, options.seconds))
    except ImportError as missing:
        found = {"missing": str(missing)}
    print(json.dumps(found))


# -- in the parent ---------------------------------------------------------------------------------------------


def fresh(*arguments: str) -> Any:
    done = subprocess.run(  # noqa: S603 (ourselves)
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measure(turns: int, seconds: float) -> None:
    for _ in range(turns):
        for arm in (arm for group in GROUPS.values() for arm in group):
            if arm.missing:
                continue
            found = fresh("--arm", arm.maker, "--seconds", str(seconds), *(["--fails"] if arm.fails else []))
            if isinstance(found, dict):
                arm.missing = found["missing"]
                print(f"NOT MEASURED: {arm.title}: {arm.missing}; install the extra `peers`", flush=True)
            else:
                arm.rounds += found


def table() -> None:
    bare = named("ours:call_itself").least
    for title, arms in GROUPS.items():
        print(f"{title:52}{'min us':>9}{'median':>9}{'x bare':>9}")
        for arm in arms:
            if arm.missing:
                print(f"  {arm.title:50}{'not measured':>18}")
                continue
            print(f"  {arm.title:50}{arm.least / 1e3:9.3f}{median(arm.rounds) / 1e3:9.3f}{arm.least / bare:9.1f}")


def named(maker: str) -> Arm:
    return next(arm for group in GROUPS.values() for arm in group if arm.maker == maker)


def remainder() -> None:
    """Where the time of the five stages goes."""
    bare, floor, empty, passing, five = (
        named(maker).least / 1e3
        for maker in (
            "ours:call_itself", "inlined:five_stages", "ours:empty", "ours:five_that_pass", "ours:five_stages",
        )
    )  # fmt: skip
    logic = floor - bare
    rest = five - passing - logic
    print(
        f"what the remainder is: five stages {five:.2f} us = bare call {bare:.2f} + the logic, inlined {logic:.2f}"
        f" + the records of a call and an attempt, the decorator and the leaf {empty - bare:.2f}"
        f" + five coroutines {passing - empty:.2f} + kept states, settings and cases that the inlined one lacks"
        f" {rest:.2f}"
    )


def verdict(text: str, value: float, unit: str, limit: float, at_least: bool = False) -> None:
    good = value >= limit if at_least else value <= limit
    word = "at least" if at_least else "at most"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
    print(f"{text} {shown}{unit} (wanted: {word} {limit:,g}{unit}){'' if good else '   MISSED'}")


def wanted() -> None:
    five, recorded = (named(f"ours:{name}").least / 1e3 for name in ("five_stages", "five_recorded"))
    verdict("five stages", five, " us", 2.5)
    verdict(f"every attempt recorded {recorded:.2f} us,", recorded / five, " x five stages", 1.5)
    measured = [arm for arm in (named(f"peers:{name}") for name in ALL_IN_ONE) if not arm.missing]
    if measured:
        peer = min(measured, key=lambda arm: arm.least)
        theirs = peer.least / 1e3
        verdict(f"fastest all-in-one peer: {peer.title} {theirs:.1f} us,", theirs / five, " x ours", 6, at_least=True)
    blocks = named("peers:hyx_blocks")
    if not blocks.missing:
        theirs = blocks.least / 1e3
        print(f"  (hyx in its fastest form, blocks nested by hand around each call: {theirs / five:.1f} x ours)")
    for name in ("tenacity", "stamina"):
        arm = named(f"stacks:with_{name}")
        if not arm.missing:
            stack = arm.least / 1e3
            text = f"the {name} stack {stack:.1f} us ({stack / recorded:.1f} x ours with every attempt recorded),"
            verdict(text, stack / five, " x ours", 10, at_least=True)
    verdict("three failed attempts", named("ours:three_failures").least / 1e3, " us", 10)
    verdict("refusal by an open breaker, the policy alone", named("ours:refusal").least / 1e3, " us", 1)


def flat_table(found: dict[str, Any]) -> None:
    print(f"{'calls in flight':52}" + "".join(f"{int(n):>9,}" for n in found["overlapping"]))

    def row(title: str, values: list[float]) -> list[float]:
        print(f"  {title:50}" + "".join(f"{value / 1e3:9.3f}" for value in values))
        return values

    ours = row("ours, each call suspends once: min us", [min(v["ours"]) for v in found["overlapping"].values()])
    bare = row("bare coroutine, the same", [min(v["bare"]) for v in found["overlapping"].values()])
    added = row("what the five stages add", [a - b for a, b in zip(ours, bare, strict=True)])
    beside = row("ours beside them, without suspending", [min(v) for v in found["beside"].values()])
    print(f"  {'bytes per call in flight':50}{found['bytes']['ours']:9.0f}   (bare task {found['bytes']['bare']:.0f})")
    keys = found["keys"]
    print(f"  {'breaker circuits kept of 100,000 keys':50}{keys['kept']:9,}   ({keys['ns'] / 1e3:.1f} us a new key)")
    verdict("10,000 in flight, each suspending, against 10:", added[-1] / added[0], " x", 1.25)
    verdict("10,000 in flight, the policies alone, against 10:", beside[-1] / beside[0], " x", 1.25)
    verdict("circuits kept", keys["kept"], "", 1000)
    verdict("tasks created by 300 calls that are not hedged", found["tasks"], "", 0)
    assert found["tasks"] == 0, "the non-hedged path created tasks"
    assert keys["kept"] <= 1000, "the bound on breaker keys does not hold"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--fails", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        child(options)
        return
    turns, seconds = (1, 0.03) if options.quick else (5, 0.3)
    print(f"{platform.python_implementation()} {platform.python_version()}, {turns} fresh processes an arm", flush=True)
    measure(turns, seconds)
    found = fresh("--arm", "flat", *(["--quick"] if options.quick else []))
    table()
    remainder()
    wanted()
    flat_table(found)


if __name__ == "__main__":
    main()
