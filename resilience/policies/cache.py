"""Cache: an answer serves the calls of the same key for a while, and longer where the other side is slow or sick.

The words are those of HTTP caching: an answer is fresh for its time to live (RFC 9111), and a stale one may be served
while it is being renewed in the background, or in place of an error (RFC 5861). Only idempotent operations are cached,
and never an error.

The surprising part is what it leaves to others: of calls that miss together each goes down (`Coalesce` makes them one),
and a write does not make what was read before it stale (``pipeline.states["cache"].clear()`` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, ClassVar

from ..caching.shelf import Answer, Shelf
from ..call import Call, Handler
from ..keys import hashable, key_function
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, check
from ..verdict import Kind

__all__ = ["Cache"]


class Answers(Shelf):
    """The answers by key, the tasks that renew some of them, and the counts that the dashboard shows."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.refreshing: dict[Hashable, asyncio.Task[None]] = {}
        self.hits = self.misses = self.stale = self.passed = self.failed = 0

    def link(self, loop: asyncio.AbstractEventLoop) -> None:
        """In another event loop no task renews anything yet; those of the other are its own."""
        if loop is not self._loop:
            self.refreshing.clear()
        super().link(loop)

    def renew(self, key: Hashable, task: asyncio.Task[None]) -> None:
        """Hold a task that renews this key until it has ended."""
        self.refreshing[key] = task

        def ended(task: asyncio.Task[None]) -> None:
            if self.refreshing.get(key) is task:
                del self.refreshing[key]

        task.add_done_callback(ended)

    async def aclose(self) -> None:
        """Cancel the tasks that renew something, and wait for them. The answers stay."""
        here = asyncio.get_running_loop()
        tasks = [task for task in self.refreshing.values() if task.get_loop() is here]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def status(self) -> dict[str, Any]:
        """Answers kept; calls that hit, missed, were answered with a stale one, passed by; renewals now, and failed."""
        return {
            "size": len(self.answers),
            "hits": self.hits,
            "misses": self.misses,
            "stale": self.stale,
            "passed": self.passed,
            "refreshing": len(self.refreshing),
            "failed": self.failed,
        }


@dataclass(frozen=True, slots=True)
class Cache(Policy):
    """For `ttl` seconds after an answer arrived, it answers the calls of the same `key`; at most `most` keys are kept.

    For `stale_while_revalidate` seconds after that, the old answer still serves at once, and one call of its own renews
    it in the background, within as many seconds. For `stale_if_error` seconds after its time to live, it serves where
    the call is THROTTLED, FAILED, UNKNOWN or refused by us. A REJECTED is an answer: it is raised, and what was
    answered before is forgotten.

    `key` is a function of the `Call`; by default the same operation, function and arguments. Calls that may not happen
    twice pass through, and so do those whose key is None or cannot be hashed. Answers are shared: do not change them.
    """

    repeats: ClassVar[bool] = True  # a renewal is one more call of `next`
    sets_deadline: ClassVar[bool] = True  # on the calls that renew

    keeps: ClassVar[str] = "the answers, which the new times apply to as well"
    anew: ClassVar[Mapping[str, str]] = {"key": "its answers are kept by another key"}

    ttl: Seconds
    most: int = 1000
    stale_while_revalidate: Seconds = 0.0
    stale_if_error: Seconds = 0.0
    key: Callable[[Call], Hashable] | None = None

    def __post_init__(self) -> None:
        check("Cache", "ttl", self.ttl, above=0)
        check("Cache", "most", self.most, least=1, whole=True)
        check("Cache", "stale_while_revalidate", self.stale_while_revalidate, least=0)
        check("Cache", "stale_if_error", self.stale_if_error, least=0)
        key_function("Cache", self.key)

    def unsafe(self) -> str | None:
        return (
            "Cache() answers only what may safely be asked again: guard the function with an Op(..., idempotent=True) "
            "to say that it may"
        )

    def adjust(self, state: Answers, before: Any) -> None:
        state.resize(self.most)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        shelf = kit.keep("cache", self, lambda: Answers(self.most))
        shelf.link(kit.loop)
        ttl, now, key_of = self.ttl, kit.now, key_function("Cache", self.key)
        find, use = shelf.answers.get, shelf.answers.move_to_end
        look = _looking(self, next, kit, shelf)

        async def run(call: Call) -> Any:
            if not call.op.idempotent:
                return await next(call)
            key = key_of(call)
            try:
                answer = find(key)
            except TypeError:
                key = answer = None
            if answer is None or now() - answer.at >= ttl:
                return await look(call, key)
            shelf.hits += 1
            use(key)
            return answer.value

        async def observed(call: Call) -> Any:
            if not call.op.idempotent:
                return await next(call)
            return await look(call, hashable(key_of(call)))

        return run if kit.emit is None else observed


