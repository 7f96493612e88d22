"""Before a pipeline becomes another: may it, given what it guards already, and what will the new policies keep?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..edges import leaf
from ..errors import ConfigError
from ..pipeline import Pipeline, _bind, _call
from ..policy import Bindable, Policy, changed_fields
from ..streams import check as check_stream

__all__ = ["Kept", "kept", "pairs", "rehearse", "unfit"]


class Kept(NamedTuple):
    """Something that a pipeline keeps: its key in `Pipeline.states`, of which kind it is, and for whom it is kept."""

    key: str
    kind: str
    owner: object
    shared: bool


def unfit(pipeline: Pipeline, policies: Sequence[Bindable]) -> str | None:
    """Why these policies cannot take the place of the pipeline's own, given what it guards; None if they can."""
    lent, lends = (sum(bool(getattr(one, "lends", False)) for one in each) for each in (pipeline.policies, policies))
    if lent != lends:
        return f"lends {lends} resources in place of {lent}, which what it guards takes: restart with code that fits"
    guards = pipeline._guards
    try:
        if "streams" in guards:
            check_stream(policies, None, guards["streams"])
    except ConfigError as error:
        return str(error)
    problems = [policy.unsafe() for policy in policies if isinstance(policy, Policy)] if "blind" in guards else []
    return next((f"{guards['blind']}: {problem}" for problem in problems if problem), None)


def kept(pipeline: Pipeline) -> list[Kept]:
    """What a pipeline keeps now, in the order in which it was asked for: from the innermost policy outwards."""
    return _listed(pipeline)


def rehearse(pipeline: Pipeline, loop: asyncio.AbstractEventLoop) -> list[Kept]:
    """Bind the policies of a pipeline that nobody uses, and say what they keep. Raises what their `bind` raises."""
    pipeline._kit.link(loop, None)
    pipeline._fold(leaf, _bind, _call, _call)
    return _listed(pipeline)


def _listed(pipeline: Pipeline) -> list[Kept]:
    found: Mapping[str, tuple[str, object, bool]] = pipeline._kit.kept
    return [Kept(key, kind, owner, shared) for key, (kind, owner, shared) in found.items()]


def pairs(old: Sequence[Kept], new: Sequence[Kept]) -> dict[str, Kept]:
    """By the new keys: which of the old each goes on with. Of one kind equal ones first, then in their order.

    So a second bulkhead that is put inside takes nothing from the one that was there.
    """
    found: dict[str, Kept] = {}
    left = list(old)
    for alike in (_equal, _same_kind):
        for one in new:
            match = next((other for other in left if alike(other, one)), None) if one.key not in found else None
            if match is not None:
                found[one.key] = match
                left.remove(match)
    return found


def _equal(old: Kept, new: Kept) -> bool:
    return _same_kind(old, new) and not changed_fields(old.owner, new.owner)


def _same_kind(old: Kept, new: Kept) -> bool:
    return old.kind == new.kind
