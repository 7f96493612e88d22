"""Chaos: disturb a share of the calls on purpose, to see what the policies above make of it.

It stands innermost, where the target would misbehave. It is off unless configured, says so in the log when it comes on,
and is switched live: ``pipeline.states["chaos"].enabled = True``, ``.rate = 0.1``.

The surprising part is `after`. A fault strikes before the function is called, so nothing was sent and nobody may say
UNKNOWN; with ``after=True`` the function is called, its answer thrown away, and the fault raised then: the order stands
in the book, and the caller does not know. (The four kinds are those of Simmy, in Polly v8.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from ..call import Call, Handler
from ..errors import ConfigError
from ..events import StateChanged
from ..given import NOT_GIVEN
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, Share, check

__all__ = ["Chaos", "Fault"]

_log = logging.getLogger("resilience")
_TEXT = "injected by chaos"

Name = Literal[
    "BrokenPipeError",
    "ConnectionAbortedError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "OSError",
    "TimeoutError",
    "gaierror",
]
_FAULTS: dict[str, Callable[[], Exception]] = {
    "BrokenPipeError": lambda: BrokenPipeError(errno.EPIPE, _TEXT),
    "ConnectionAbortedError": lambda: ConnectionAbortedError(errno.ECONNABORTED, _TEXT),
    "ConnectionRefusedError": lambda: ConnectionRefusedError(errno.ECONNREFUSED, _TEXT),
    "ConnectionResetError": lambda: ConnectionResetError(errno.ECONNRESET, _TEXT),
    "OSError": lambda: OSError(errno.EHOSTUNREACH, _TEXT),
    "TimeoutError": lambda: TimeoutError(_TEXT),
    "gaierror": lambda: socket.gaierror(socket.EAI_NONAME, _TEXT),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by name, as files say it: an error of the network."""

    error: Name

    def __post_init__(self) -> None:
        if self.error not in _FAULTS:
            raise ConfigError(f"Chaos: fault.error is {self.error!r}, must be one of {', '.join(get_args(Name))}")


