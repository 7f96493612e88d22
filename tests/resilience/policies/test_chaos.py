"""Chaos: what is injected, how often, into what, and how it is switched on and off."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any, get_args

import pytest

from resilience import (
    Breaker,
    Call,
    Chaos,
    ConfigError,
    Fallback,
    Kind,
    Op,
    Pipeline,
    Pool,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
)
from resilience.policies.chaos import Fault, Name
from resilience.testing import Recorder, Script, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")
LOG = "resilience"


class Odd(Exception):
    """An error of the user's own."""


class Speaks(OSError):
    """Says itself that it was sent."""

    sent = True


class Closed(OSError):
    """Does not let itself be marked."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


async def ask(pipeline: Pipeline, script: Any, *args: Any, op: Op = READ) -> Any:
    """What the call answers, or the error that it raises."""
    try:
        return await pipeline.run(script, *args, op=op)
    except Exception as error:
        return error


def always(**fields: Any) -> Chaos:
    return Chaos(1.0, enabled=True, **fields)


# -- what is injected -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", get_args(Name))
@virtual
async def test_a_fault_by_name_is_the_error_of_that_name(name: str) -> None:
    """As the network would raise it, new each time, and the function is not called."""
    pipeline = Pipeline(always(fault=Fault(name)))  # type: ignore[arg-type]
    script = Script("answer")
    one, two = await ask(pipeline, script), await ask(pipeline, script)
    assert type(one).__name__ == type(two).__name__ == name
    assert one is not two
    assert "injected by chaos" in str(one)
    assert script.count == 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("BrokenPipeError", errno.EPIPE),
        ("ConnectionAbortedError", errno.ECONNABORTED),
        ("ConnectionRefusedError", errno.ECONNREFUSED),
        ("ConnectionResetError", errno.ECONNRESET),
        ("OSError", errno.EHOSTUNREACH),
        ("TimeoutError", None),
        ("gaierror", socket.EAI_NONAME),
    ],
)
@virtual
async def test_a_fault_of_the_network_has_its_number(name: Name, number: int | None) -> None:
    """Code that looks at errno finds it."""
    assert (await ask(Pipeline(always(fault=Fault(name))), Script())).errno == number


@pytest.mark.parametrize("fault", [Odd, lambda: Odd("made")])
@virtual
async def test_a_fault_may_be_a_class_or_a_function(fault: Any) -> None:
    """In Python."""
    assert type(await ask(Pipeline(always(fault=fault)), Script())) is Odd


@virtual
async def test_latency_comes_before_the_call() -> None:
    """In seconds."""
    script = Script("answer")
    for latency in (2.5, 0.25):
        assert await ask(Pipeline(always(latency=latency)), script) == "answer"
    assert script.begun == [2.5, 2.75]


@pytest.mark.parametrize("result", ["wrong", None])
@virtual
async def test_a_result_stands_in_for_the_call(result: Any) -> None:
    """None is one too."""
    script = Script("answer")
    assert await ask(Pipeline(always(result=result)), script) is result
    assert script.count == 0


@virtual
async def test_a_behaviour_is_run_before_the_call() -> None:
    """It is given the call, and may raise."""
    seen: list[Any] = []

    async def behave(call: Call) -> None:
        await asyncio.sleep(1)
        seen.append((call.op, call.args, script.count))
        if len(seen) > 1:
            raise Odd

    script = Script("answer")
    pipeline = Pipeline(always(behaviour=behave))
    assert await ask(pipeline, script, "BTC") == "answer"
    assert seen == [(READ, ("BTC",), 0)]
    assert type(await ask(pipeline, script)) is Odd
    assert script.count == 1


@virtual
async def test_several_come_in_order() -> None:
    """The behaviour, the latency, then the outcome; the note says which."""
    times: list[float] = []

    async def behave(call: Call) -> None:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)

    recorder = Recorder()
    pipeline = Pipeline(always(fault=Odd, latency=2, behaviour=behave), observers=(recorder,))
    assert type(await ask(pipeline, Script())) is Odd
    assert times == [0]
    assert asyncio.get_running_loop().time() == 3
    assert recorder.attempts[-1].attempt.notes == {"chaos": "behaviour + latency + fault"}
    pipeline = Pipeline(always(result=1, latency=2), observers=(recorder,))
    await ask(pipeline, Script())
    assert recorder.attempts[-1].attempt.notes == {"chaos": "latency + result"}


# -- before and after the call --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [*get_args(Name)])
@virtual
async def test_before_the_call_nothing_was_sent_and_nothing_is_unknown(error: Name) -> None:
    """Whatever the class of the error says elsewhere: a write may be tried again."""
    recorder = Recorder()
    chaos = always(fault=Fault(error))
    pipeline = Pipeline(Retry(attempts=2, wait=0), chaos, observers=(recorder,), classify=lambda exc, op: default(exc))
    await ask(pipeline, Script(), op=WRITE)
    assert [(ended.attempt.sent, ended.verdict.kind) for ended in recorder.attempts] == [(False, Kind.FAILED)] * 2


def default(exc: Exception) -> Verdict:
    return Verdict(Kind.UNKNOWN if isinstance(exc, (OSError, TimeoutError)) else Kind.REJECTED, "why", 3.0, "ip")


@virtual
async def test_only_the_kind_of_the_verdict_changes() -> None:
    """What else the adapter said stays; and what is not UNKNOWN stays as it is."""
    recorder = Recorder()
    for fault in (Fault("OSError"), Odd):
        pipeline = Pipeline(always(fault=fault), observers=(recorder,), classify=lambda exc, op: default(exc))
        await ask(pipeline, Script())
    assert [ended.verdict for ended in recorder.attempts] == [
        Verdict(Kind.FAILED, "why", 3.0, "ip"),
        Verdict(Kind.REJECTED, "why", 3.0, "ip"),
    ]


@virtual
async def test_an_error_that_speaks_for_itself_is_believed() -> None:
    """A function that makes an error with `sent` set decides; one that cannot be marked is raised as it is."""
    recorder = Recorder()
    for fault in (Speaks, Closed):
        pipeline = Pipeline(always(fault=fault), observers=(recorder,))
        assert type(await ask(pipeline, Script())) is fault
    assert [ended.verdict.kind for ended in recorder.attempts] == [Kind.UNKNOWN] * 2


@virtual
async def test_after_the_call_it_was_sent_and_is_unknown() -> None:
    """The order stands in the book, the caller does not know, and no retry sends it again."""
    recorder = Recorder()
    chaos = always(fault=Fault("ConnectionResetError"), after=True)
    pipeline = Pipeline(Retry(attempts=3, wait=0), chaos, observers=(recorder,))
    book = Script("placed")
    assert type(await ask(pipeline, book, op=WRITE)) is ConnectionResetError
    assert book.count == 1
    (ended,) = recorder.attempts
    assert (ended.attempt.sent, ended.verdict.kind) == (True, Kind.UNKNOWN)
    assert ended.attempt.notes == {"chaos": "fault, after the call"}


@virtual
async def test_after_the_call_everything_comes_after_it() -> None:
    """The latency delays the answer, a result replaces it, and with neither outcome the answer is the call's own."""
    script = Script("answer")
    assert await ask(Pipeline(always(latency=2, result="wrong", after=True)), script) == "wrong"
    assert script.begun == [0]
    assert asyncio.get_running_loop().time() == 2
    assert await ask(Pipeline(always(latency=2, after=True)), script) == "answer"
    assert script.begun == [0, 2]
    assert asyncio.get_running_loop().time() == 4


