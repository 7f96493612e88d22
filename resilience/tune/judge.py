"""Whether a changed file is still a sound one: nothing is proposed that the checks would refuse.

The file is read as a program reads it: with what it includes, and each pipeline as the exchanges use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config import InvalidConfig, examine
from ..lint import Linted
from ..lint.files import Used, lint_contents, used

__all__ = ["complaint", "linted", "others", "uses_of"]


def linted(text: str, name: str) -> Linted:
    """The file `name` if it held this text. Raises `ConfigError` with all that is wrong with it."""
    return lint_contents(examine(name, text=text))


def uses_of(found: Linted) -> dict[str, Used]:
    """The pipelines by name."""
    return {use.name: use for use in used(found.contents, found.facts)}


def complaint(before: Linted, after: str, file: str, pipeline: str) -> str:
    """What the checks say of the changed text that they did not say of the old one; "" for nothing."""
    try:
        changed = linted(after, file)
    except InvalidConfig as error:
        return str(error.problems[0].text)
    said = {(finding.rule, finding.pipeline, finding.field) for finding in before.findings}
    for finding in changed.findings:
        if (finding.rule, finding.pipeline, finding.field) not in said:
            return finding.message
    return _unexpected(_policies(before)[pipeline], _policies(changed)[pipeline])


def others(before: Linted, after: str, file: str, pipeline: str) -> list[str]:
    """The other pipelines that the change concerns as well, because they extend that one or are used beside it."""
    old, new = _policies(before), _policies(linted(after, file))
    return [name for name in new if name != pipeline and _differ(old.get(name, ()), new[name])]


def _policies(found: Linted) -> Mapping[str, Sequence[Any]]:
    return {name: use.policies for name, use in uses_of(found).items()}


def _differ(old: Sequence[Any], new: Sequence[Any]) -> int:
    return sum(bool(a != b) for a, b in zip(old, new, strict=False)) + abs(len(old) - len(new))


def _unexpected(old: Sequence[Any], new: Sequence[Any]) -> str:
    """Whether not one policy was changed, or one added, and nothing else: a mistake in cutting the text shows here."""
    if len(new) == len(old):
        count = _differ(old, new)
        if count == 0:
            return "it would change nothing, since the file says it otherwise in another place"
        return "" if count == 1 else "the change would concern more than one policy"
    added = len(new) == len(old) + 1 and sum(policy not in old for policy in new) == 1
    return "" if added else "the change would concern more than one policy"
