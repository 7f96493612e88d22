"""What a call holds while it is under way, where the state that admitted it does not do.

A plain closed circuit needs none of this: its state object is the permit of all its calls. Where the age of a call
matters (a probe has a lease, a slow call is one before it ends) each has a `Permit`. A call that only the mode of the
breaker let pass is a `Bystander`, of whose end nobody learns.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Bystander", "Flights", "Holder", "Permit", "Ticket"]


class Ticket(Protocol):
    """What an admitted call ends with, in exactly one of three ways."""

    def ok(self) -> None:
        """The target answered."""

    def bad(self, error: Exception, retry_after: float | None = None) -> None:
        """The target is sick. `retry_after`: when to come back, in seconds, if it said so."""

    def give_back(self) -> None:
        """Nobody learned anything: cancelled, throttled, refused beneath, or lost to another branch of a hedge."""


class Holder(Protocol):
    """A state whose calls hold permits."""

    def take_back(self, permit: Permit) -> bool | None:
        """Whether this call was slow; None if its permit is void, so that its end moves nothing."""

    def ok(self, slow: bool = False) -> None: ...
    def bad(self, error: Exception, retry_after: float | None = None, slow: bool = False) -> None: ...
    def give_back(self) -> None: ...


class Permit:
    """The permit of one call, which `began` at this time of the loop's clock."""

    __slots__ = ("_holder", "began")

    def __init__(self, holder: Holder, began: float) -> None:
        self._holder = holder
        self.began = began

    def ok(self) -> None:
        slow = self._holder.take_back(self)
        if slow is not None:
            self._holder.ok(slow)

    def bad(self, error: Exception, retry_after: float | None = None) -> None:
        slow = self._holder.take_back(self)
        if slow is not None:
            self._holder.bad(error, retry_after, slow)

    def give_back(self) -> None:
        if self._holder.take_back(self) is not None:
            self._holder.give_back()


class Bystander:
    """Stands in for a permit that was not given. `state` is what a refusal would have said."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state

    def ok(self) -> None:
        pass

    def bad(self, error: Exception, retry_after: float | None = None) -> None:
        pass

    def give_back(self) -> None:
        pass


class Flights:
    """The calls under way, and how many of them are slow already.

    All become slow at the same age, hence in the order in which they began: to know who is costs one look at the first.
    """

    __slots__ = ("_limit", "_slow", "_young")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._young: dict[Permit, None] = {}
        self._slow: set[Permit] = set()

    def begin(self, holder: Holder, at: float) -> Permit:
        permit = Permit(holder, at)
        self._young[permit] = None
        return permit

    def slow(self, at: float) -> int:
        """How many of those under way have run for the limit or longer at `at`."""
        young = self._young
        while young:
            first = next(iter(young))
            if at - first.began < self._limit:
                break
            del young[first]
            self._slow.add(first)
        return len(self._slow)

    def end(self, permit: Permit, at: float) -> bool:
        """Forget one that has ended; whether it was slow."""
        if permit in self._slow:
            self._slow.remove(permit)
            return True
        self._young.pop(permit, None)  # not there after `clear`
        return at - permit.began >= self._limit

    def clear(self) -> None:
        """Forget them all: their ages were told by another clock."""
        self._young.clear()
        self._slow.clear()
