"""A pipeline: policies linked once, in front of any coroutine function.

The surprising part is the **attempt boundary**. It lies directly beneath the innermost repeating policy (retry, hedge),
or at the top where none repeats; one attempt record and one span belong to each crossing. The call's deadline is
enforced there whenever no timeout lies beneath.
"""

from __future__ import annotations

import functools
import inspect
import random
from asyncio import get_running_loop
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from threading import get_ident
from typing import Any, ClassVar, ParamSpec, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from .ambient import deadline as _deadline
from .call import Call, Handler, Op
from .descriptor import describe
from .edges import leaf, observed_attempt, observed_call, until_deadline
from .errors import ConfigError
from .events import Around, Emit, fan_out
from .functions import name_of, opens_stream, signature_after
from .kit import Kit
from .linking import TO_NONE, Linked, linked, linked_to
from .orders import new_findings, warn
from .policy import Bindable, Guard, Policy
from .streams import Items, StreamHandler, held, stepped, streamed
from .streams import check as check_stream
from .streams import guard as guard_stream
from .streams import leaf as leaf_of_streams
from .verdict import Classify
from .verdict import classify as default_classify

__all__ = ["Pipeline", "fuse"]

P = ParamSpec("P")
S = TypeVar("S", bound=AsyncIterator[Any])
T = TypeVar("T")
Discover: TypeAlias = "staticmethod[[], Emit | None]"

H = TypeVar("H", Handler, StreamHandler)
_BindPolicy: TypeAlias = Callable[[Any, H, Kit], H]
_Adapt: TypeAlias = Callable[[H, Callable[[Handler], Handler]], H]