@virtual
async def test_what_the_call_raises_itself_is_left_as_it_is() -> None:
    """It needed no help."""
    own = KeyError("own")
    assert await ask(Pipeline(always(fault=Odd, after=True)), Script(own)) is own


@virtual
async def test_a_timeout_above_cuts_the_latency_short() -> None:
    """Before the call nothing was sent; after it the outcome is unknown."""
    for late, sent in ((False, False), (True, True)):
        pipeline = Pipeline(Timeout(1), always(latency=5, after=late))
        error = await ask(pipeline, Script("answer"), op=WRITE)
        assert isinstance(error, TimedOut)
        assert error.sent is sent


# -- how often, and into what ---------------------------------------------------------------------------------


@virtual
async def test_it_strikes_the_share_that_the_rate_says() -> None:
    """The dice are the pipeline's, so a seed fixes which calls."""

    async def struck(seed: int) -> list[bool]:
        pipeline = Pipeline(Chaos(0.25, enabled=True, fault=Odd), seed=seed)
        calls = [isinstance(await ask(pipeline, Script("answer")), Odd) for _ in range(1000)]
        assert pipeline.status()["chaos"] == {"enabled": True, "rate": 0.25, "struck": sum(calls)}
        return calls

    first = await struck(1)
    assert 200 < sum(first) < 300
    assert await struck(1) == first
    assert await struck(2) != first


