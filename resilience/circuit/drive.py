"""How a call goes through a circuit: the inside of a breaker's handler, in three forms that cost what each must.

What an error means to the circuit is not decided here: the policy hands in `settle`, which ends a permit by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..call import Call, Handler
from .book import Circuits
from .circuit import Circuit
from .permits import Bystander, Ticket
from .refusal import CircuitOpen

__all__ = ["NO_KEY", "Find", "Settle", "drive_keyed", "drive_one", "drive_watched", "finder"]

NO_KEY = "default"
_AFTER_OPENING = ("open", "half-open")

Find: TypeAlias = Callable[[Call], Circuit]
Settle: TypeAlias = Callable[[Ticket, Call, Exception], None]


def finder(circuits: Circuits, key: str | Callable[[Call], str] | None) -> Find:
    """Which circuit a call concerns."""
    if key is None:
        only = circuits[NO_KEY]
        return lambda call: only
    if callable(key):
        return lambda call: circuits[str(key(call))]
    return lambda call: circuits[call.keys.get(key, NO_KEY)]


def drive_one(next: Handler, circuit: Circuit, settle: Settle, now: Callable[[], float]) -> Handler:
    """For the one circuit that nobody observes: what a calm one does stands here, in the caller's own frame."""
    window, store = circuit.store.window, circuit.store

    async def run(call: Call) -> Any:
        permit: Any = circuit.calm
        if permit is None:
            permit = circuit.enter(call)
        else:
            permit.busy += 1
        try:
            result = await next(call)
        except Exception as exc:
            settle(permit, call, exc)
            raise
        except BaseException:
            permit.give_back()
            raise
        if circuit.calm is permit:  # it still is, so nobody has changed its state meanwhile
            permit.busy -= 1
            at = now()
            if at >= window.ends:
                window.turn(at)
            window.calls += 1
            store.counter = 0
        else:
            permit.ok()
        return result

    return run


def drive_keyed(next: Handler, find: Find, settle: Settle) -> Handler:
    """For circuits by key that nobody observes."""

    async def run(call: Call) -> Any:
        circuit = find(call)
        permit: Any = circuit.calm
        if permit is None:
            permit = circuit.enter(call)
        else:
            permit.busy += 1
        try:
            result = await next(call)
        except Exception as exc:
            settle(permit, call, exc)
            raise
        except BaseException:
            permit.give_back()
            raise
        permit.ok()
        return result

    return run


def drive_watched(next: Handler, find: Find, settle: Settle, now: Callable[[], float], noted: bool) -> Handler:
    """Where somebody observes, who is told of the state, or where a hedge lies above, whose losers teach nothing."""
    enter = _entered_and_noted if noted else _entered

    async def run(call: Call) -> Any:
        circuit, attempt = find(call), call.made or call.attempt
        permit: Any = circuit.calm
        if permit is None or attempt.noted is not None:
            permit = enter(circuit, call)
        else:  # one store instead of two notes in a dictionary, which are made of it for those who read them
            permit.busy += 1
            attempt.circuit = permit
        try:
            result = await next(call)
        except Exception as exc:
            opens = circuit.opens
            settle(permit, call, exc)
            if circuit.opens != opens:
                circuit.opened_by = attempt.mark()
            raise
        except BaseException:
            permit.give_back()
            raise
        if attempt.lost:
            permit.give_back()
        elif circuit.calm is permit:  # as in `drive_one`
            permit.busy -= 1
            store = circuit.store
            window, at = store.window, now()
            if at >= window.ends:
                window.turn(at)
            window.calls += 1
            store.counter = 0
        else:
            permit.ok()
        return result

    return run


def _entered(circuit: Circuit, call: Call) -> Ticket:
    return circuit.enter(call)


def _entered_and_noted(circuit: Circuit, call: Call) -> Ticket:
    """Let the call in, and write down which state decided, in which generation."""
    notes = call.attempt.notes
    try:
        permit = circuit.enter(call)
    except CircuitOpen as refusal:
        state = refusal.state
        raise
    else:
        state = circuit._state.label
        if type(permit) is Bystander:
            state = permit.state
            notes["breaker.would_refuse"] = circuit.mode == "shadow"
        return permit
    finally:
        notes["breaker.state"], notes["breaker.generation"] = state, circuit._state.generation
        if state in _AFTER_OPENING and circuit.opened_by is not None:
            call.attempt.link = ("opened_by", circuit.opened_by)
