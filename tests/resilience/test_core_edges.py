"""The small parts at their edges: what programs read in them, and what happens where something of the user's fails."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import random
import warnings
from typing import Any

import pytest

from resilience import (
    BudgetSpent,
    BulkheadFull,
    ConfigError,
    Hedge,
    Kind,
    LoadShed,
    Op,
    Pipeline,
    PoolExhausted,
    RateLimited,
    Refused,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.call import Attempt, Call, Handler, takes_call
from resilience.errors import PipelineWarning
from resilience.events import StateChanged, fan_out
from resilience.kit import Kit, clock_of
from resilience.policy import Policy
from resilience.testing import Recorder, Script, VirtualLoop, after, virtual
from resilience.units import OutOfBounds, check, percent, quantile
from resilience.verdict import _MOST_KNOWN, _known, classify

OP = Op("op")


# -- what programs read ------------------------------------------------------------------------------------------


def test_kinds_are_written_in_one_word() -> None:
    """Spans, metrics and configuration files spell them so."""
    assert [kind.value for kind in Kind] == ["ok", "rejected", "throttled", "failed", "unknown"]
    assert Verdict(Kind.FAILED) == Verdict(Kind.FAILED, "", None, "op")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "ConnectionResetError"),
        (ConnectionRefusedError(), "ConnectionRefusedError"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_default_reading_names_the_error(error: Exception, reason: str) -> None:
    """A timeout is called that, whatever its class; everything else by its class."""
    assert classify(error, OP).reason == reason


def test_a_timeout_says_whose_time_it_was() -> None:
    """In its reason, and after a journey through pickle, with all that it knows."""
    assert TimedOut(1).reason == "timeout"
    assert TimedOut(1, limit="deadline").reason == "deadline_exceeded"
    error = pickle.loads(pickle.dumps(TimedOut(2, queued=True)))  # noqa: S301 (our own bytes)
    assert (error.seconds, error.limit, error.sent, error.queued) == (2, "timeout", False, True)


@pytest.mark.parametrize(
    ("error", "policy", "reason"),
    [
        (Refused, "policy", "refused"),
        (BulkheadFull, "bulkhead", "bulkhead_full"),
        (RateLimited, "rate limit", "rate_limited"),
        (LoadShed, "shed", "load_shed"),
        (PoolExhausted, "pool", "pool_timeout"),
        (BudgetSpent, "budget", "budget_spent"),
    ],
)
def test_a_refusal_says_who_refused_and_why(error: type[Refused], policy: str, reason: str) -> None:
    """In words of few kinds, which metrics count by; and it holds its text like any exception."""
    refusal = error("the text", retry_after=1.5)
    assert (refusal.policy, refusal.reason, refusal.retry_after) == (policy, reason, 1.5)
    assert refusal.args == ("the text",)
    assert error(what="the text").args == ("the text",)
    assert str(error()) == f"refused by the {policy}: {reason}"


def test_what_is_not_said_of_an_operation_and_an_attempt() -> None:
    """The defaults that every adapter relies on."""
    assert Op("x") == Op("x", idempotent=False, cost=1.0, priority="default")
    attempt = Attempt()
    assert (attempt.number, attempt.kind, attempt.waited, attempt.limits) == (1, "original", 0.0, None)
    assert (attempt.sent, attempt.stale, attempt.fresh, attempt.lost) == (False, False, False, False)
    assert (attempt.outcome, attempt.error_type, attempt.pause) == ("ok", "", None)
    assert (Policy.repeats, Policy.sets_deadline, Policy.enforces_deadline) == (False, False, False)


def test_a_change_of_state_reads_as_one_line() -> None:
    """For logs and failing tests."""
    event = StateChanged("breaker", "host", "closed", "open", "half of the calls failed", 1.0)
    assert repr(event) == "StateChanged(breaker host: closed -> open, half of the calls failed)"


def test_shares_and_quantiles_have_their_bounds() -> None:
    """A hundred per cent is a share, and no quantile; nothing is a share, and no quantile."""
    assert (percent("100%"), percent("0%"), percent(" 12.5% ")) == (1.0, 0.0, 0.125)
    assert (quantile("p95"), quantile("p99.9"), quantile(" p1 ")) == (0.95, pytest.approx(0.999), 0.01)
    for wrong in ("100.1%", "50", "-1%"):
        with pytest.raises(ConfigError, match="no share"):
            percent(wrong)
    for wrong in ("p0", "p100", "p", "95", "p0.0"):
        with pytest.raises(ConfigError, match="no quantile"):
            quantile(wrong)


# -- where the user's own part fails ----------------------------------------------------------------------------


def test_an_adapter_that_fails_is_read_as_a_rejection(caplog: pytest.LogCaptureFixture) -> None:
    """Which repeats nothing, trips nothing, and says its name. What ends the program is not kept from it."""

    def broken(exc: Exception, op: Op) -> Verdict:
        raise exc if isinstance(exc, KeyError) else SystemExit

    kit = Kit("p", broken, random.Random(1))
    call = Call(OP, Script())
    assert kit.judge(KeyError(), call) == Verdict(Kind.REJECTED, "classify_failed")
    assert "classify failed on KeyError of op" in caplog.text
    with pytest.raises(SystemExit):
        kit.judge(ValueError(), call)


def test_an_error_that_says_that_nothing_was_sent_is_believed() -> None:
    """UNKNOWN becomes FAILED, with everything else as it was; no other kind is touched, and no other word counts."""

    class Unsent(Exception):
        sent: bool | None = False

    class Sent(Unsent):
        sent = True

    class Silent(Unsent):
        sent = None

    def judge(kind: Kind, error: Exception) -> Verdict | None:
        kit = Kit("p", lambda exc, op: Verdict(kind, "because", 3.0, "ip"), random.Random(1))
        return kit.judge(error, Call(OP, Script()))

    assert judge(Kind.UNKNOWN, Unsent()) == Verdict(Kind.FAILED, "because", 3.0, "ip")
    assert judge(Kind.THROTTLED, Unsent()) == Verdict(Kind.THROTTLED, "because", 3.0, "ip")
    for error in (Sent(), Silent(), ValueError()):
        assert judge(Kind.UNKNOWN, error) == Verdict(Kind.UNKNOWN, "because", 3.0, "ip")


def test_an_observer_that_fails_is_alone_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, the call never feels it; but an exit is an exit."""
    heard: list[object] = []

    def broken(event: object) -> None:
        raise ValueError("no ear")

    def leaves(event: object) -> None:
        raise SystemExit

    assert fan_out(()) is None
    emit = fan_out((broken, heard.append))
    assert emit is not None
    emit("news")
    assert heard == ["news"]
    assert "an observer failed on str" in caplog.text
    quits = fan_out((leaves,))
    assert quits is not None
    with pytest.raises(SystemExit):
        quits("news")


