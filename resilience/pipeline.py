"""A pipeline: policies linked once, in front of any coroutine function.

The surprising part is the **attempt boundary**. It lies directly beneath the innermost repeating policy (retry, hedge),
or at the top where none repeats; one attempt record and one span belong to each crossing. The call's deadline is
enforced there whenever no timeout lies beneath.
"""

from __future__ import annotations

import functools
import inspect
import random
from asyncio import AbstractEventLoop, CancelledError, get_running_loop
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, ParamSpec, TypeAlias, TypeVar

from .ambient import deadline as _deadline
from .call import Call, Handler, Op, TakesCall
from .errors import ConfigError, TimedOut
from .events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Emit, fan_out
from .kit import Kit
from .policy import Bindable, Policy
from .timers import alarm
from .verdict import Classify
from .verdict import classify as default_classify

__all__ = ["Pipeline", "fuse", "within"]

P = ParamSpec("P")
T = TypeVar("T")
Discover: TypeAlias = "staticmethod[[], Emit | None]"

_UNKNOWN_OP = Op("call")


@contextmanager
def within(seconds: float) -> Iterator[float]:
    """An ambient deadline for every guarded call made inside; yields it (absolute, on the event loop's clock).

    Nested uses can only shorten it. Calls that are late raise `TimedOut`. Needs a running event loop.
    """
    at = get_running_loop().time() + seconds
    outer = _deadline.get()
    token = _deadline.set(at if outer is None else min(at, outer))
    try:
        yield at if outer is None else min(at, outer)
    finally:
        _deadline.reset(token)


class Pipeline:
    """Policies in order, outermost first, guarding whatever is run through them.

    `classify` says what errors mean (see `resilience.verdict`); `observers` are functions that take events; `seed`
    fixes the dice of jitter, for tests. Pipelines that are given the same `shared` dict have their pools and shared
    limits in common, the limits within one `scope` (an exchange, say). Raises `ConfigError` for what is no policy.
    """

    discover: ClassVar[Discover] = staticmethod(lambda: None)
    """Finds an observer that the application set up elsewhere; asked when a pipeline links. The package wires it."""

    def __init__(
        self,
        *policies: Bindable,
        name: str = "",
        classify: Classify = default_classify,
        observers: tuple[Emit, ...] = (),
        seed: int | None = None,
        shared: dict[str, Any] | None = None,
        scope: str = "",
    ) -> None:
        for policy in policies:
            if isinstance(policy, type) or not callable(getattr(policy, "bind", None)):
                raise ConfigError(f"pipeline {name!r}: {policy!r} is not a policy (an object with a bind method)")
        self.policies = policies
        self.name = name
        self.classify = classify
        self._observers = observers
        self._shared = shared
        self._kit = Kit(name, classify, random.Random(seed), shared, scope)  # noqa: S311 (jitter, not secrets)
        self._loop: AbstractEventLoop | None = None
        self._handler: Handler

    # -- the three ways in ------------------------------------------------------------------------------------

    async def run(self, fn: Callable[..., Awaitable[T]], /, *args: Any, op: Op | None = None, **kwargs: Any) -> T:
        """Call ``fn(*args, **kwargs)`` through the pipeline. Raises what the last attempt raised, or `Refused`."""
        if get_running_loop() is not self._loop:
            self._link()
        result: T = await self._handler(Call(op or _UNKNOWN_OP, fn, args, kwargs, _deadline.get()))
        return result

    def guard(self, op: Op | None = None) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """A decorator that also tells what is true of every call: ``@market.guard(Op("ticker", idempotent=True))``."""

        def decorate(fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            return self._wrap(fn, op)

        return decorate

    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Guard a coroutine function; its signature and return type stay."""
        return self._wrap(fn, None)

    async def send(self, call: Call) -> Any:
        """Run a call that an adapter made itself, with its operation and its keys. The ambient deadline applies."""
        ambient = _deadline.get()
        if ambient is not None and (call.deadline is None or ambient < call.deadline):
            call.deadline = ambient
        if get_running_loop() is not self._loop:
            self._link()
        return await self._handler(call)

    # -- what it is and how it stands -------------------------------------------------------------------------

    @property
    def states(self) -> Mapping[str, Any]:
        """What the policies keep across calls, by name: ``{"breaker": ..., "pool:rest": ...}``."""
        return self._kit.states

    def status(self) -> dict[str, Any]:
        """How the kept states stand now, as plain data."""
        return {key: state.status() for key, state in self._kit.states.items() if hasattr(state, "status")}

    def observe(self, *observers: Emit) -> None:
        """Tell these functions every event from the next call on."""
        self._observers += observers
        self._loop = None  # the next call links anew

    async def aclose(self) -> None:
        """Release what the policies hold open (pools). The pipeline can be used again; pools open anew."""
        for state in self._kit.states.values():
            if hasattr(state, "aclose"):
                await state.aclose()

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __add__(self, other: Bindable | Pipeline) -> Pipeline:
        """These policies outside, the others inside. Name, classify and what is shared stay; own state is made anew."""
        more = other.policies if isinstance(other, Pipeline) else (other,)
        return Pipeline(
            *self.policies, *more, name=self.name, classify=self.classify, observers=self._observers,
            shared=self._shared, scope=self._kit.scope,
        )  # fmt: skip

    def __repr__(self) -> str:
        title = f"Pipeline {self.name!r}" if self.name else "Pipeline"
        lines = [f"  {policy!r}" for policy in self.policies]
        lines.insert(self._boundary(), "  ---- one attempt ----")
        return "\n".join([title, *lines, "  -> the guarded function"])

    # -- linking ----------------------------------------------------------------------------------------------

    def _boundary(self) -> int:
        """How many policies lie above the attempt boundary."""
        return max((i + 1 for i, policy in enumerate(self.policies) if _has(policy, "repeats")), default=0)

    def _link(self) -> None:
        """Bind the policies to the running loop and to those who observe: first, and when either changes."""
        found = self.discover()
        emit = fan_out(self._observers if found is None else (*self._observers, found))
        kit = self._kit
        kit.link(get_running_loop(), emit)
        bound = self._boundary()
        arm = max(bound, *(i + 1 for i, policy in enumerate(self.policies) if _has(policy, "sets_deadline")), 0)
        armed = any(_has(policy, "enforces_deadline") for policy in self.policies[arm:])
        handler: Handler = _leaf
        for position in range(len(self.policies), -1, -1):  # position: how many policies lie above
            if position == arm and not armed:
                handler = _until_deadline(handler)
            if position == bound and emit is not None:
                handler = _observed_attempt(handler, kit, emit)
            if position > 0:
                handler = self.policies[position - 1].bind(handler, kit)
        self._handler = handler if emit is None else _observed_call(handler, kit, emit)
        self._loop = kit.loop

    def _wrap(self, fn: Callable[P, Awaitable[T]], op: Op | None) -> Callable[P, Coroutine[Any, Any, T]]:
        name = _check_coroutine(fn)
        if op is None and self.classify is default_classify:
            for policy in self.policies:
                problem = policy.unsafe() if isinstance(policy, Policy) else None
                if problem:
                    raise ConfigError(f"{name}: {problem}")
        known = op or Op(name)

        @functools.wraps(fn)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if get_running_loop() is not self._loop:
                self._link()
            result: T = await self._handler(Call(known, fn, args, kwargs, _deadline.get()))
            return result

        guarded.pipeline = self  # type: ignore[attr-defined]
        return guarded


def fuse(policy: Policy, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Guard `fn` with a bare policy; a stack of bare policies becomes one pipeline, the last applied outermost."""
    stack: tuple[Policy, ...] = (policy,)
    beneath = getattr(fn, "__policies__", None)
    if beneath is not None and inspect.isfunction(fn):
        stack += beneath
        fn = fn.__wrapped__  # type: ignore[attr-defined]
    guarded = Pipeline(*stack, name=getattr(fn, "__qualname__", ""))(fn)
    guarded.__policies__ = stack  # type: ignore[attr-defined]
    return guarded


def _check_coroutine(fn: Callable[..., Any]) -> str:
    """The function's name; raises `TypeError` for what cannot be awaited."""
    name: str = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    if inspect.isasyncgenfunction(fn) or inspect.isasyncgenfunction(getattr(fn, "__call__", None)):  # noqa: B004
        raise TypeError(f"{name} is an async generator; a pipeline guards the call that opens a stream, not its items")
    if not (inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))):  # noqa: B004
        raise TypeError(f"{name} is not a coroutine function: declare it with async def")
    return name


