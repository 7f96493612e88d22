"""The sentence of a kept call, for calls that real pipelines made: what each policy did, in words."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import suppress
from typing import Any

import pytest

from resilience import (
    Breaker,
    Bulkhead,
    BulkheadFull,
    Cache,
    Chaos,
    Coalesce,
    Deadline,
    Fallback,
    Hedge,
    Kind,
    Op,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    Verdict,
)  # fmt: skip
from resilience.call import Call, takes_call
from resilience.telemetry.why import why
from resilience.telemetry.words import ENDS, NOUNS, STOPPED, article, capital, counted, listed, ordinal, span_of
from resilience.testing import Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")
AGAIN = Retry(attempts=3, wait=1.0, jitter="none")


class ApiError(Exception):
    """An answer of an exchange, with its code."""


def bybit(error: Exception, op: Op) -> Verdict:
    if isinstance(error, ApiError):
        kind = {"10001": Kind.REJECTED, "10006": Kind.THROTTLED}.get(str(error), Kind.UNKNOWN)
        return Verdict(kind, f"bybit.{error}", 2.0 if kind is Kind.THROTTLED else None)
    return Verdict(Kind.UNKNOWN, {ConnectionResetError: "reset"}.get(type(error), ""))


def iter_once(seconds: float) -> Any:
    """A schedule of one wait, as backoff's generators are primed."""
    yield None
    yield seconds


SCENES: dict[str, tuple[tuple[Any, ...], Script, Op, str]] = {
    "clean": ((Timeout(5),), Script(after(1, "done")), READ, "Answered at the first attempt."),
    "two resets": (
        (AGAIN, Timeout(5)),
        Script(ConnectionResetError(), ConnectionResetError(), after(1, "done")),
        READ,
        "2 resets, waited 1 s and 1 s, third attempt won; 67 % of the time was backoff.",
    ),
    "a reset and a timeout": (
        (AGAIN, Timeout(5)),
        Script(ConnectionResetError(), never, after(9, "never")),
        READ,
        "1 reset and 1 timeout, waited 1 s and 1 s, timed out at the third attempt, not repeated because no attempt "
        "was left; whether it was executed is not known.",
    ),
    "a code first": (
        (AGAIN,),
        Script(ApiError("10016"), ApiError("10016"), after(10, "done")),
        READ,
        "bybit.10016 twice, waited 1 s and 1 s, third attempt won.",
    ),
    "ordered to wait": (
        (AGAIN,),
        Script(ApiError("10006"), after(10, "done")),
        READ,
        "bybit.10006 once, waited as ordered 2 s, second attempt won.",
    ),
    "rejected": ((AGAIN,), Script(ApiError("10001")), READ, "Rejected with bybit.10001."),
    "throttled": ((Retry(attempts=1),), Script(ApiError("10006")), READ, "Throttled with bybit.10006."),
    "a class of its own": (
        (AGAIN,), Script(KeyError(), "done"), READ,
        "KeyError once, waited 1 s, second attempt won; 100 % of the time was backoff.",
    ),
    "a write that is not repeated": (
        (AGAIN, Timeout(5)),
        Script(never),
        WRITE,
        "Timed out; whether it was executed is not known.",
    ),
    "no time for another": (
        (Deadline(1.5), AGAIN, Timeout(1)),
        Script(never),
        READ,
        "Timed out, not repeated because the next attempt would have come too late; whether it was executed is not "
        "known.",
    ),
    "out of time": ((Deadline(1),), Script(never), READ, "Out of time; whether it was executed is not known."),
    "no duration left": (
        (Retry(attempts=5, wait=1, jitter="none", max_duration=1.5),),
        Script(ConnectionResetError()),
        READ,
        "1 reset, waited 1 s, failed with a reset at the second attempt, not repeated because the time for retries was "
        "over; whether it was executed is not known; 100 % of the time was backoff.",
    ),
    "the schedule ended": (
        (Retry(attempts=5, wait=lambda: iter_once(0.5), jitter="none"),),
        Script(ConnectionResetError()),
        READ,
        "1 reset, waited 0.5 s, failed with a reset at the second attempt, not repeated because the schedule of waits "
        "had ended; whether it was executed is not known; 100 % of the time was backoff.",
    ),
    "an open circuit": (
        (Breaker(mode="forced_open"),), Script("never reached"), READ,
        "Refused by an open circuit before anything was sent.",
    ),
    "a shadow": (
        (AGAIN, Breaker(consecutive=1, mode="shadow")),
        Script(ConnectionResetError(), after(30, "done")),
        READ,
        "1 reset, waited 1 s, a breaker in shadow would have refused, second attempt won.",
    ),
    "hedged": (
        (Hedge(0.5), Timeout(5)), Script(after(9, "late"), after(1, "early")), READ,
        "A hedge (second attempt) won, the slower attempt was cancelled.",
    ),
    "hedged in vain": (
        (Hedge(0.5), Timeout(5)), Script(after(1, "early"), after(9, "late")), READ,
        "First attempt won over its hedge.",
    ),
    "a hedge without a budget": (
        (Hedge(0.5, budget=RetryBudget(0.0, per_second=0)), Timeout(5)),
        Script(after(1, "done")),
        READ,
        "No further hedge because the budget was spent, answered at the first attempt.",
    ),
    "a fallback": (
        (Fallback(0), Retry(attempts=1), Timeout(1)), Script(never), READ,
        "1 timeout, a fallback stood in for TimedOut.",
    ),
    "chaos": (
        (AGAIN, Chaos(enabled=True, rate=1, latency=0.5)), Script(KeyError(), after(30, "done")), READ,
        "KeyError once, waited 1 s, chaos injected latency, second attempt won.",
    ),
    "refused from within": (
        (AGAIN,), Script(BulkheadFull("full")), READ, "Refused by a full bulkhead.",
    ),
}  # fmt: skip


