"""The swap: pipelines become others in one step, and take along what they keep as far as it still means something.

Everything that can fail is done first, on candidates that nobody uses. What follows is one synchronous function: no
call ever meets half a configuration. The surprising part is what is shared: the limit of an IP address belongs to all
pipelines of its scope, so it may follow a change only if all of them go that way; otherwise who leaves takes a copy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from ..pipeline import Pipeline
from .fitting import Kept, kept, pairs, rehearse, unfit

__all__ = ["swap"]

_log = logging.getLogger("resilience")


def swap(
    live: Mapping[str, Pipeline], candidates: Mapping[str, Pipeline], shared: dict[str, Any], others: Iterable[Pipeline]
) -> tuple[dict[str, Pipeline], list[Any]]:
    """Let each pipeline become the candidate of its name; calls in flight end on what they began with.

    `live` and `others` (which stay as they are) have `shared` in common, the candidates nothing. Returns all pipelines
    that are configured now, the new ones made, and the states that nobody needs any more. Raises `ConfigError` where a
    pipeline cannot become its candidate; nothing has changed then.
    """
    for name, candidate in candidates.items():
        problem = unfit(live[name], candidate.policies) if name in live else None
        if problem:
            raise ConfigError(f"pipeline {name!r}: {problem}")
    wanted = _rehearsed(candidates)
    going = {name: pipeline for name, pipeline in live.items() if name in candidates}
    staying = [*others, *(pipeline for name, pipeline in live.items() if name not in candidates)]
    estate = _Estate(shared, going, staying, wanted)
    states = {name: estate.states(name) for name in candidates}
    # From here on nothing fails.
    before = [state for pipeline in going.values() for state in pipeline.states.values()]
    shared.clear()
    shared.update(estate.shared)
    configured = {}
    for name, candidate in candidates.items():
        pipeline = going.get(name) or _settled(candidate, shared)
        had = {one.key: (one.kind, one.owner, one.shared) for one in wanted[name]}
        pipeline.become(candidate.policies, states[name], had)
        configured[name] = pipeline
    used = {id(state) for each in (*configured.values(), *staying) for state in each.states.values()}
    gone = {id(state): state for state in before if id(state) not in used}
    return configured, list(gone.values())


def _rehearsed(candidates: Mapping[str, Pipeline]) -> dict[str, list[Kept]]:
    try:
        loop, ours = asyncio.get_running_loop(), None
    except RuntimeError:
        loop = ours = asyncio.new_event_loop()
    try:
        return {name: rehearse(candidate, loop) for name, candidate in candidates.items()}
    finally:
        if ours is not None:
            ours.close()


def _settled(candidate: Pipeline, shared: dict[str, Any]) -> Pipeline:
    """A new pipeline like the candidate, among those that share."""
    return Pipeline(
        *candidate.policies, name=candidate.name, classify=candidate.classify, observers=candidate.observers,
        shared=shared, scope=candidate._kit.scope, _told=(candidate.policies,),
    )  # fmt: skip


class _Estate:
    """What the pipelines keep, and who of the new ones goes on with it. `shared` is what they will have in common."""

    def __init__(
        self,
        shared: Mapping[str, Any],
        going: Mapping[str, Pipeline],
        staying: Iterable[Pipeline],
        wanted: Mapping[str, list[Kept]],
    ) -> None:
        self._old = shared
        self._going = going
        self._wanted = wanted
        self._matches: dict[str, dict[str, Kept]] = {}
        self._owners: dict[str, object] = {}  # of the shared ones: for whom it was kept
        self._leads: dict[str, set[str]] = {}  # of the shared ones: under which keys it is wanted
        self.shared: dict[str, Any] = {}
        self._decided: set[str] = set()
        for pipeline in staying:
            for one in kept(pipeline):
                if one.shared and one.key in shared:
                    self._owners[one.key] = one.owner
                    self._leads.setdefault(one.key, set()).add(one.key)
                    self._decided.add(one.key)  # somebody goes on with it as it is
                    self.shared[one.key] = shared[one.key]
        for name, pipeline in going.items():
            had = kept(pipeline)
            match = self._matches[name] = pairs(had, wanted[name])
            for one in had:
                if one.shared:
                    self._owners.setdefault(one.key, one.owner)
            for key, old in match.items():
                if old.shared:
                    self._leads.setdefault(old.key, set()).add(key)

    def states(self, name: str) -> dict[str, Any]:
        """The states that the new pipeline of this name goes on with, by its keys; what is not there begins anew."""
        found = {one.key: self._state(name, one) for one in self._wanted[name]}
        return {key: state for key, state in found.items() if state is not None}

    def _state(self, name: str, new: Kept) -> Any:
        old = self._matches.get(name, {}).get(new.key)
        if not new.shared:
            return None if old is None else self._inherited(name, old, new)
        if new.key not in self._decided:
            state = None
            if new.key in self._old:
                state = self._ask(new.owner, self._owners.get(new.key, new.owner), self._old[new.key], self._now, True)
                self._decided.add(new.key)
            elif old is not None:
                state = self._inherited(name, old, new)
            if state is not None:
                self.shared[new.key] = state
                self._decided.add(new.key)
        return self.shared.get(new.key)

    def _inherited(self, name: str, old: Kept, new: Kept) -> Any:
        pipeline = self._going[name]
        state = pipeline.states.get(old.key)
        if state is None:
            return None
        alone = not old.shared or self._leads[old.key] == {new.key}
        return self._ask(new.owner, old.owner, state, pipeline._kit.now, alone)

    def _now(self) -> float:
        """The time on the clock of whoever has been linked."""
        return next((p._kit.now() for p in self._going.values() if hasattr(p._kit, "now")), 0.0)

    @staticmethod
    def _ask(owner: Any, before: object, state: Any, now: Callable[[], float], alone: bool) -> Any:
        inherit = getattr(owner, "inherit", None)
        if inherit is None:
            return state if _equal(before, owner) else None
        try:
            return inherit(before, state, now(), alone)
        except Exception:  # a policy of somebody else's: it must not stop the swap of the others half way
            _log.exception("what %s keeps cannot be taken along; it begins anew", type(owner).__name__)
            return None


def _equal(before: object, after: object) -> bool:
    return type(before) is type(after) and bool(before == after)
