"""The small parts: verdicts, errors, units, names of errors, schedules, kept state."""

from __future__ import annotations

import asyncio
import pickle
import random
import socket
from typing import Any

import pytest

from resilience import BulkheadFull, ConfigError, Kind, Op, Pipeline, Refused, TimedOut, Verdict
from resilience.call import Attempt, Call, takes_call
from resilience.kit import Kit, clock_of
from resilience.matching import matcher
from resilience.retrying.schedule import schedule
from resilience.testing import Script, VirtualLoop, virtual
from resilience.units import check, duration, percent, rate
from resilience.verdict import classify

OP = Op("op")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(), Kind.FAILED),
        (socket.gaierror(), Kind.FAILED),
        (ConnectionResetError(), Kind.UNKNOWN),
        (BrokenPipeError(), Kind.UNKNOWN),
        (OSError(), Kind.UNKNOWN),
        (TimeoutError(), Kind.UNKNOWN),
        (ValueError(), Kind.REJECTED),
        (KeyError(), Kind.REJECTED),
    ],
)
def test_the_default_reading(error: Exception, kind: Kind) -> None:
    """Refused and unresolvable never reached anybody; other OS errors may have; the rest is an answer or a bug."""
    verdict = classify(error, OP)
    assert verdict.kind is kind
    assert verdict.reason


def test_errors_survive_pickling() -> None:
    """They may cross a process boundary, and keep what they say."""
    error = pickle.loads(pickle.dumps(TimedOut(2, limit="deadline", sent=True)))  # noqa: S301 (our own bytes)
    assert (error.seconds, error.limit, error.sent) == (2, "deadline", True)
    assert str(TimedOut(None)) == "timed out; nothing was sent"
    assert str(BulkheadFull("full", retry_after=2)) == "refused by the bulkhead: full; try again in 2 s"
    assert str(Refused()) == "refused by the policy: refused"


@virtual
async def test_judge_asks_the_adapter_only_about_strangers() -> None:
    """A refusal teaches nothing, our own TimedOut speaks for itself."""
    asked: list[Exception] = []

    def adapter(exc: Exception, op: Op) -> Verdict:
        asked.append(exc)
        return Verdict(Kind.FAILED, "adapter")

    kit = Kit("p", adapter, random.Random(1))
    call = Call(OP, Script())
    assert kit.judge(BulkheadFull(), call) is None
    assert kit.judge(TimedOut(1, sent=True), call) == Verdict(Kind.UNKNOWN, "timeout")
    assert kit.judge(TimedOut(1), call) == Verdict(Kind.FAILED, "timeout")
    assert asked == []
    assert kit.judge(OSError(), call) == Verdict(Kind.FAILED, "adapter")


def test_states_are_kept_by_name() -> None:
    """The second of a kind gets a number, a binding anew finds the same, what is shared is found by others."""
    shared: dict[str, Any] = {}
    loop = VirtualLoop()
    one, two = Kit("a", classify, random.Random(1), shared), Kit("b", classify, random.Random(1), shared)
    policy = object()
    for _ in range(2):
        one.link(loop, None)
        first, second = one.keep("gate", policy, dict), one.keep("gate", policy, dict)
        together = one.keep("pool", policy, dict, shared="rest")
        assert first is not second
    two.link(loop, None)
    assert two.keep("pool", policy, dict, shared="rest") is together
    assert two.keep("gate", policy, dict) is not first
    assert list(one.states) == ["gate", "gate#2", "pool:rest"]
    loop.close()


def test_the_clock_is_the_loops() -> None:
    """A virtual loop tells its own time; the standard one is read without its method."""
    loop = VirtualLoop()
    loop.advance(5)
    assert clock_of(loop)() == 5
    loop.close()
    standard = asyncio.new_event_loop()
    assert abs(clock_of(standard)() - standard.time()) < 1
    standard.close()


def test_a_call_keeps_its_history() -> None:
    """Copies share it, numbers go on counting, notes are made when first written."""
    call = Call(OP, Script(), (1,), keys={"host": "h"})
    again = call.again("retry")
    third = again.again("hedge")
    assert [(a.number, a.kind) for a in call.attempts] == [(1, "original"), (2, "retry"), (3, "hedge")]
    assert third.attempts is call.attempts
    assert (third.args, third.keys) == ((1,), {"host": "h"})
    third.attempt.notes["why"] = "x"
    assert third.attempt.notes == {"why": "x"}
    assert call.attempt.notes == {}
    assert repr(third.attempt) == "Attempt(3, 'hedge', sent=False)"
    assert repr(call) == "Call('op', attempts=3)"
    assert Attempt().noted is None