def tell(traced: Any, pipeline: Pipeline, *calls: Any) -> list[str]:
    """Run these one after another; their sentences."""

    async def play() -> None:
        for call in calls:
            with suppress(Exception):
                await call()

    VirtualLoop().run(play())
    return [str(traced.of(call)["resilience.why"]) for call in traced.calls]


@pytest.mark.parametrize("name", SCENES)
def test_what_each_policy_did_is_said(traced: Any, name: str) -> None:
    """A sentence for each scene, the same whichever way the call was noted."""
    policies, script, op, sentence = SCENES[name]
    pipeline = Pipeline(*policies, name="m", observers=(traced.tracer("always"),), classify=bybit, seed=1)
    assert tell(traced, pipeline, lambda: pipeline.run(script, op=op)) == [sentence]


def test_answers_from_memory(traced: Any) -> None:
    """How old they are, and why a stale one served."""
    cache = Cache(1, stale_while_revalidate=5, stale_if_error=60)
    pipeline = Pipeline(cache, Retry(attempts=1), observers=(traced.tracer("always"),), classify=bybit)
    script = Script("first", after(3, "second"), ConnectionResetError())

    async def ask(pause: float) -> None:
        await asyncio.sleep(pause)
        await pipeline.run(script, op=READ)

    said = tell(traced, pipeline, *(lambda pause=pause: ask(pause) for pause in (0, 0.5, 2.5, 60)))
    assert said[:3] == [
        "Answered at the first attempt.",
        "Answered from the cache, 0.5 s old.",
        "Answered from the cache, 3 s old and stale, while it is renewed.",
    ]
    assert said[-1] == "1 reset, answered from the cache, 57 s old and stale, in place of the error."


def test_a_last_good_answer(traced: Any) -> None:
    """Stands in for the error, and its age is told."""
    pipeline = Pipeline(Fallback(last_good=60), observers=(traced.tracer("always"),))
    script = Script("good", ConnectionResetError())

    async def ask(pause: float) -> None:
        await asyncio.sleep(pause)
        await pipeline.run(script, op=READ)

    said = tell(traced, pipeline, lambda: ask(0), lambda: ask(12))
    assert said[1] == "The last good answer, 12 s old, stood in for ConnectionResetError."


