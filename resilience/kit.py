"""All that a policy may reach for: what errors mean, the clock, dice, an ear for events, and memory across calls.

`keep` is the surprising one: a policy is frozen configuration, so whatever must survive a call (a breaker's window, a
bulkhead's count) is made there once and found again by name. `Pipeline.status`, manual control and a reload reach the
same objects.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from .call import Call, Handler
from .errors import Refused, ResilienceError, TimedOut
from .events import Emit
from .verdict import Classify, Kind, Verdict

__all__ = ["Kit"]

S = TypeVar("S")

_log = logging.getLogger("resilience")
_UNKNOWN = Kind.UNKNOWN  # an enum is slow to look things up in
_TIMED_OUT_SENT = Verdict(Kind.UNKNOWN, "timeout")
_TIMED_OUT_UNSENT = Verdict(Kind.FAILED, "timeout")


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's clock: its own method, or the function behind the standard one, which costs a third."""
    standard = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    return time.monotonic if standard else loop.time


class Kit:
    """What one pipeline hands to its policies when it binds them.

    A pipeline is linked to the running event loop: `loop` is that one, and `now` its clock, in seconds. Tests swap the
    loop; nothing takes a ``clock=``. `emit` is None where nobody observes. A policy asks for each of them once, when it
    is bound, and is bound again when one of them changes.
    """

    __slots__ = (
        "__weakref__", "_shared", "_taken", "as_call", "branches", "classify", "emit", "kept", "loop", "name", "now",
        "rng", "scope", "states",
    )  # fmt: skip

    def __init__(
        self, name: str, classify: Classify, rng: random.Random, shared: dict[str, Any] | None = None, scope: str = ""
    ) -> None:
        self.name = name
        self.classify = classify
        self.rng = rng
        self.scope = scope
        self.states: dict[str, Any] = {}
        self.kept: dict[str, tuple[str, object, bool]] = {}
        """What was asked for since the last link, by key in `states`: the kind, for whom, and whether it is shared."""
        self.emit: Emit | None = None
        self.as_call: Callable[[Handler], Handler] = lambda next: next
        """Around what a policy sends as a call of its own, such as a renewal in the background: those who observe."""
        self.branches = False  # above the policy that is being bound, are there branches that may lose?
        self.loop: asyncio.AbstractEventLoop
        self.now: Callable[[], float]
        self._shared = self.states if shared is None else shared
        self._taken: set[str] = set()

    def judge(self, exc: Exception, call: Call) -> Verdict | None:
        """What the exception means, or None for a refusal of ours, from which nobody learns anything.

        The adapter's `classify` is never asked about a refusal or our own `TimedOut`. One that raises, or returns no
        verdict, counts as REJECTED, which repeats nothing. An error that says of itself that nothing was `sent` is not
        UNKNOWN.
        """
        if isinstance(exc, ResilienceError):
            if isinstance(exc, TimedOut):
                if exc.queued:
                    return None
                return _TIMED_OUT_SENT if exc.sent else _TIMED_OUT_UNSENT
            if isinstance(exc, Refused):
                return None
        try:
            verdict = self.classify(exc, call.op)
            unknown = verdict.kind is _UNKNOWN  # here, where one that forgot to return a verdict is caught as well
        except Exception:
            _log.exception("classify failed on %s of %s; read as rejected", type(exc).__name__, call.op.name)
            return Verdict(Kind.REJECTED, "classify_failed")
        if unknown and getattr(exc, "sent", None) is False:
            return replace(verdict, kind=Kind.FAILED)
        return verdict

    def keep(self, kind: str, policy: object, make: Callable[[], S], *, shared: str = "") -> S:
        """The state that belongs to this policy of this pipeline; made on first use, found again after a re-bind.

        The second policy of a kind in one pipeline gets ``kind#2``, and so on. A policy that names what it `shared`
        (a pool's name, an IP's limit) gets the one state of that name among all pipelines that were loaded together.
        """
        base = key = f"{kind}:{shared}" if shared else kind
        number = 1
        while not shared and key in self._taken:
            number += 1
            key = f"{base}#{number}"
        self._taken.add(key)
        self.kept.setdefault(key, (kind, policy, bool(shared)))
        home = self._shared if shared else self.states
        state: S | None = home.get(key)
        if state is None:
            state = home[key] = make()
        self.states[key] = state
        return state

    def has(self, kind: str, *, shared: str) -> bool:
        """Whether a policy beneath, bound before, has asked for the shared state of this name since the last link."""
        return f"{kind}:{shared}" in self._taken

    def link(self, loop: asyncio.AbstractEventLoop, emit: Emit | None) -> None:
        """Before the policies are bound (again): to which loop, and who observes. Kept states stay."""
        self._taken.clear()
        self.kept.clear()
        self.loop = loop
        self.now = clock_of(loop)
        self.emit = emit
