"""What may be changed from the page, where enabled: a circuit is isolated, closed or probed; chaos goes on or off.

Nothing is made here: a circuit that does not exist yet is not found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from ..errors import ConfigError
from .tally import Tally

__all__ = ["ControlError", "control"]

_log = logging.getLogger("resilience")
_BY = "from the dashboard"


class ControlError(Exception):
    """It cannot be done; the text is one line, `status` the code of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Circuit(msgspec.Struct, forbid_unknown_fields=True):
    action: Literal["isolate", "close", "half_open"]
    pipeline: str
    key: str


class _Chaos(msgspec.Struct, forbid_unknown_fields=True):
    action: Literal["chaos"]
    pipeline: str
    enabled: bool
    rate: float | None = None
    name: str | None = None


class _Action(msgspec.Struct):
    action: Literal["isolate", "close", "half_open", "chaos"]


def control(body: bytes, tallies: Iterable[Tally]) -> None:
    """Do what the JSON of a request says. Raises `ControlError` (400 for what it does not say well, 404, 409)."""
    try:
        wish: _Circuit | _Chaos
        if msgspec.json.decode(body, type=_Action).action == "chaos":
            wish = msgspec.json.decode(body, type=_Chaos)
        else:
            wish = msgspec.json.decode(body, type=_Circuit)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(400, f"not understood: {error}") from None
    mine = [tally for tally in tallies if tally.pipeline.name == wish.pipeline]
    if not mine:
        raise ControlError(404, "no pipeline of this process has that name")
    done = _chaos(wish, mine) if isinstance(wish, _Chaos) else _circuit(wish, mine)
    if not done:
        what = "no chaos" if isinstance(wish, _Chaos) else "no circuit of that key (one appears with its first call)"
        raise ControlError(404, f"the pipeline has {what}")


def _states(tallies: Iterable[Tally], kind: str, name: str | None = None) -> Iterator[tuple[Tally, Any]]:
    for tally in tallies:
        for key, state in list(tally.pipeline.states.items()):
            if key.partition(":")[0].partition("#")[0] == kind and name in (None, key):
                yield tally, state


def _circuit(wish: _Circuit, tallies: Iterable[Tally]) -> int:
    done = 0
    for tally, circuits in _states(tallies, "breaker"):
        if wish.key not in circuits:
            continue
        circuit = circuits[wish.key]
        done += 1
        _log.warning("circuit %r of pipeline %r: %s %s", wish.key, wish.pipeline, wish.action, _BY)
        if wish.action == "isolate":
            if circuit.mode != "forced_open":
                tally.changed("breaker", wish.key, circuit.state.label, "forced open", _BY)
                circuit.switch("forced_open")
            continue
        if circuit.mode == "forced_open":
            tally.changed("breaker", wish.key, "forced open", circuit.state.label, _BY)
            circuit.switch("normal")
        if wish.action == "close":
            circuit.close(_BY)
        else:
            circuit.half_open(_BY)
    return done


def _chaos(wish: _Chaos, tallies: Iterable[Tally]) -> int:
    done = 0
    for _, switch in _states(tallies, "chaos", wish.name):
        try:
            if wish.rate is not None:
                switch.rate = wish.rate
        except ConfigError as error:
            raise ControlError(400, str(error)) from None
        switch.enabled = wish.enabled
        done += 1
    return done
