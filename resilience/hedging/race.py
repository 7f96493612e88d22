"""The branches of one hedged call: which of them decides, when one more is sent, and what becomes of the losers.

Each runs in a task of its own. The surprising part is how careful it has to be with them: a loser that does not end is
remembered, since asyncio itself does not keep a task alive; and no frame keeps a task, since a task and the error with
which it ended, raised through that frame, would be a cycle.
"""

from __future__ import annotations

import asyncio
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias

from ..call import Call, Handler
from ..kit import Kit
from ..retrying.budget import Budgets
from ..units import quantile
from ..verdict import Kind
from .patience import Patience

if TYPE_CHECKING:
    from ..policies.hedge import Hedge

__all__ = ["Hedges", "Race", "Terms"]

_GRACE = 1.0  # seconds that the losers get to end after they were cancelled
_MOST_OPS = 1000  # whose latency is told apart; all others have one in common
_RANKS = {Kind.FAILED: 1, Kind.THROTTLED: 2, Kind.UNKNOWN: 3}  # which error is the truth if every branch failed

Branch: TypeAlias = "asyncio.Task[Any]"


class Hedges:
    """What outlives a call: each operation's latency, and the losers that have not ended in time."""

    def __init__(self, policy: Hedge) -> None:
        self.left_behind: set[Branch] = set()  # asyncio itself does not keep a task alive
        self._begin(policy)

    def _begin(self, policy: Hedge) -> None:
        self._policy = policy
        self._quantile = quantile(policy.delay) if isinstance(policy.delay, str) else None
        self._patience: dict[str, Patience] = {}

    def become(self, policy: Hedge) -> None:
        """Follow another policy. What was measured stays, unless it was measured for another delay."""
        old = self._policy
        if (policy.delay, policy.initial, policy.least) != (old.delay, old.initial, old.least):
            self._begin(policy)

    def patience(self, op: str) -> Patience | None:
        """The operation's; None where the delay is fixed."""
        if self._quantile is None:
            return None
        found = self._patience.get(op)
        if found is None:
            op = op if len(self._patience) < _MOST_OPS else ""
            found = self._patience.get(op) or Patience(self._quantile, self._policy.initial, self._policy.least)
            self._patience[op] = found
        return found

    def leave(self, loser: Branch) -> None:
        """Keep one that does not end alive until it does."""
        self.left_behind.add(loser)
        loser.add_done_callback(self.left_behind.discard)

    def status(self) -> dict[str, Any]:
        """How many losers were left behind and still run; the present delay in seconds, of each op if measured."""
        delays = {op: patience.seconds for op, patience in self._patience.items()}
        return {"left_behind": len(self.left_behind), "delay": delays if self._quantile else self._policy.delay}


class Terms:
    """What all calls of one hedge have in common, looked up when it is bound."""

    __slots__ = ("budgets", "hedges", "kit", "next", "policy", "tells")

    def __init__(
        self, policy: Hedge, kit: Kit, next: Handler, hedges: Hedges, budgets: Budgets | None, tells: bool
    ) -> None:
        self.policy, self.kit = policy, kit
        self.next = next if iscoroutinefunction(next) else _awaiting(next)
        self.hedges, self.budgets, self.tells = hedges, budgets, tells


class Race:
    """The branches of one call."""

    def __init__(self, terms: Terms, call: Call) -> None:
        self._terms = terms
        self._call = call
        self._patience = patience = terms.hedges.patience(call.op.name)
        self._delay: Any = terms.policy.delay if patience is None else patience.seconds
        self._left = terms.policy.extra
        self._began: float
        self._due: float
        self._charged = 0
        self._won = False
        self._branches: dict[Branch, Call] = {}
        self._first: Branch | None = None
        self._worst: tuple[int, Branch, Call] | None = None

    async def run(self) -> Any:
        try:
            return (await self._decided()).result()
        finally:
            await self._end()

    async def _decided(self) -> Branch:
        """The branch whose outcome is the call's."""
        self._began = self._terms.kit.now()
        self._start(self._call.copy())
        self._first = next(iter(self._branches))
        while True:
            wait = max(0.0, self._due - self._terms.kit.now()) if self._left else None
            done, _ = await asyncio.wait(self._branches, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._hedge()
            for branch in sorted(done, key=lambda branch: self._branches[branch].attempt.number):
                decisive = self._ended(branch)
                if decisive is not None:
                    return decisive

    def _start(self, call: Call) -> None:
        self._due = self._terms.kit.now() + self._delay  # the next send, whatever the branches meet until then
        branch = asyncio.ensure_future(self._terms.next(call))
        branch.add_done_callback(_seen)
        self._branches[branch] = call

    def _hedge(self) -> None:
        """Send once more, if that is within the budget."""
        self._left -= 1
        call, budgets = self._call, self._terms.budgets
        if budgets is not None:
            self._charged = budgets.take(call, throttled=False)
            if self._terms.kit.emit is not None:
                call.attempt.notes["budget.balance"] = budgets.balance(call)
            if not self._charged:
                self._left = 0
                call.attempt.notes["hedge_stopped"] = "budget_spent"
                return
        self._start(call.again("hedge"))

    def _ended(self, branch: Branch) -> Branch | None:
        """Weigh what a branch met. The one whose outcome is the call's, if that is decided."""
        call = self._branches.pop(branch)
        error = asyncio.CancelledError() if branch.cancelled() else branch.exception()
        if error is None:
            self._earned()
            return self._winner(branch, call)
        if not isinstance(error, Exception):
            return self._decisive(branch, call)
        verdict = self._terms.kit.judge(error, call)
        if verdict is not None and verdict.kind is Kind.REJECTED:
            return self._winner(branch, call)
        if verdict is None or verdict.kind is Kind.THROTTLED:
            self._left = 0
        rank = 0 if verdict is None else _RANKS[verdict.kind]
        if self._worst is None or rank >= self._worst[0]:
            self._worst = (rank, branch, call)
        if self._branches:
            return None
        return self._decisive(*self._worst[1:])

    def _winner(self, branch: Branch, call: Call) -> Branch:
        self._won = True
        if self._patience is not None and (branch is self._first or self._first in self._branches):
            now = self._terms.kit.now()
            self._patience.add(now - self._began, now)
        return self._decisive(branch, call)

    def _decisive(self, branch: Branch, call: Call) -> Branch:
        """Its attempt is what the policies above look at; until then, the one from which on all are this race's."""
        self._call.attempt = call.attempt
        return branch

    def _earned(self) -> None:
        budgets = self._terms.budgets
        if budgets is not None and budgets.earns and (self._charged or self._terms.tells):
            budgets.succeeded(self._call, self._charged)

    async def _end(self) -> None:
        """Cancel the losers and wait for them, so that nothing of theirs runs on after the call."""
        self._first = self._worst = None  # a task, and the error with which it ended and which is now being raised
        losers = self._branches
        if not losers:
            return
        for loser, call in losers.items():
            if self._won:
                call.attempt.lost = True
                call.attempt.notes["hedge"] = "lost"
            loser.cancel()
        try:
            await asyncio.wait(losers, timeout=_GRACE)
        finally:
            for loser in losers:
                if not loser.done():
                    self._terms.hedges.leave(loser)
            losers.clear()


def _awaiting(next: Handler) -> Handler:
    """As a coroutine function, so that what it raises at once is a branch's failure, and each has a task of its own."""

    async def run(call: Call) -> Any:
        return await next(call)

    return run


def _seen(branch: Branch) -> None:
    """A loser's error belongs to nobody: look at it, so that asyncio does not complain."""
    if not branch.cancelled():
        branch.exception()