def test_readings_are_remembered_but_not_for_ever() -> None:
    """One verdict serves all errors of a type; types that a program makes all the time do not gather."""
    first = classify(KeyError(), OP)
    assert classify(ValueError(), OP) is classify(ValueError(), OP)
    assert classify(KeyError(), OP) is first
    for number in range(2 * _MOST_KNOWN):
        classify(type(f"Error{number}", (Exception,), {})(), OP)
        assert len(_known) <= _MOST_KNOWN


# -- records -------------------------------------------------------------------------------------------------------


def test_a_record_is_made_once() -> None:
    """Who asks twice for the attempt, its notes or the history is given the same."""
    call = Call(OP, Script())
    assert call.made is None
    assert call.attempt is call.attempt
    assert call.attempt.sent is False
    assert call.attempt.notes is call.attempt.notes
    assert call.attempt.mark() is call.attempt.mark()
    assert call.attempts is call.attempts
    reached = Call(OP, Script())
    reached.reached = True
    assert reached.attempt.sent is True


def test_a_breaker_that_let_an_attempt_in_is_in_its_notes() -> None:
    """As label and generation, for whoever reads them."""

    class Circuit:
        label, generation = "half_open", 7

    attempt = Attempt()
    attempt.circuit = Circuit()
    assert attempt.notes == {"breaker.state": "half_open", "breaker.generation": 7}


