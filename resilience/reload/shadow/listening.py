"""A shadow of live traffic: an observer of pipelines, which changes nothing about their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ...call import Call
from ...events import AttemptEnded, AttemptStarted, CallEnded, CallStarted
from ...pipeline import Pipeline
from .engine import Engine, Engines, Outcome
from .report import Report, Tally

__all__ = ["Shadow"]


class Shadow:
    """Runs `policies` (by pipeline) beside the present ones of `pipelines`, until `stop`: see `Live.shadow`.

    `routes` names the pipeline among `policies` that an operation would go through, by its present pipeline and its own
    name; those that it leaves out stay where they are.
    ``report()`` may be asked for at any time. Use it as ``with live.shadow("new.yaml") as shadow:``.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        policies: Mapping[str, Sequence[Any]],
        routes: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self._tally = Tally()
        self._watched: list[tuple[Pipeline, _Listener]] = []
        engines = Engines(policies, self._tally, routes or {})
        for name, pipeline in pipelines.items():
            for op in [op for present, op in routes or {} if present == name] or [""]:
                engines.of(name, op)
            listener = _Listener(name, engines)
            pipeline.observe(listener)
            self._watched.append((pipeline, listener))

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

    def __init__(self, name: str, engines: Engines) -> None:
        self._name = name
        self._engines = engines

    def __call__(self, event: Any) -> None:
        kind = type(event)
        call = getattr(event, "call", None)
        engine = None if call is None else self._engines.of(self._name, call.op.name)
        if engine is not None:
            self._tell(engine, kind, event)

    def _tell(self, engine: Engine, kind: type[Any], event: Any) -> None:
        if kind is CallStarted:
            call: Call = event.call
            twin = Call(call.op, asyncio.sleep, deadline=call.deadline, keys=call.keys)
            engine.call_begins(id(call.attempts), twin, event.at)
        elif kind is AttemptStarted:
            attempt = event.attempt
            engine.attempt_begins(id(event.call.attempts), attempt.number, attempt.kind, event.at)
        elif kind is AttemptEnded:
            outcome = _outcome(event, event.attempt)
            engine.attempt_ends(id(event.call.attempts), event.attempt.number, event.at, outcome)
        elif kind is CallEnded:
            engine.call_ends(id(event.call.attempts), event.at, _outcome(event, event.call.attempt))


def _outcome(event: Any, attempt: Any) -> Outcome:
    waited = {key[5:]: value for key, value in (attempt.noted or {}).items() if key.startswith("wait.")}
    return Outcome(event.error, event.verdict, waited, attempt.limits, attempt.stale, attempt.lost)
