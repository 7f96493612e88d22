"""The sentence of a kept call, for calls that real pipelines made: what each policy did, in words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from resilience import (
    Breaker, Bulkhead, BulkheadFull, Cache, Chaos, Coalesce, Deadline, Fallback, Hedge, Kind, Op, Pipeline, RateLimit,
    Refused, Retry, Shed, Timeout, Verdict,
)  # fmt: skip
from resilience.budget import Budget
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
        "was left, whether it was executed is not known.",
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
        "bybit.10006 once, waited as ordered 2.1 s, second attempt won.",
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
        "Timed out, whether it was executed is not known.",
    ),
    "no time for another": (
        (Deadline(1.5), AGAIN, Timeout(1)),
        Script(never),
        READ,
        "Timed out, not repeated because the next attempt would have come too late, whether it was executed is not "
        "known.",
    ),
    "out of time": ((Deadline(1),), Script(never), READ, "Out of time, whether it was executed is not known."),
    "no duration left": (
        (Retry(attempts=5, wait=1, jitter="none", max_duration=1.5),),
        Script(ConnectionResetError()),
        READ,
        "1 reset, waited 1 s, failed with a reset at the second attempt, not repeated because the time for retries was "
        "over, whether it was executed is not known; 100 % of the time was backoff.",
    ),
    "the schedule ended": (
        (Retry(attempts=5, wait=[0.5], jitter="none"),),
        Script(ConnectionResetError()),
        READ,
        "1 reset, waited 0.5 s, failed with a reset at the second attempt, not repeated because the schedule of waits "
        "had ended, whether it was executed is not known; 100 % of the time was backoff.",
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
        (Hedge(0.5, budget=Budget(0, reserve=0)), Timeout(5)),
        Script(ConnectionResetError()),
        READ,
        "",
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
        (AGAIN,), Script(BulkheadFull("full")), READ,
        "",
    ),
}  # fmt: skip