@virtual
async def test_it_strikes_only_the_operations_that_are_named() -> None:
    """The others do not even throw dice."""
    pipeline = Pipeline(always(fault=Odd, ops=["write", "cancel"]), seed=1)
    script = Script("answer")
    assert await ask(pipeline, script, op=READ) == "answer"
    assert type(await ask(pipeline, script, op=WRITE)) is Odd
    assert type(await ask(pipeline, script, op=Op("cancel"))) is Odd
    assert pipeline.states["chaos"].struck == 2


@virtual
async def test_a_rate_of_nothing_strikes_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Though it is enabled; and it is not said to be on."""
    pipeline = Pipeline(Chaos(0.0, enabled=True, fault=Odd))
    assert await ask(pipeline, Script("answer")) == "answer"
    assert caplog.records == []
    assert not pipeline.states["chaos"].on


# -- on and off -----------------------------------------------------------------------------------------------


@virtual
async def test_it_is_off_unless_it_is_enabled(caplog: pytest.LogCaptureFixture) -> None:
    """And says nothing."""
    recorder = Recorder()
    pipeline = Pipeline(Chaos(1.0, fault=Odd), observers=(recorder,))
    assert await ask(pipeline, Script("answer")) == "answer"
    assert pipeline.status()["chaos"] == {"enabled": False, "rate": 1.0, "struck": 0}
    assert recorder.changes == []
    assert recorder.attempts[-1].attempt.notes == {}
    assert caplog.records == []


@virtual
async def test_it_says_aloud_that_it_is_on(caplog: pytest.LogCaptureFixture) -> None:
    """One line, a warning, when the pipeline first serves; and an event."""
    recorder = Recorder()
    pipeline = Pipeline(Chaos(0.125, enabled=True, fault=Odd, latency=1), name="trade", observers=(recorder,), seed=3)
    for _ in range(3):
        await ask(pipeline, Script("answer"))
    pipeline.observe(Recorder())
    await ask(pipeline, Script("answer"))
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, LOG)
    assert record.getMessage() == "CHAOS IS ON in pipeline 'trade': 12.5% of the calls get latency + fault"
    (change,) = recorder.changes
    assert (change.kind, change.key, change.old, change.new) == ("chaos", "trade", "off", "on")
    assert (change.cause, change.at) == ("latency + fault", 0)


@virtual
async def test_it_is_switched_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    """Each change that is felt is told, once."""
    recorder = Recorder()
    pipeline = Pipeline(Chaos(0.5, fault=Odd), name="trade", observers=(recorder,), seed=1)
    await ask(pipeline, Script("answer"))
    chaos = pipeline.states["chaos"]

    async def share() -> float:
        return sum([isinstance(await ask(pipeline, Script("answer")), Odd) for _ in range(200)]) / 200

    def told() -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    chaos.rate = 1.0
    assert (await share(), told()) == (0, [])
    chaos.enabled = True
    chaos.enabled = True
    assert (await share(), told()) == (1, ["CHAOS IS ON in pipeline 'trade': 100% of the calls get fault"])
    chaos.rate = 0.5
    chaos.rate = 0.5
    assert 0.3 < await share() < 0.7
    assert told() == ["CHAOS IS ON in pipeline 'trade': 50% of the calls get fault"]
    chaos.rate = 0.0
    assert (await share(), told()) == (0, ["chaos is off in pipeline 'trade'"])
    chaos.enabled = False
    assert (await share(), told()) == (0, [])
    chaos.rate = 1
    assert (await share(), told()) == (0, [])
    assert (chaos.enabled, chaos.rate) == (False, 1)
    assert [(change.old, change.new) for change in recorder.changes] == [("off", "on"), ("on", "off")]
    with pytest.raises(ConfigError, match=r"Chaos: rate is 2, must be a number of at least 0 and at most 1"):
        chaos.rate = 2
    with pytest.raises(ConfigError, match="Chaos: rate is -1"):
        chaos.rate = -1
    assert chaos.rate == 1


@virtual
async def test_without_an_observer_it_is_switched_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """The log tells it."""
    pipeline = Pipeline(Chaos(1.0, fault=Odd))
    await ask(pipeline, Script("answer"))
    pipeline.states["chaos"].enabled = True
    assert type(await ask(pipeline, Script("answer"))) is Odd
    assert len(caplog.records) == 1


# -- in company -----------------------------------------------------------------------------------------------


@virtual
async def test_beneath_a_pool_it_breaks_the_resource() -> None:
    """As a reset by the network would: the pool renews it."""
    opened: list[object] = []

    def open_session() -> object:
        opened.append(object())
        return opened[-1]

    pipeline = Pipeline(
        Retry(attempts=2, wait=0), Pool(open_session, name="rest"), always(fault=Fault("ConnectionResetError"))
    )
    await ask(pipeline, Script("answer"))
    assert len(opened) == 2
    await pipeline.aclose()


@virtual
async def test_it_shows_what_a_breaker_and_a_fallback_make_of_it() -> None:
    """The circuit opens, the fallback answers."""
    pipeline = Pipeline(Fallback("instead"), Breaker(consecutive=3), always(fault=Fault("ConnectionRefusedError")))
    assert [await ask(pipeline, Script("answer")) for _ in range(5)] == ["instead"] * 5
    assert pipeline.states["chaos"].struck == 3
    assert pipeline.status()["breaker"]["default"]["state"] == "open"


@virtual
async def test_as_a_decorator() -> None:
    """Of any coroutine function."""

    @Retry(attempts=3, on=Odd, wait=0)
    @Chaos(1.0, enabled=True, fault=Odd)
    async def fetch() -> str:
        return "answer"

    with pytest.raises(Odd):
        await fetch()


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rate": 1.1, "fault": Odd}, "rate is 1.1, must be a number of at least 0 and at most 1"),
        ({"rate": -0.1, "fault": Odd}, "rate is -0.1, must be "),
        ({"latency": -1}, "latency is -1, must be a number of at least 0"),
        ({"enabled": "yes", "fault": Odd}, "enabled is 'yes', must be true or false"),
        ({"after": 1, "fault": Odd}, "after is 1, must be true or false"),
        ({}, "nothing is injected; give fault, latency, result or behaviour"),
        ({"fault": Odd, "result": None}, "give either fault or result, so that there is one outcome"),
        (
            {"fault": Odd("shared")},
            r"fault is Odd\('shared'\), must be an exception class or a function that makes one",
        ),
        ({"fault": KeyboardInterrupt}, "fault is <class 'KeyboardInterrupt'>, must be a subclass of Exception"),
        ({"fault": int}, "fault is <class 'int'>, must be a subclass of Exception"),
        ({"fault": TimedOut}, "fault TimedOut cannot be made without arguments .*missing 1 required"),
        ({"behaviour": "wait"}, "behaviour is 'wait', must be a coroutine function of the call"),
        ({"fault": Odd, "ops": "read"}, "ops is 'read', must be a list of operation names"),
        ({"fault": Odd, "ops": [READ]}, "ops is .*, must be a list of operation names"),
    ],
)
def test_wrong_settings_are_named(fields: dict[str, Any], text: str) -> None:
    """With what was found and what is allowed."""
    with pytest.raises(ConfigError, match=f"^Chaos: {text}"):
        Chaos(**{"rate": 0.5, **fields})


def test_a_fault_that_has_no_such_name_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(
        ConfigError, match=r"Chaos: fault.error is 'KeyError', must be one of BrokenPipeError, Conn.*gaierr"
    ):
        Fault("KeyError")  # type: ignore[arg-type]