_UNKNOWN_OP = Op("call")


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
        _told: Sequence[Sequence[Bindable]] = (),  # parts of the policies, warned of when they were put together
    ) -> None:
        for policy in policies:
            if isinstance(policy, type) or not callable(getattr(policy, "bind", None)):
                raise ConfigError(f"pipeline {name!r}: {policy!r} is not a policy (an object with a bind method)")
        self.policies = policies
        self.name = name
        self.classify = classify
        self._observers = observers
        self._shared = shared
        self._seed = seed
        self._kit = Kit(name, classify, random.Random(seed), shared, scope)  # noqa: S311 (jitter, not secrets)
        self._linked: Linked = TO_NONE
        self._handler: Handler
        self._listening: tuple[Emit, ...] = ()
        self._streams: StreamHandler | None = None
        self._guards: dict[str, str] = {}  # what it decorates, which a reload must respect
        warn(new_findings(policies, _told), name)

    # -- the ways in ------------------------------------------------------------------------------------------

    async def run(self, fn: Callable[..., Awaitable[T]], /, *args: Any, op: Op | None = None, **kwargs: Any) -> T:
        """Call ``fn(*args, **kwargs)`` through the pipeline. Raises what the last attempt raised, or `Refused`."""
        if self._linked._thread_id != get_ident():
            self._link()
        result: T = await self._handler(Call(op or _UNKNOWN_OP, fn, args, kwargs, _deadline.get()))
        return result

    def stream(
        self, fn: Callable[..., AsyncIterator[T]], /, *args: Any, op: Op | None = None, **kwargs: Any
    ) -> AsyncGenerator[T, Any]:
        """The items of ``fn(*args, **kwargs)``, guarded. `fn` is called when the first one is asked for.

        Use it inside ``async with contextlib.aclosing(...)``, so that what it holds is given back when the loop is left
        early. Raises `ConfigError` if a policy means nothing between items (see `resilience.streams`).
        """
        check_stream(self.policies, fn, name_of(fn))
        return streamed(Call(op or _UNKNOWN_OP, fn, args, kwargs), self._open)  # type: ignore[arg-type]

    def guard(self, op: Op | None = None) -> Guard:
        """A decorator that also tells what is true of every call: ``@market.guard(Op("ticker", idempotent=True))``."""
        return functools.partial(self._wrap, op=op)

    @overload
    def __call__(self, fn: Callable[P, S]) -> Callable[P, S]: ...

    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Guard a coroutine function, or an async generator function; its signature and return type stay."""
        guarded: Callable[..., Any] = self._wrap(fn, None)
        return guarded

    async def send(self, call: Call) -> Any:
        """Run a call that an adapter made itself, with its operation and its keys. The ambient deadline applies."""
        ambient = _deadline.get()
        if ambient is not None and (call.deadline is None or ambient < call.deadline):
            call.deadline = ambient
        if self._linked._thread_id != get_ident():
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
        self._linked = TO_NONE  # the next call links anew

    def unobserve(self, *observers: Emit) -> None:
        """Tell these nothing any more, from the next call on."""
        self._observers = tuple(one for one in self._observers if not any(one is other for other in observers))
        self._linked = TO_NONE

    @property
    def observers(self) -> tuple[Emit, ...]:
        """Who is told, in order."""
        return self._observers

    def describe(self) -> dict[str, Any]:
        """What it is, as plain data: settings that are not the default; `attempt` policies lie above the boundary."""
        policies = [describe(policy) for policy in self.policies]
        return {"name": self.name, "policies": policies, "attempt": self._boundary()}

    async def aclose(self) -> None:
        """Release what the policies hold open (pools). The pipeline can be used again; pools open anew."""
        for state in list(self._kit.states.values()):  # a reload may come while one is closing
            if hasattr(state, "aclose"):
                await state.aclose()

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __add__(self, other: Bindable | Pipeline) -> Pipeline:
        """These policies outside, the others inside. States of their own are made anew; what is shared stays shared.

        Name, classify, seed, and what is shared are those of the pipeline that has them, the outer one's where both do.
        Raises `ConfigError` where both say what errors mean, or share with others, and not the same.
        """
        if not isinstance(other, Pipeline):
            return self._copy(self.name, *self.policies, other)
        names = f"{self.name or 'the outer pipeline'!r} and {other.name or 'the inner one'!r}"
        if default_classify not in (self.classify, other.classify) and self.classify != other.classify:
            raise ConfigError(f"{names} differ in what errors mean (classify); say it in one Pipeline(...)")
        if None not in (self._shared, other._shared) and self._shared is not other._shared:
            raise ConfigError(f"{names} share pools and limits with different pipelines; say it in one Pipeline(...)")
        owner = other if self._shared is None else self
        return Pipeline(
            *self.policies, *other.policies, name=self.name or other.name,
            classify=other.classify if self.classify is default_classify else self.classify,
            observers=tuple(dict.fromkeys((*self._observers, *other._observers))),
            seed=other._seed if self._seed is None else self._seed,
            shared=owner._shared, scope=owner._kit.scope, _told=(self.policies, other.policies),
        )  # fmt: skip

    def _copy(self, name: str, *policies: Bindable) -> Pipeline:
        """The same under another name, with states of its own; with other policies, if any are given."""
        return Pipeline(
            *(policies or self.policies), name=name, classify=self.classify, observers=self._observers, seed=self._seed,
            shared=self._shared, scope=self._kit.scope, _told=(self.policies,),
        )  # fmt: skip

    def become(
        self, policies: Sequence[Bindable], states: Mapping[str, Any], kept: Mapping[str, tuple[str, object, bool]]
    ) -> None:
        """Be these policies from the next call on, with these states; calls in flight end on what they began with.

        `kept` is what a link would note in `Kit.kept`, for a reload that comes before the next call.
        """
        self.policies = tuple(policies)
        self._kit.states.clear()
        self._kit.states.update(states)
        self._kit.kept.clear()
        self._kit.kept.update(kept)
        self._linked = TO_NONE

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
        self._listening = self._observers if found is None else (*self._observers, found)
        self._kit.link(get_running_loop(), fan_out(self._listening))
        self._handler = self._fold(leaf, _bind, _call, _call)
        self._streams = None
        self._linked = linked_to(self._kit.loop)
        linked.add(self)

    def _open(self, call: Call) -> Items:
        """Open a stream through the policies, which are bound for streams when the first one is opened."""
        if self._linked._thread_id != get_ident():
            self._link()
        if self._streams is None:
            self._kit.link(self._kit.loop, self._kit.emit)  # the same states, found by the same names
            self._streams = self._fold(leaf_of_streams, _bind_stream, held, stepped)
        call.deadline = _deadline.get()
        return self._streams(call)

    def _fold(self, handler: H, bind: _BindPolicy[H], whole: _Adapt[H], step: _Adapt[H]) -> H:
        """Put everything around `handler`, from the inside out: the policies, the observers, who enforces the deadline.

        `whole` puts what is made for calls around the whole of one, `step` around all that takes time; which for a
        stream are not the same.
        """
        kit, observers = self._kit, self._listening
        around = [observer for observer in reversed(observers) if isinstance(observer, Around)]  # the first outermost
        around.sort(key=lambda observer: not getattr(observer, "innermost", False))
        told = fan_out([observer for observer in observers if not isinstance(observer, Around)])
        as_call = [_with(observer.around_call, kit) for observer in around]
        if told is not None:
            as_call.insert(0, _with(observed_call, kit, told))
        kit.as_call = lambda next: functools.reduce(_call, as_call, next)
        bound = self._boundary()
        arm = max(bound, *(i + 1 for i, policy in enumerate(self.policies) if _has(policy, "sets_deadline")), 0)
        armed = any(_has(policy, "enforces_deadline") for policy in self.policies[arm:])
        for position in range(len(self.policies), -1, -1):  # position: how many policies lie above
            if position == arm and not armed:
                handler = step(handler, until_deadline)
            if position == bound:
                handler = handler if told is None else whole(handler, _with(observed_attempt, kit, told))
                for observer in around:
                    handler = whole(handler, _with(observer.around_attempt, kit))
            if position > 0:
                kit.branches = any(_has(policy, "branches") for policy in self.policies[: position - 1])
                handler = bind(self.policies[position - 1], handler, kit)
        return functools.reduce(whole, as_call, handler)

    def _wrap(self, fn: Any, op: Op | None) -> Any:
        if isinstance(fn, (staticmethod, classmethod)):
            return type(fn)(self._wrap(fn.__func__, op))
        name, streams = name_of(fn), opens_stream(fn)
        if streams:
            check_stream(self.policies, fn, name)
            self._guards.setdefault("streams", name)
        if op is None and self.classify is default_classify:
            self._guards.setdefault("blind", name)
            for policy in self.policies:
                problem = policy.unsafe() if isinstance(policy, Policy) else None
                if problem:
                    raise ConfigError(f"{name}: {problem}")
        known = op or Op(name)
        guarded: Any = guard_stream(fn, known, self._open) if streams else self._guarded(fn, known)
        guarded.pipeline = self
        guarded.op = op  # None where nothing was said of it
        lent = sum(bool(getattr(policy, "lends", False)) for policy in self.policies)
        if lent:
            guarded.__signature__ = signature_after(fn, lent)
        return guarded

    def _guarded(self, fn: Callable[P, Awaitable[T]], known: Op) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(fn)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if self._linked._thread_id != get_ident():
                self._link()
            result: T = await self._handler(Call(known, fn, args, kwargs, _deadline.get()))
            return result

        return guarded


_fused: WeakKeyDictionary[Any, tuple[Any, tuple[Policy, ...]]] = WeakKeyDictionary()
"""What `fuse` made: the function inside, and the policies around it. (An attribute would be copied by `wraps`.)"""


def fuse(policy: Policy, fn: Any) -> Any:
    """Guard `fn` with a bare policy; a stack of bare policies becomes one pipeline, the last applied outermost."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(fuse(policy, fn.__func__))
    inside, beneath = _fused.get(fn, (fn, ())) if inspect.isfunction(fn) else (fn, ())
    stack = (policy, *beneath)
    guarded = Pipeline(*stack, name=getattr(inside, "__qualname__", ""), _told=(beneath,))._wrap(inside, None)
    _fused[guarded] = (inside, stack)
    return guarded


def _bind(policy: Bindable, next: Handler, kit: Kit) -> Handler:
    return policy.bind(next, kit)


def _bind_stream(policy: Any, next: StreamHandler, kit: Kit) -> StreamHandler:
    handler: StreamHandler = policy.bind_stream(next, kit)
    return handler


def _call(next: Handler, around: Callable[[Handler], Handler]) -> Handler:
    """Around a call, which is one step from its beginning to its end."""
    return around(next)


def _with(bind: Callable[..., Handler], *what: Any) -> Callable[[Handler], Handler]:
    return lambda next: bind(next, *what)


def _has(policy: object, flag: str) -> bool:
    return bool(getattr(policy, flag, False))
