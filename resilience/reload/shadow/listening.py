"""A shadow of live traffic: an observer of pipelines, which changes nothing about their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ...call import Call
from ...events import AttemptEnded, AttemptStarted, CallEnded, CallStarted
from ...pipeline import Pipeline
from .engine import Engine, Outcome
from .report import Report, Tally

__all__ = ["Shadow"]


class Shadow:
    """Runs `policies` (by pipeline) beside the present ones of `pipelines`, until `stop`: see `Live.shadow`.

    ``report()`` may be asked for at any time. Use it as ``with live.shadow("new.yaml") as shadow:``.
    """

    def __init__(self, pipelines: Mapping[str, Pipeline], policies: Mapping[str, Sequence[Any]]) -> None:
        self._tally = Tally()
        self._watched: list[tuple[Pipeline, _Listener]] = []
        for name, pipeline in pipelines.items():
            if name in policies:
                listener = _Listener(Engine(name, policies[name], self._tally))
                pipeline.observe(listener)
                self._watched.append((pipeline, listener))
            else:
                self._tally.unjudged[f"{name} (it is not in the new file)"] = None

    def report(self) -> Report:
        """What was found so far."""
        return self._tally.report()

    def stop(self) -> Report:
        """Look no longer."""
        for pipeline, listener in self._watched:
            pipeline.unobserve(listener)
        self._watched.clear()
        return self.report()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class _Listener:
    """Tells an engine what the events say. A call is known by its history, which all copies of it have in common."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, event: Any) -> None:
        kind = type(event)
        if kind is CallStarted:
            call: Call = event.call
            twin = Call(call.op, asyncio.sleep, deadline=call.deadline, keys=call.keys)
            self._engine.call_begins(id(call.attempts), twin, event.at)
        elif kind is AttemptStarted:
            attempt = event.attempt
            self._engine.attempt_begins(id(event.call.attempts), attempt.number, attempt.kind, event.at)
        elif kind is AttemptEnded:
            outcome = _outcome(event, event.attempt)
            self._engine.attempt_ends(id(event.call.attempts), event.attempt.number, event.at, outcome)
        elif kind is CallEnded:
            self._engine.call_ends(id(event.call.attempts), event.at, _outcome(event, event.call.attempt))


def _outcome(event: Any, attempt: Any) -> Outcome:
    waited = {key[5:]: value for key, value in (attempt.noted or {}).items() if key.startswith("wait.")}
    return Outcome(event.error, event.verdict, waited, attempt.limits, attempt.stale, attempt.lost)