def _looking(policy: Cache, next: Handler, kit: Kit, shelf: Answers) -> Callable[[Call, Hashable], Awaitable[Any]]:
    """The whole of a lookup, with notes of what answered. A key of None is one that cannot be remembered."""
    now, answers, ttl, observed = kit.now, shelf.answers, policy.ttl, kit.emit is not None
    soon = ttl + policy.stale_while_revalidate  # the ages up to which an old answer serves
    most = ttl + policy.stale_if_error
    renew = _renewing(policy, next, kit, shelf)

    def serve(call: Call, key: Hashable, answer: Answer, age: float, why: str) -> Any:
        answers.move_to_end(key)
        last = call.attempts[-1]
        last.notes.update({"cache": why, "cache.age": age})
        if answer.mark is not None:
            last.link = ("filled_by", answer.mark)
        return answer.value

    async def look(call: Call, key: Hashable) -> Any:
        answer = answers.get(key)
        if answer is not None:
            age = now() - answer.at
            if age < ttl:
                shelf.hits += 1
                return serve(call, key, answer, age, "hit")
            if age <= soon and soon > ttl:
                shelf.stale += 1
                renew(call, key)
                return serve(call, key, answer, age, "stale-while-revalidate")
        if key is None:
            shelf.passed += 1
            return await next(call)
        shelf.misses += 1
        turn = shelf.turn()
        try:
            value = await next(call)
        except Exception as error:
            verdict = kit.judge(error, call)
            if verdict is not None and verdict.kind is Kind.REJECTED:
                shelf.drop(key, turn)
                raise
            answer = answers.get(key)  # what is there now
            age = most if answer is None else now() - answer.at
            if answer is None or age > most or most == ttl:
                raise
            shelf.stale += 1
            return serve(call, key, answer, age, "stale-if-error")
        shelf.put(key, value, now(), turn, call.attempt.mark() if observed else None)
        return value

    return look


def _renewing(policy: Cache, next: Handler, kit: Kit, shelf: Answers) -> Callable[[Call, Hashable], None]:
    """Begin to renew an answer in the background, in a call of its own, unless that is under way."""
    now, loop = kit.now, kit.loop
    ask = kit.as_call(next)  # a call that no pipeline was asked for

    async def fetch(call: Call, key: Hashable) -> None:
        turn = shelf.turn()
        mark = None if kit.emit is None else call.attempt.mark()  # before it ends, when its span is made
        try:
            value = await ask(call)
        except Exception as error:
            shelf.failed += 1
            verdict = kit.judge(error, call)
            if verdict is not None and verdict.kind is Kind.REJECTED:
                shelf.drop(key, turn)
        else:
            shelf.put(key, value, now(), turn, mark)

    def renew(call: Call, key: Hashable) -> None:
        if key in shelf.refreshing:
            return
        again = Call(call.op, call.target, call.args, call.kwargs, now() + policy.stale_while_revalidate, call.keys)
        again.lent = call.lent
        shelf.renew(key, loop.create_task(fetch(again, key), context=Context()))  # nobody's span, nobody's deadline

    return renew
