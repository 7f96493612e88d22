"""An observer that keeps what it is told, and answers the questions that tests ask."""

from __future__ import annotations

from typing import Any, TypeVar

from ..events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, StateChanged, Waiting

__all__ = ["Recorder"]

E = TypeVar("E")


class Recorder:
    """Pass it to ``Pipeline(..., observers=(recorder,))`` or ``pipeline.observe(recorder)``."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def calls(self) -> list[CallEnded]:
        return self.of(CallEnded)

    @property
    def attempts(self) -> list[AttemptEnded]:
        return self.of(AttemptEnded)

    @property
    def waits(self) -> list[Waiting]:
        return self.of(Waiting)

    @property
    def changes(self) -> list[StateChanged]:
        return self.of(StateChanged)

    def balanced(self) -> bool:
        """Whether every call and every attempt that was started has ended, once."""
        pairs: list[tuple[type[Any], type[Any]]] = [(CallStarted, CallEnded), (AttemptStarted, AttemptEnded)]
        return all(len(self.of(start)) == len(self.of(end)) for start, end in pairs)