def test_a_shared_flight(traced: Any) -> None:
    """Who came along says so, also when the flight failed."""
    pipeline = Pipeline(Coalesce(), Timeout(5), observers=(traced.tracer("always"),))

    async def ask(script: Script) -> None:
        await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(2)), return_exceptions=True)

    said = tell(traced, pipeline, lambda: ask(Script(after(1, "done"))), lambda: ask(Script(never)))
    assert said == [
        "Answered at the first attempt.",
        "Shared the flight of another call, which answered.",
        "Timed out; whether it was executed is not known.",
        "Shared the flight of another call, which timed out; whether it was executed is not known.",
    ]


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        (0.5, "Cancelled by the caller during the first attempt."),
        (1.5, "1 reset, cancelled by the caller after the first attempt; 33 % of the time was backoff."),
        (2.5, "1 reset, waited 1 s, cancelled by the caller during the second attempt; 40 % of the time was backoff."),
    ],
)
def test_a_cancellation(traced: Any, seconds: float, sentence: str) -> None:
    """Where it met the call."""
    pipeline = Pipeline(AGAIN, observers=(traced.tracer("always"),), classify=bybit)

    async def ask() -> None:
        async with asyncio.timeout(seconds):
            await pipeline.run(Script(after(1, ConnectionResetError()), never), op=READ)

    assert tell(traced, pipeline, ask) == [sentence]


@virtual
async def test_a_call_that_was_let_in_nowhere(traced: Any) -> None:
    """Refused above the attempts, or cancelled while it queued there."""
    pipeline = Pipeline(Bulkhead(1, queue=1), AGAIN, observers=(traced.tracer("always"),))
    calls = [asyncio.ensure_future(pipeline.run(Script(after(5)), op=Op(f"{n}"))) for n in range(3)]
    await asyncio.sleep(1)
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert {call.name: traced.of(call)["resilience.why"] for call in traced.calls} == {
        "0": "Answered at the first attempt.",
        "1": "Cancelled by the caller before any attempt; 100 % of the time was waiting in the bulkhead's queue.",
        "2": "Refused by a full bulkhead before any attempt.",
    }


@virtual
async def test_probes_limits_and_shares(traced: Any) -> None:
    """A probe is called one; a wait in a limiter that took most of the time is named."""
    tracer = traced.tracer("always")
    breaker = Pipeline(Breaker(consecutive=1, open_for=1), observers=(tracer,))
    with suppress(OSError):
        await breaker.run(Script(OSError()), op=Op("breaks"))
    await asyncio.sleep(5)
    await breaker.run(Script(after(1)), op=Op("probes"))
    limited = Pipeline(RateLimit("1/s"), observers=(tracer,))
    await limited.run(Script(), op=Op("at once"))
    await limited.run(Script(after(1)), op=Op("waits"))
    said = {call.name: traced.of(call)["resilience.why"] for call in traced.calls}
    assert said["probes"] == "A probe of a half-open circuit, answered at the first attempt."
    assert re.fullmatch(
        r"Answered at the first attempt; 5\d % of the time was waiting for our rate limit\.", said["waits"]
    )


@virtual
async def test_a_reused_connection_that_was_dead(traced: Any) -> None:
    """Sent again at once, on a new one."""

    @takes_call
    async def send(call: Call) -> str:
        call.attempt.sent, call.attempt.stale = True, call.attempt.number == 1
        call.attempt.notes["connection"] = "reused" if call.attempt.stale else "new"
        if call.attempt.stale:
            raise ConnectionResetError
        return "done"

    await Pipeline(AGAIN, observers=(traced.tracer(),), classify=bybit).run(send, op=READ)
    assert traced.of(traced.call)["resilience.why"] == (
        "1 reset, sent again at once because a reused connection was dead, second attempt on a new connection won."
    )


@virtual
async def test_the_outer_of_two_calls_says_that_it_was_kept_for_the_inner(traced: Any) -> None:
    """It went well itself."""
    tracer = traced.tracer()
    inner = Pipeline(AGAIN, observers=(tracer,)).guard(READ)(Script(OSError(), "done").__call__)
    await Pipeline(observers=(tracer,)).run(inner, op=Op("outer"))
    said = {call.name: traced.of(call)["resilience.why"] for call in traced.calls}
    assert said["outer"] == "Answered at the first attempt, a call inside it was retried."


@virtual
async def test_a_slow_call_says_that_it_was(traced: Any) -> None:
    """It is kept for nothing else."""
    await Pipeline(observers=(traced.tracer(slow=1.0),)).run(Script(after(2)), op=READ)
    assert traced.of(traced.call)["resilience.why"] == "Answered at the first attempt, slower than usual."


