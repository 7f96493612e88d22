"""Candidates: the pipelines of configuration files, with a simulated transport beneath.

The policies are the file's own, unchanged. Each run builds a pipeline of them anew, with states of its own and seeded
dice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, PipelineWarning
from ..pipeline import Pipeline
from ..policies.pool import Pool
from ..policy import Bindable
from .faults import classify

__all__ = ["Candidate", "read_candidates"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pipeline to be tried. `connections`: how many requests its transport carries at once, None for no bound."""

    name: str
    policies: Sequence[Bindable]
    connections: int | None = None

    def pipeline(self, seed: int) -> Pipeline:
        """A pipeline that remembers nothing yet."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipelineWarning)  # a candidate may be a bad one: that is what is asked
            return Pipeline(*self.policies, name=self.name, classify=classify, seed=seed, shared={})


def read_candidates(path: str, pipelines: Sequence[str] = ()) -> list[Candidate]:
    """The pipelines of a file, all or those that are named. Files for exchanges are welcome: their pools lend nothing.

    Where a resource has ``limit_per_host``, so many requests are carried at once. Raises `ConfigError`.
    """
    from ..config import Document, Problems, read_version
    from ..config.build import read_pipelines

    problems = Problems()
    root = Document.load(path, problems=problems)
    read_version(root, problems)
    node = root.get("pipelines")
    if node is None:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
        problems.finish()
        raise AssertionError("unreachable")
    stacks = read_pipelines(node, problems, lambda name: {"open": object}, [])
    problems.finish()
    for name in pipelines:
        if name not in stacks:
            raise node.error(f"no pipeline is named {name!r} (in this file: {', '.join(stacks)})", "unknown-pipeline")
    chosen = {name: stacks[name] for name in (pipelines or stacks)}
    if not chosen:
        raise ConfigError(f"{path}: has no pipeline to try")
    return [
        Candidate(path if len(stacks) == 1 else f"{path}:{name}", policies, _connections(root, policies))
        for name, policies in chosen.items()
    ]


def _connections(root: Any, policies: Sequence[Bindable]) -> int | None:
    """The connections to one host that the resource of the pipeline's pool is allowed."""
    from ..config.scalars import number

    resources = root.get("resources")
    for policy in policies:
        if resources is not None and isinstance(policy, Pool):
            resource = resources.get(policy.name)
            limit = None if resource is None else resource.get("limit_per_host")
            found = None if limit is None else number(limit)
            return int(found) if found else None
    return None