async def _leaf(call: Call) -> Any:
    """Beneath all policies: the call itself. A target that does not speak for itself counts as sent when called."""
    target, lent = call.target, call.lent
    if type(target) is TakesCall:
        return await target(call, *lent, *call.args, **call.kwargs)
    call.attempt.sent = True
    args = (*lent, *call.args) if lent else call.args
    kwargs = call.kwargs
    return await (target(*args, **kwargs) if kwargs else target(*args))


def _observed_attempt(next: Handler, kit: Kit, emit: Emit) -> Handler:
    """The attempt boundary: one event when an attempt begins, one when it ends, whatever happens."""
    now = kit.now

    async def run(call: Call) -> Any:
        emit(AttemptStarted(call, now()))
        try:
            result = await next(call)
        except BaseException as exc:
            verdict = kit.judge(exc, call) if isinstance(exc, Exception) else None
            emit(AttemptEnded(call, now(), exc, verdict))
            raise
        emit(AttemptEnded(call, now(), None, None))
        return result

    return run


def _has(policy: object, flag: str) -> bool:
    return bool(getattr(policy, flag, False))


def _until_deadline(next: Handler) -> Handler:
    """Enforce the call's deadline where no timeout beneath does."""

    async def run(call: Call) -> Any:
        deadline = call.deadline
        if deadline is None:
            return await next(call)
        expiry = alarm(get_running_loop(), deadline)
        try:
            return await next(call)
        except CancelledError:
            if not expiry.ours():
                raise
            raise TimedOut(expiry.granted, limit=expiry.limit, sent=call.attempt.sent) from None
        finally:
            expiry.end()

    return run


def _observed_call(next: Handler, kit: Kit, emit: Emit) -> Handler:
    """The top of an observed pipeline: one event when the call begins, one when it ends, whatever happens."""
    name, now = kit.name, kit.now

    async def run(call: Call) -> Any:
        emit(CallStarted(call, name, now()))
        try:
            result = await next(call)
        except BaseException as exc:
            verdict = kit.judge(exc, call) if isinstance(exc, Exception) else None
            emit(CallEnded(call, name, now(), exc, verdict))
            raise
        emit(CallEnded(call, name, now(), None, None))
        return result

    return run
