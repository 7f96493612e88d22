"""Whether a changed file is still a sound one: nothing is proposed that the checks would refuse."""

from __future__ import annotations

from ..config import Document, InvalidConfig, Problems
from ..config.build import read_pipelines
from ..orders import check_order
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
    said = {finding.message for finding in check_order(stacks_of(before, name)[pipeline])}
    return next((finding.message for finding in check_order(stacks[pipeline]) if finding.message not in said), "")
