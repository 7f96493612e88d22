"""Candidates: the pipelines of configuration files, with a simulated transport beneath.

The policies are the file's own, unchanged. Each run builds a pipeline of them anew, with states of its own and seeded
dice.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ConfigError, PipelineWarning
from ..pipeline import Pipeline
from ..policies.pool import Pool
from ..policy import Bindable
from .faults import classify

if TYPE_CHECKING:
    from ..config import Node
    from ..lint.files import Used

__all__ = ["Candidate", "read_candidates"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pipeline to be tried.

    `connections`: how many requests its transport carries at once, None for no bound. `not_idempotent`: the operations
    of which its file says that they must not happen twice.
    """

    name: str
    policies: Sequence[Bindable]
    connections: int | None = None
    not_idempotent: Collection[str] = ()

    def pipeline(self, seed: int) -> Pipeline:
        """A pipeline that remembers nothing yet."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipelineWarning)  # a candidate may be a bad one: that is what is asked
            return Pipeline(*self.policies, name=self.name, classify=classify, seed=seed, shared={})


def read_candidates(path: str, pipelines: Sequence[str] = ()) -> list[Candidate]:
    """The pipelines of a file, all or those that are named. Files for exchanges are welcome: their pools lend nothing.

    Where exchanges use pipelines they are tried as they are used, with what each operation says otherwise. Where a
    resource has ``limit_per_host``, so many requests are carried at once. Raises `ConfigError`.
    """
    from ..config import examine
    from ..config.shape import nearest
    from ..lint.files import facts_of, settings_in, used

    contents = examine(path)
    uses = used(contents, facts_of(contents))
    for name in pipelines:
        if not any(use.called(name) for use in uses):
            names = [use.name for use in uses]
            known = f"{nearest(name, names)} (in this file: {', '.join(names) or 'none'})"
            raise ConfigError(f"{path}: no pipeline is named {name!r}{known}")
    chosen = [use for use in uses if not pipelines or any(use.called(name) for name in pipelines)]
    if not chosen:
        raise ConfigError(f"{path}: has no pipeline to try")
    return [
        Candidate(
            path if len(uses) == 1 else f"{path}:{use.name}",
            [replace(policy, open=object) if isinstance(policy, Pool) else policy for policy in use.policies],
            _connections(contents.root, use),
            settings_in(contents.root).not_idempotent,
        )
        for use in chosen
    ]


def _connections(root: Node, use: Used) -> int | None:
    """The connections to one host that the resource of the pipeline's pool is allowed."""
    from ..config.scalars import number

    pool = next((policy for policy in use.policies if isinstance(policy, Pool)), None)
    if pool is None:
        return None
    if use.facts is not None and pool.name in use.facts.connections:
        return use.facts.connections[pool.name].limit_per_host
    resource = (root.get("resources") or root).get(pool.name)
    limit = None if resource is None else resource.get("limit_per_host")
    found = None if limit is None else number(limit)
    return int(found) if found else None
