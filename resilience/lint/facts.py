"""What the linter may know beyond the policies: the operations, what the other side allows, and our connections to it.

A section of a file that belongs to another package (`exchanges`) says it by a method of its check: ``facts(root)``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..call import Op
from ..config import Node

__all__ = ["Connections", "Facts", "Guarding", "Quota", "looks_unsafe", "repeatable"]

_UNSAFE = re.compile(
    r"create|place|submit|send|amend|edit_|modify|replace_|withdraw|transfer|pay|charge|buy|sell|borrow|repay|"
    r"close_position|new_order|order$|post_",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Quota:
    """`rate` (``"600/5s"``) is what the other side lets through; `key` whom it counts for, as in `RateLimit`."""

    rate: str
    key: str
    whose: str


@dataclass(frozen=True, slots=True)
class Connections:
    """What a pool's resource opens: connections in all and to one host, and seconds that an idle one is kept."""

    limit: int
    limit_per_host: int
    keepalive: float
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one pipeline.

    `ops` are the operations it guards, `names` all that the other side has (empty: nobody knows). `connections` by
    the pool's name. `who` it talks to, ``"the exchange bybit"``, for the texts. `pipeline` is its name in the file,
    `full` that in a running program (``"bybit.market"``), and `stack` its list of policies where that is not the
    file's own.
    """

    ops: tuple[Op, ...] = ()
    names: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()
    connections: Mapping[str, Connections] = field(default_factory=dict)
    who: str = ""
    pipeline: str = ""
    full: str = ""
    stack: Node | None = None


@runtime_checkable
class Guarding(Protocol):
    """The check of a section which can also tell what it will do with the pipelines of the file."""

    def facts(self, root: Node) -> Mapping[str, Facts]:
        """By the name of the pipeline, for those that are used. The file is sound."""


def looks_unsafe(name: str) -> bool:
    """Whether an operation of this name probably must not happen twice; a guess, for those of whom nothing is said."""
    return _UNSAFE.match(name.rpartition(".")[2].lower()) is not None


def repeatable(name: str, not_idempotent: Collection[str], facts: Facts | None = None) -> bool:
    """Whether an operation of this name may happen twice: as the file says, else who owns it, else by its name."""
    if name in not_idempotent:
        return False
    known = next((op for op in facts.ops if op.name == name), None) if facts else None
    return not looks_unsafe(name) if known is None else known.idempotent
