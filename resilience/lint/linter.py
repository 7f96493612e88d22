"""One pipeline, linted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..call import Op
from ..errors import ConfigError
from ..pipeline import Pipeline
from .allow import check_reasons, silence
from .facts import Facts
from .finding import Finding
from .rules import OF_FILES, RULES
from .settings import LintSettings
from .subject import Subject

__all__ = ["NAMES", "inspect", "lint"]

NAMES = (*RULES, *OF_FILES)
"""Every rule there is."""


def lint(
    guarded: Pipeline | Callable[..., Any] | Sequence[Any],
    *,
    allow: Mapping[str, str] | None = None,
    ops: Iterable[Op] = (),
    settings: LintSettings | None = None,
) -> list[Finding]:
    """What will hurt, before it does: of a pipeline, a guarded function, or a list of policies, outermost first.

    `allow` silences rules, each with its reason: ``{"no-deadline": "a batch job; nobody waits"}``. `ops` are the
    operations that go through it. Nothing is called. Raises `ConfigError` for an empty reason and for what is neither.
    """
    allow = dict(allow or {})
    check_reasons(allow)
    pipeline = guarded if isinstance(guarded, Pipeline) else getattr(guarded, "pipeline", None)
    own = getattr(guarded, "op", None)
    known = (*ops, own) if isinstance(own, Op) else tuple(ops)
    if isinstance(pipeline, Pipeline):
        policies, name = pipeline.policies, pipeline.name
    elif isinstance(guarded, (list, tuple)):
        policies, name = tuple(guarded), ""
    else:
        raise ConfigError(f"{guarded!r} is nothing that can be linted: a pipeline, or a function that one guards")
    found = inspect(policies, name, Facts(known), settings)
    return silence(found, allow, NAMES).told


def inspect(
    policies: Sequence[Any], name: str = "", facts: Facts | None = None, settings: LintSettings | None = None
) -> list[Finding]:
    """Everything that the rules find, silenced or not."""
    subject = Subject(policies, facts, settings)
    return [
        Finding(
            rule_name, found.severity or rule.severity, found.message, name, found.position, found.field, found.place
        )
        for rule_name, rule in RULES.items()
        for found in rule.find(subject)
    ]
