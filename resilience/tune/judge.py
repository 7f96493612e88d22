"""Whether a changed file is still a sound one: nothing is proposed that the checks would refuse."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import Document, InvalidConfig, Problems
from ..config.build import read_pipelines
from ..lint import lint
from ..policy import Policy

__all__ = ["complaint", "stacks_of"]


def stacks_of(text: str, name: str) -> dict[str, list[Policy]]:
    """The policies of each pipeline in a text. Raises `ConfigError` with all that is wrong with it."""
    problems = Problems()
    root = Document.parse(text, name, problems=problems)
    node = root.get("pipelines")
    if node is None:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
    stacks = {} if node is None else read_pipelines(node, problems, lambda _: {"open": object}, [])
    problems.finish()
    return stacks


def complaint(before: str, after: str, name: str, pipeline: str) -> str:
    """What the checks say of the changed text that they did not say of the old one; "" for nothing."""
    try:
        stacks = stacks_of(after, name)
    except InvalidConfig as error:
        return str(error.problems[0].text)
    old, new = stacks_of(before, name)[pipeline], stacks[pipeline]
    said = {(finding.rule, finding.field) for finding in lint(old) if finding.severity != "note"}
    findings = [finding for finding in lint(new) if finding.severity != "note"]
    told = next((finding.message for finding in findings if (finding.rule, finding.field) not in said), "")
    return told or ("" if _one_differs(old, new) else "the change would concern more, or less, than one policy")


def _one_differs(old: Sequence[Policy], new: Sequence[Policy]) -> bool:
    """Whether one policy was changed, or one added, and nothing else: a mistake in cutting the text would show here."""
    if len(new) == len(old):
        return sum(a != b for a, b in zip(old, new, strict=True)) == 1
    return len(new) == len(old) + 1 and sum(policy not in old for policy in new) == 1
