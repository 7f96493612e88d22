"""Pool: one long-lived resource (a session, a connection) lent to every attempt, and renewed only when it is broken.

The resource goes in front of the guarded function's own arguments. Renewal is fenced by generation: fifty attempts that
fail together on one broken resource renew it once, and one that fails late, on the old one, renews nothing. The old
resource is closed when its last borrower has returned it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast

from ..caching.copies import copy_error
from ..call import Call, Handler
from ..errors import ConfigError, PoolExhausted, TimedOut
from ..events import StateChanged, Waiting
from ..kit import Kit
from ..matching import On, holds, matcher
from ..policy import Policy
from ..units import Name, Seconds, check

__all__ = ["Pool"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_log = logging.getLogger("resilience")
_UNSURE = "Pool: broken failed for %s; a ConnectionError condemns the resource, as by default"


class _Slot:
    """One generation of the resource, and how many attempts hold it."""

    __slots__ = ("holders", "loop", "resource", "retired")

    def __init__(self, resource: Any) -> None:
        self.resource = resource
        self.loop = asyncio.get_running_loop()
        self.holders = 0
        self.retired = False


class Lender:
    """The resource of the moment, and the numbers that the dashboard shows."""

    def __init__(self, pool: Pool[Any], kit: Kit) -> None:
        self._pool = pool
        self._kit = kit
        self._slot: _Slot | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._retired = False
        self.opened = self.renewed = self.active = self.waiting = self.requests = 0

    async def borrow(self, call: Call) -> _Slot:
        """A slot with one more holder. Opens the resource if there is none; `PoolExhausted` if that takes long."""
        slot = self._slot
        if slot is None or slot.loop is not asyncio.get_running_loop():
            slot = await self._wait(call)
        slot.holders += 1
        self.active += 1
        self.requests += 1
        return slot

    def give_back(self, slot: _Slot, broken: BaseException | None) -> None:
        """One holder less. `broken` is the error that condemns this generation, None if it is well."""
        slot.holders -= 1
        self.active -= 1
        if broken is not None and slot is self._slot:
            self._slot = None
            self.renewed += 1
            slot.retired = True
            if self._kit.emit is not None:
                cause = type(broken).__name__
                self._kit.emit(StateChanged("pool", self._pool.name, "open", "renewing", cause, self._kit.now()))
        if self._retired and slot.holders == 0:
            self.retire()
        if slot.retired and slot.holders == 0:
            slot.retired = False
            self._close_soon(slot)

    def become(self, pool: Pool[Any]) -> None:
        """Follow the policy in what may change while it lends."""
        self._pool = pool

    @property
    def closed(self) -> bool:
        """Whether it was retired, and nothing of it is open any more."""
        return self._retired and self._slot is None and not (self._closing or self.active or self.waiting)

    def retire(self) -> None:
        """Close the resource as soon as nobody holds it: nobody new will come.

        A call in flight may come back for one more attempt; then it is opened once more, and closed after that.
        """
        self._retired = True
        slot = self._slot
        if slot is not None and not slot.holders and not self.waiting and not slot.loop.is_closed():
            self._slot = None
            self._close_soon(slot)

    def _close_soon(self, slot: _Slot) -> None:
        task = slot.loop.create_task(self._close(slot), context=contextvars.Context())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _wait(self, call: Call) -> _Slot:
        """Wait for the resource. It may be broken again before we come to it: then the same wait goes on."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        most, remaining = self._pool.max_wait, None if call.deadline is None else max(0.0, call.deadline - begun)
        late = remaining is not None and (most is None or remaining < most)  # the deadline comes first
        limit = remaining if late else most
        if self._kit.emit is not None:
            self._kit.emit(Waiting(call, "pool", limit, begun))
        self.waiting += 1
        try:
            while (slot := self._slot) is None or slot.loop is not loop:
                left = None if limit is None else max(0.0, begun + limit - loop.time())
                if not await self._opened(loop, left):
                    if late:
                        raise TimedOut(limit, limit="deadline", queued=True)
                    raise PoolExhausted(f"{self._pool.name!r} was not open within {limit} s")
            return slot
        finally:
            self.waiting -= 1
            if self._retired:
                loop.call_soon(self.retire)  # whoever got it holds it by then
            waited = loop.time() - begun
            call.attempt.waited += waited
            notes = call.attempt.notes
            notes["wait.pool"] = notes.get("wait.pool", 0.0) + waited

    async def _opened(self, loop: asyncio.AbstractEventLoop, left: float | None) -> bool:
        """Wait for the one task that opens; whoever is cancelled meanwhile takes nobody else's resource away."""
        if self._opening is None or self._opening.get_loop() is not loop:
            self._opening = loop.create_task(self._open(), context=contextvars.Context())
            self._opening.add_done_callback(_seen)
        done, _ = await asyncio.wait((self._opening,), timeout=left)
        if not done:
            return False
        opening, error = done.pop(), None
        try:
            if opening.cancelled():  # not we: a cancellation that nobody asked for must not reach the caller
                raise PoolExhausted(f"the opening of {self._pool.name!r} was cancelled")
            error = opening.exception()
            if error is not None:
                raise error if self.waiting == 1 else copy_error(error)  # the last who waits may have the original
        finally:
            del opening, error  # they hold the error, whose traceback refers to this frame
        return True

    async def _open(self) -> None:
        try:
            resource = self._pool.open()
            if inspect.isawaitable(resource):
                resource = await resource
        finally:
            self._opening = None
        self.opened += 1
        self._slot = _Slot(resource)
        if self._retired:
            self.retire()

    async def _close(self, slot: _Slot) -> None:
        """Close one generation; an error of its own is logged, for nobody waits for it."""
        resource = slot.resource
        try:
            if self._pool.close is not None:
                outcome = self._pool.close(resource)
            else:
                close = getattr(resource, "aclose", None) or getattr(resource, "close", None)
                outcome = close() if callable(close) else None
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            _log.exception("closing a resource of pool %r failed", self._pool.name)

    async def aclose(self) -> None:
        """Close the resource, and wait for the old ones that are still being closed."""
        if self._opening is not None:
            await asyncio.wait((self._opening,))
        slot, self._slot = self._slot, None
        if slot is not None:
            await self._close(slot)
        if self._closing:
            await asyncio.wait(set(self._closing))

    def status(self) -> dict[str, Any]:
        report = getattr(self._slot.resource, "status", None) if self._slot is not None else None
        return {
            "active": self.active,
            "waiting": self.waiting,
            "opened": self.opened,
            "renewed": self.renewed,
            "requests": self.requests,
            **(report() if callable(report) else {}),
        }