class Switch:
    """Whether chaos is on, for which share of the calls, and how many it has struck. Both can be set at any time."""

    def __init__(self, chaos: Chaos, kit: Kit) -> None:
        self._kit = kit
        self._what = chaos.what
        self._enabled, self._rate = chaos.enabled, chaos.rate
        self.on = False  # both together: what the handler reads
        self.struck = 0
        self._set(chaos.enabled, chaos.rate)  # tells, if it is on

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._set(enabled, self._rate)

    @property
    def rate(self) -> float:
        """Raises `ConfigError` when it is set to what is no share."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        check("Chaos", "rate", rate, least=0, most=1)
        self._set(self._enabled, rate)

    def _set(self, enabled: bool, rate: float) -> None:
        """Nobody shall wonder where the errors come from: every change that is felt is told."""
        was, before, name = self.on, self._rate, self._kit.name
        self._enabled, self._rate = enabled, rate
        self.on = bool(enabled) and rate > 0
        if self.on and (not was or rate != before):
            _log.warning("CHAOS IS ON in pipeline %r: %.3g%% of the calls get %s", name, 100 * rate, self._what)
        elif was and not self.on:
            _log.warning("chaos is off in pipeline %r", name)
        if was is not self.on and self._kit.emit is not None:
            old, new = ("on", "off") if was else ("off", "on")
            self._kit.emit(StateChanged("chaos", name, old, new, self._what, self._kit.now()))

    def become(self, chaos: Chaos, before: Chaos) -> None:
        """Follow the policy in what has changed since `before`; the rest may have been set by hand."""
        self._what = chaos.what
        enabled = self._enabled if chaos.enabled == before.enabled else chaos.enabled
        self._set(enabled, self._rate if chaos.rate == before.rate else chaos.rate)

    def status(self) -> dict[str, Any]:
        return {"enabled": self._enabled, "rate": self._rate, "struck": self.struck}


@dataclass(frozen=True, slots=True)
class Chaos(Policy):
    """Where `enabled`, strike the share `rate` of the calls to `ops` (operation names; empty: all of them).

    A strike awaits ``behaviour(call)``, then waits `latency` seconds, then raises a `fault` or returns `result` in
    place of the answer; what is not given does not happen. `fault` is a `Fault`, an exception class, or a function
    that makes an exception. With `after`, the function is called first, and what it raises itself is left as it is.
    """

    keeps: ClassVar[str] = "how many calls it has struck, and what was set by hand"
    anew: ClassVar[Mapping[str, str]] = {}

    rate: Share
    enabled: bool = False
    fault: Fault | type[Exception] | Callable[[], Exception] | None = None
    latency: Seconds = 0.0
    result: Any = NOT_GIVEN
    behaviour: Callable[[Call], Awaitable[Any]] | None = None
    ops: Sequence[str] = ()
    after: bool = False

    def __post_init__(self) -> None:
        check("Chaos", "rate", self.rate, least=0, most=1)
        check("Chaos", "latency", self.latency, least=0)
        for name in ("enabled", "after"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"Chaos: {name} is {getattr(self, name)!r}, must be true or false")
        if not self.what:
            raise ConfigError("Chaos: nothing is injected; give fault, latency, result or behaviour")
        if self.fault is not None and self.result is not NOT_GIVEN:
            raise ConfigError("Chaos: give either fault or result, so that there is one outcome")
        self._maker()
        if self.behaviour is not None and not callable(self.behaviour):
            raise ConfigError(f"Chaos: behaviour is {self.behaviour!r}, must be a coroutine function of the call")
        ops: Any = self.ops
        if isinstance(ops, str) or not isinstance(ops, Collection) or not all(isinstance(name, str) for name in ops):
            raise ConfigError(f"Chaos: ops is {self.ops!r}, must be a list of operation names")

    @property
    def what(self) -> str:
        """What a strike does, for the log and the span: ``"latency + fault"``."""
        given = {
            "behaviour": self.behaviour is not None,
            "latency": self.latency > 0,
            "fault": self.fault is not None,
            "result": self.result is not NOT_GIVEN,
        }
        return " + ".join(name for name, present in given.items() if present)

    def _maker(self) -> Callable[[], Exception] | None:
        fault = self.fault
        if isinstance(fault, Fault):
            return _FAULTS[fault.error]
        if isinstance(fault, type):
            try:
                sample: object = fault()
            except Exception as error:
                raise ConfigError(f"Chaos: fault {fault.__name__} cannot be made without arguments ({error})") from None
            if not isinstance(sample, Exception):
                raise ConfigError(f"Chaos: fault is {fault!r}, must be a subclass of Exception")
        elif fault is not None and not callable(fault):
            raise ConfigError(f"Chaos: fault is {fault!r}, must be an exception class or a function that makes one")
        return fault

    def adjust(self, state: Switch, before: Any) -> None:
        state.become(self, before)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        switch = kit.keep("chaos", self, lambda: Switch(self, kit))
        dice, ops, after, what = kit.rng.random, frozenset(self.ops), self.after, self.what
        behaviour, latency, make, result = self.behaviour, self.latency, self._maker(), self.result

        async def strike(call: Call) -> Any:
            switch.struck += 1
            call.attempt.notes["chaos"] = f"{what}, after the call" if after else what
            answer = await next(call) if after else NOT_GIVEN
            if behaviour is not None:
                await behaviour(call)
            if latency > 0:
                await asyncio.sleep(latency)
            if make is not None:
                raise make() if after else _unsent(make())
            if result is not NOT_GIVEN:
                return result
            return answer if after else await next(call)

        async def run(call: Call) -> Any:
            if switch.on and (not ops or call.op.name in ops) and dice() < switch.rate:
                return await strike(call)
            return await next(call)

        return run


def _unsent(error: Exception) -> Exception:
    """Let the error say that nothing was sent, unless it speaks for itself: it is not UNKNOWN then."""
    if not hasattr(error, "sent"):
        with suppress(AttributeError):
            error.sent = False  # type: ignore[attr-defined]  # read by Kit.judge
    return error