@virtual
async def test_of_very_many_attempts_some_are_not_shown(traced: Any) -> None:
    """The counts speak of those that are; how many are not is said."""
    pipeline = Pipeline(Retry(attempts=40, wait=0, jitter="none"), observers=(traced.tracer(),), classify=bybit)
    with suppress(OSError):
        await pipeline.run(Script(OSError()), op=READ)
    assert traced.of(traced.call)["resilience.why"] == (
        "OSError 15 times, failed with OSError at the 40th attempt, not repeated because no attempt was left, "
        "24 attempts in between not shown; whether it was executed is not known."
    )


@virtual
async def test_overload(traced: Any) -> None:
    """Shed, and in which words."""
    assert ENDS["load_shed"] == "shed under overload"
    said = why({"resilience.outcome": "refused", "error.type": "load_shed"}, [], 0.0)
    assert said == "Shed under overload before any attempt."


# -- the words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [("reset once", "Reset once"), ("bybit.10006 once", "bybit.10006 once"), ("OSError once", "OSError once"),
     ("http_502 x", "http_502 x"), ("2 resets", "2 resets"), ("", "")],
)  # fmt: skip
def test_codes_and_names_get_no_capital(text: str, want: str) -> None:
    """Only plain words do."""
    assert capital(text) == want


@pytest.mark.parametrize("word", NOUNS.values())
def test_every_noun_has_a_plural_and_an_article(word: str) -> None:
    """A plural in -s of its main word, and an article that goes with its first letter."""
    many = counted(word, 2)
    assert many.startswith("2 ")
    assert "ss " not in f"{many} "
    assert any(part.endswith("s") for part in many.split())
    assert article(word).split()[0] == ("an" if word[0] in "aeiou" else "a")
    assert counted(word, 1) == f"1 {word}"


def test_times_ordinals_and_lists() -> None:
    """Two digits, English endings, and no list longer than four."""
    assert [span_of(s) for s in (0.0004, 0.0456, 0.0999, 0.9, 1.0, 9.96, 75.4, 1234.0)] == [
        "0.4 ms", "46 ms", "0.1 s", "0.9 s", "1 s", "10 s", "75 s", "1234 s",
    ]  # fmt: skip
    assert [ordinal(n) for n in (1, 3, 10, 11, 12, 13, 21, 22, 23, 101, 111)] == [
        "first", "third", "tenth", "11th", "12th", "13th", "21st", "22nd", "23rd", "101st", "111th",
    ]  # fmt: skip
    assert [listed(list("abcdef"[:n])) for n in (1, 2, 3, 4, 6)] == [
        "a", "a and b", "a, b and c", "a, b, c and d", "a, b, c and 3 more",
    ]  # fmt: skip


def test_why_a_retry_stopped_is_said_for_every_reason() -> None:
    """As documented; one of somebody else's is said as it stands."""
    call = {"resilience.outcome": "failed", "error.type": "reset"}
    for reason, words in {**STOPPED, "other": "other"}.items():
        attempts = [
            {
                "resilience.attempt.number": n,
                "error.type": "reset",
                "resilience.retry_stopped": reason if n == 2 else "",
            }
            for n in (1, 2)
        ]
        assert f"not repeated because {words}." in why(call, attempts, 1.0)


def test_anything_that_arrives_makes_a_sentence() -> None:
    """Spans come from other processes too: whatever they hold, it ends with a full stop and raises nothing."""
    dice = random.Random(7)
    values = ["ok", "failed", "lost", "hedge", "bybit.1", "", 0, 1, 3, 0.5, True, False, "half-open", "slow", "hit"]
    keys = [
        "error.type", "resilience.outcome", "resilience.attempt.outcome", "resilience.attempt.kind", "resilience.hedge",
        "resilience.fallback", "resilience.cache", "resilience.coalesced", "resilience.retry_stopped",
        "resilience.sampling.reason", "resilience.chaos", "resilience.breaker.state", "resilience.attempt.number",
    ]  # fmt: skip
    for _ in range(2000):
        call, *attempts = (
            {key: dice.choice(values) for key in keys if dice.random() < 0.3} for _ in range(dice.randint(1, 5))
        )
        said = why(call, attempts, dice.random())
        assert said.endswith(".")
        assert len(said) > 5
