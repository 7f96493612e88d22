"""Silencing a rule, with the reason: which findings a reason covers, and which reasons cover none.

A key is a rule's name, or ``place.rule`` for one place only: a pipeline's name, or the beginning of the path in the
file (``resources.rest``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from ..errors import ConfigError
from .finding import Finding

__all__ = ["Sorted", "check_reasons", "silence"]


class Sorted(NamedTuple):
    """What is to be told, and what a reason covers (with that reason)."""

    told: list[Finding]
    silenced: list[tuple[Finding, str]]


def silence(findings: Sequence[Finding], allow: Mapping[str, str], names: Sequence[str]) -> Sorted:
    """Sort them. A reason that covers nothing is a finding itself; `names` are the rules there are."""
    told, silenced = [], []
    used: set[str] = set()
    for finding in findings:
        key = next((key for key in allow if _covers(key, finding)), None)
        if key is None:
            told.append(finding)
        else:
            silenced.append((finding, allow[key]))
            used.update(key for key in allow if _covers(key, finding))
    told += [_useless(key, names) for key in allow if key not in used]
    return Sorted(told, silenced)


def check_reasons(allow: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a rule that is silenced without a reason."""
    for key, reason in allow.items():
        if not reason.strip():
            raise ConfigError(f"lint: allow: {key} has no reason; say why it is right here")


def _covers(key: str, finding: Finding) -> bool:
    place, _, rule = key.rpartition(".")
    if rule != finding.rule:
        return False
    path = finding.node.path if finding.node is not None else ""
    named = place in ("", finding.pipeline) or finding.pipeline.endswith(f".{place}")
    return named or path == place or path.startswith((f"{place}.", f"{place}["))


def _useless(key: str, names: Sequence[str]) -> Finding:
    rule = key.rpartition(".")[2]
    if rule in names:
        what = "there is no such finding; take it out, or the day it is needed it hides something else"
    else:
        close = get_close_matches(rule, names, 1)
        what = f"there is no rule of that name{f'; did you mean {close[0]}?' if close else ''}"
    return Finding("useless-allow", "warning", f"allow: {key} silences nothing: {what}")