def test_a_second_clock_is_not_taken_for_the_first() -> None:
    """A loop that is no standard one is asked through its own method, whatever that is."""

    class Odd:
        def time(self) -> float:
            return 42.0

    assert clock_of(Odd())() == 42.0  # type: ignore[arg-type]
    standard = asyncio.new_event_loop()
    assert clock_of(standard) is not standard.time
    assert clock_of(standard).__name__ == "monotonic"
    standard.close()


def test_kit_knows_what_was_asked_for() -> None:
    """Which shared states, since the last link."""
    kit = Kit("p", classify, random.Random(1), {})
    loop = VirtualLoop()
    assert kit.branches is False
    kit.link(loop, None)
    kit.keep("pool", object(), dict, shared="rest")
    assert kit.has("pool", shared="rest")
    assert not kit.has("pool", shared="ws")
    kit.link(loop, None)
    assert not kit.has("pool", shared="rest")
    loop.close()


# -- the pipeline's doors -------------------------------------------------------------------------------------------


@virtual
async def test_the_shorter_of_two_deadlines_counts() -> None:
    """The call's own and the ambient one, whichever way they lie, and with only one of them."""
    loop = asyncio.get_running_loop()
    seen: list[float | None] = []

    async def look(call: Call) -> None:
        seen.append(call.deadline)

    pipeline, target, now = Pipeline(), takes_call(look), loop.time()
    await pipeline.send(Call(OP, target, deadline=now + 3))
    await pipeline.send(Call(OP, target))
    with within(2):
        await pipeline.send(Call(OP, target, deadline=now + 3))
        await pipeline.send(Call(OP, target, deadline=now + 1))
        await pipeline.send(Call(OP, target))
    assert seen == [now + 3, None, now + 2, now + 1, now + 2]


def test_a_policy_of_somebody_else_is_taken_for_what_it_says() -> None:
    """An object with a ``bind`` and no more repeats nothing, sets no deadline and lends nothing."""

    class Plain:
        def bind(self, next: Handler, kit: Kit, /) -> Handler:
            return next

        def __repr__(self) -> str:
            return "Plain()"

    pipeline = Pipeline(Plain())
    assert repr(pipeline).split("\n")[1] == "  ---- one attempt ----"

    async def fetch(symbol: str) -> str:
        return symbol

    assert str(inspect.signature(pipeline(fetch))) == "(symbol: 'str') -> 'str'"
    assert pipeline(fetch).__name__ == "fetch"


def test_a_decorated_function_names_its_pipeline() -> None:
    """By its qualified name: what spans and logs show where nobody gave another."""

    @Retry(on=OSError)
    @Timeout(1)
    async def fetch() -> None: ...

    assert fetch.pipeline.name == fetch.__qualname__  # type: ignore[attr-defined]


@virtual
async def test_a_policy_learns_whether_branches_lie_above_it() -> None:
    """Anywhere above, beside whatever else, and not beneath."""
    told: list[bool] = []

    class Probe:
        def bind(self, next: Handler, kit: Kit, /) -> Handler:
            told.append(kit.branches)
            return next

    hedge, retry = Hedge(delay=1), Retry(on=OSError)
    for policies in ((hedge, Probe()), (hedge, retry, Probe()), (Probe(), hedge), (retry, Probe())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipelineWarning)  # of orders that are rarely meant
            pipeline = Pipeline(*policies)
        await pipeline.run(Script("x"), op=Op("op", idempotent=True))
    assert told == [True, True, False, False]


class Standing:
    """An observer that stands around calls and attempts, and says when it is passed."""

    def __init__(self, name: str, passed: list[str], innermost: bool = False) -> None:
        self.name, self.passed, self.innermost = name, passed, innermost

    def __call__(self, event: object) -> None: ...

    def _around(self, what: str, next: Handler) -> Handler:
        async def run(call: Call) -> Any:
            self.passed.append(f"{self.name} {what}")
            return await next(call)

        return run

    def around_call(self, next: Handler, kit: Kit, /) -> Handler:
        return self._around("call", next)

    def around_attempt(self, next: Handler, kit: Kit, /) -> Handler:
        return self._around("attempt", next)


