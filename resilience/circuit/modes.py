"""What the mode of a breaker makes of a call at the door of a circuit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..call import Call
from .permits import Bystander, Ticket
from .refusal import CircuitOpen

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["GATES", "Mode"]

Mode: TypeAlias = Literal["normal", "forced_open", "disabled", "shadow"]

_DISABLED = Bystander("disabled")


def _forced_open(circuit: Circuit, call: Call) -> Ticket:
    """Refuse everybody."""
    raise CircuitOpen(circuit.key, None, "forced_open")


def _disabled(circuit: Circuit, call: Call) -> Ticket:
    """Admit everybody, and learn nothing."""
    return _DISABLED


def _shadow(circuit: Circuit, call: Call) -> Ticket:
    """Admit everybody, and count whom the circuit would have refused; from those it learns nothing, as if it had."""
    try:
        return circuit._state.enter(call)
    except CircuitOpen as refusal:
        circuit.would_refuse += 1
        return Bystander(refusal.state)


GATES: dict[str, Callable[[Circuit, Call], Ticket]] = {
    "forced_open": _forced_open,
    "disabled": _disabled,
    "shadow": _shadow,
}
"""By mode; ``"normal"`` needs none: the state itself decides."""