def _seen(task: asyncio.Task[None]) -> None:
    """Everybody who waited may have been cancelled: then nobody else looks at the error."""
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True, slots=True)
class Pool(Policy, Generic[R]):
    """Lend what `open` makes to every attempt, as the first positional argument of what is guarded.

    `open` takes nothing and returns the resource or an awaitable of it. `close` takes the resource; left out, its own
    ``aclose()`` or ``close()`` is called. `broken` says which errors (types, names or a predicate) condemn the resource
    itself rather than the request; by default a `ConnectionError`, such as "Cannot write to closing transport".
    `max_wait`: seconds that an attempt waits for the opening, then `PoolExhausted`.
    """

    lends: ClassVar[bool] = True
    keeps: ClassVar[str] = "what it lends, which stays open"
    anew: ClassVar[Mapping[str, str]] = {
        "open": "another resource is opened; the old one is closed when its last borrower is back",
        "close": "another resource is opened; the old one is closed when its last borrower is back",
        "name": "another resource is lent; the old one is closed when its last borrower is back",
    }

    open: Callable[[], R | Awaitable[R]]
    name: Name = field(kw_only=True)
    close: Callable[[R], Any] | None = field(default=None, kw_only=True)
    broken: On = field(default=ConnectionError, kw_only=True)
    max_wait: Seconds | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.open):
            raise ConfigError(f"Pool: open is {self.open!r}, must be a function that makes the resource")
        name: object = self.name
        if not isinstance(name, str) or not name:
            raise ConfigError(f"Pool: name is {name!r}, must be a text that says what is lent")
        if self.close is not None and not callable(self.close):
            raise ConfigError(f"Pool: close is {self.close!r}, must be a function of what is lent")
        matcher("Pool", self.broken)
        if self.max_wait is not None:
            check("Pool", "max_wait", self.max_wait, least=0)

    def __call__(  # type: ignore[override]  # a pool takes the first argument away
        self, fn: Callable[Concatenate[R, P], Awaitable[T]]
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        return cast("Callable[P, Coroutine[Any, Any, T]]", Policy.__call__(self, fn))

    def adjust(self, state: Lender, before: Any) -> None:
        state.become(self)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        lender = kit.keep("pool", self, lambda: Lender(self, kit), shared=self.name)
        is_broken = matcher("Pool", self.broken)

        async def run(call: Call) -> Any:
            slot = await lender.borrow(call)
            condemned: BaseException | None = None
            lent = call.lent
            call.lent = (*lent, slot.resource)
            try:
                return await next(call)
            except Exception as exc:
                if is_broken is not None and holds(
                    is_broken, exc, unsure=isinstance(exc, ConnectionError), told=_UNSURE
                ):
                    condemned = exc
                raise
            finally:
                call.lent = lent
                lender.give_back(slot, condemned)
                del condemned

        return run