@virtual
async def test_who_observes_no_more_is_told_nothing_more() -> None:
    """The others are, in their order; who is equal but not the same stays."""
    first, second, third = [], [], []  # type: ignore[var-annotated]
    hear = [heard.append for heard in (first, second, third)]
    pipeline = Pipeline(observers=tuple(hear))
    fetch = pipeline.guard(OP)(Script("x"))
    await fetch()
    pipeline.unobserve(hear[0], hear[2], print)
    assert pipeline.observers == (hear[1],)
    await fetch()
    assert (len(first), len(second), len(third)) == (4, 8, 4)


def test_joined_pipelines_keep_their_dice() -> None:
    """A seed given for tests holds for what is made of the pipeline too."""
    joined = Pipeline(name="a", seed=7) + Timeout(1)
    assert joined._kit.rng.random() == random.Random(7).random()
    assert joined.name == "a"


@virtual
async def test_a_call_that_names_no_operation_is_a_call() -> None:
    """That is what spans and metrics show."""
    recorder = Recorder()
    await Pipeline(observers=(recorder,)).run(Script("x"))
    assert recorder.calls[0].call.op == Op("call")


@virtual
async def test_observers_stand_around_each_other_in_their_order() -> None:
    """The first outermost, those who are only told innermost of all but one who asks to be that."""
    passed: list[str] = []

    def told(event: object) -> None:
        passed.append(type(event).__name__)

    first, second = Standing("first", passed), Standing("second", passed)
    del second.innermost  # nothing said is no
    inner = Standing("inner", passed, innermost=True)
    await Pipeline(observers=(inner, first, told, second)).run(Script("x"), op=OP)
    order = ["first call", "second call", "inner call", "CallStarted"]
    order += ["first attempt", "second attempt", "inner attempt", "AttemptStarted"]
    assert passed == [*order, "AttemptEnded", "CallEnded"]


@virtual
async def test_a_policy_can_have_what_lies_beneath_observed_as_a_call() -> None:
    """For what it runs in a task of its own. A kit that observes nothing changes nothing."""
    recorder = Recorder()

    class Apart:
        def bind(self, next: Handler, kit: Kit, /) -> Handler:
            return kit.as_call(next)

    await Pipeline(Apart(), observers=(recorder,)).run(Script("x"), op=OP)
    assert len(recorder.calls) == 2
    assert recorder.balanced()
    assert Kit("p", classify, random.Random(1)).as_call(Script) is Script


def test_after_a_fork_a_pipeline_links_anew() -> None:
    """The loop of the parent is not the child's, though both run in a thread of one number."""
    pipeline = Pipeline(Timeout(1))
    fetch = pipeline.guard(OP)(Script("x"))

    async def main() -> int:
        await fetch()
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            loop = asyncio.new_event_loop()
            asyncio.events._set_running_loop(None)
            if loop.run_until_complete(fetch()) == "x" and pipeline._kit.loop is loop:
                code = 0
        finally:
            os._exit(code)

    _, status = os.waitpid(asyncio.run(main()), 0)
    assert os.waitstatus_to_exitcode(status) == 0


@virtual
async def test_a_pipeline_is_a_context_of_itself() -> None:
    """``async with Pipeline(...) as pipeline`` names the pipeline."""
    pipeline = Pipeline()
    async with pipeline as same:
        assert same is pipeline


@virtual
async def test_who_observes_later_is_told_from_the_next_call_on() -> None:
    """Beside those who observed before."""
    first, second = Recorder(), Recorder()
    pipeline = Pipeline(observers=(first,))
    fetch = pipeline.guard(OP)(Script(after(1, "x")))
    await fetch()
    pipeline.observe(second)
    await fetch()
    assert (len(first.calls), len(second.calls)) == (2, 1)


def test_a_number_out_of_bounds_says_its_bounds_in_another_process_too() -> None:
    """For whoever checks many files at once."""
    with pytest.raises(OutOfBounds) as caught:
        check("Retry", "attempts", 0, least=1, whole=True)
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own bytes)
    assert (str(copy), copy.name, copy.bounds) == (str(caught.value), "attempts", (None, 1, None))