@virtual
async def test_a_marked_target_can_be_called_directly() -> None:
    """The mark changes nothing for who calls it by hand."""

    @takes_call
    async def send(call: Call, number: int) -> str:
        return call.op.name * number

    assert await send(Call(OP, send), 2) == "opop"


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), (" 3s ", 3)]
)
def test_durations(text: str, seconds: float) -> None:
    """A number and a unit."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "s", "10 s", "-1s", "1d", "1e3s", "", "10S", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    """Named, with an example of what is one."""
    with pytest.raises(ConfigError, match="for example 250ms or 10s"):
        duration(text)


def test_rates_and_shares() -> None:
    """Calls in a window, and percentages."""
    assert rate("600/5s") == (600, 5)
    assert rate("10/s") == (10, 1)
    assert rate("1 / 250ms") == (1, 0.25)
    assert percent("50%") == 0.5
    for text in ("600", "600/5", "0/s", "5/0s", "/s"):
        with pytest.raises(ConfigError, match="is no rate"):
            rate(text)
    for wrong in ("50", "101%", "-1%", "x%"):
        with pytest.raises(ConfigError, match="is no share"):
            percent(wrong)


@pytest.mark.parametrize(
    ("value", "bounds", "fits"),
    [
        (1, {"above": 0}, True),
        (0, {"above": 0}, False),
        (0, {"least": 0}, True),
        (2, {"least": 0, "most": 1}, False),
        (1.5, {"whole": True}, False),
        (True, {"least": 0}, False),
        (float("inf"), {"least": 0}, False),
        ("1", {"least": 0}, False),
        (None, {}, False),
    ],
)
def test_bounds(value: Any, bounds: dict[str, Any], fits: bool) -> None:
    """Numbers only, finite, within the bounds."""
    if fits:
        check("P", "f", value, **bounds)
    else:
        with pytest.raises(ConfigError, match="P: f is"):
            check("P", "f", value, **bounds)


def test_names_match_anywhere_among_the_bases() -> None:
    """So that a configuration file can name errors of a library that it cannot import."""

    class NetworkError(Exception): ...

    class RequestTimeout(NetworkError): ...

    matches = matcher("Retry", ("NetworkError", KeyError))
    assert matches is not None
    assert matches(RequestTimeout())
    assert matches(KeyError())
    assert not matches(ValueError())
    assert matcher("Retry", None) is None


def test_a_schedule_remembers_its_own_position_only() -> None:
    """Two calls with the same settings do not see each other's growth."""
    rng = random.Random(1)
    first, second = (schedule({"expo": {}}, "none", 100, rng) for _ in range(2))
    assert [first(None) for _ in range(3)] == [1, 2, 4]
    assert [second(None) for _ in range(2)] == [1, 2]


@virtual
async def test_virtual_time_jumps_and_a_deadlock_is_told() -> None:
    """An hour passes at once; a program in which everything waits for ever is stopped."""
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == 3600
    with pytest.raises(RuntimeError, match="deadlock in virtual time"):
        asyncio.get_running_loop()._selector.select(None)  # type: ignore[attr-defined]


@virtual
async def test_virtual_time_always_advances() -> None:
    """A timer armed again for a moment that rounding hides still comes to its end."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1 / 3)
    target, rang = loop.time() + 1e-17 + 0.1, asyncio.Event()

    def ring() -> None:
        if loop.time() < target:
            loop.call_at(target, ring)
        else:
            rang.set()

    loop.call_at(target, ring)
    await rang.wait()
    assert loop.time() >= target


@virtual
async def test_scripts_play_in_order_and_the_last_step_for_ever() -> None:
    """Values, errors, functions; with arguments recorded."""
    script = Script.of([1, ValueError("x"), lambda number: number + 1])
    assert await script(0) == 1
    with pytest.raises(ValueError, match="x"):
        await script(0)
    assert [await script(5), await script(7)] == [6, 8]
    assert script.count == 4
    assert script.calls[3] == ((7,), {})


def test_status_is_plain_data() -> None:
    """A pipeline that was never used has nothing to report."""
    assert Pipeline().status() == {}
