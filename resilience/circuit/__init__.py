"""The circuits of a breaker: aiobreaker's state machine, with the window, permits and clock that asyncio needs.

A state object is one generation, and it is the permit of every call that it admitted: a result is told to the state
that let the call in, and a state that has been left moves nothing.

aiobreaker 1.2.0 (pinned: its last release is of 2021) gives:
- `CircuitBreaker`: the circuit with its name, `fail_max` and listeners; `open`, `half_open`, `close` as manual control
- its three state classes, made by `_create_new_state`, and `CircuitBreakerState`, the vocabulary
- `CircuitBreakerStorage`, the place of state and counts; `CircuitBreakerError`, a base of `CircuitOpen`
- `CircuitBreakerListener`, the way to be told of changes, failures and successes

We replaced:
- a half-open state that admits everybody: at most `probes` at once, and a cancelled one gives its place back, as does
  one that never ends when its lease is over
- results that move a state in which they did not begin: generations
- the error of the tripping call: it raises its own
- UTC compared with local time: the event loop's clock decides, wall time is only shown
- exclusions that count as successes, or are called by mistake: the policy reads the verdict
- listeners that are told before the state stands, and whose errors undo it: told afterwards, errors logged
- the bare count of failures: windows of time and of count beside it, and slow calls before they end
- the fixed open time: one that grows while probes fail, or that the server asked for
- the Redis storage, whose every read blocks the loop: memory
- `call`, `call_async` and decorating, which silently bypass an outer breaker: a policy drives the circuit
"""

from __future__ import annotations

from .book import Circuits
from .circuit import Circuit, Rules
from .modes import Mode
from .permits import Bystander, Ticket
from .refusal import CircuitOpen
from .states import State

__all__ = ["Bystander", "Circuit", "CircuitOpen", "Circuits", "Mode", "Rules", "State", "Ticket"]
