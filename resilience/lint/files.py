"""A whole file, linted: every pipeline, what the file's own sections add, and what concerns no pipeline at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..config import Contents, Node, convert, examine
from ..config.environment import PREFIXES
from ..config.load import Section
from ..descriptor import kind_of
from ..units import rate
from .allow import Sorted, silence
from .facts import Facts, Guarding
from .finding import Finding
from .linter import NAMES, inspect
from .rules.secrets import plain_secrets
from .settings import LintSettings

__all__ = ["Linted", "Used", "facts_of", "lint_contents", "lint_file", "settings_in", "used"]


@dataclass(frozen=True, slots=True)
class Linted:
    """A sound file: what is to be told (notes apart), what is silenced and why, and the facts of its pipelines."""

    contents: Contents
    findings: Sequence[Finding]
    notes: Sequence[Finding]
    silenced: Sequence[tuple[Finding, str]]
    facts: Mapping[str, Facts]


def lint_file(
    path: str | os.PathLike[str],
    *,
    sections: Mapping[str, Section] | None = None,
    env_prefixes: tuple[str, ...] | None = None,
) -> Linted:
    """Check and lint a file, `exchanges.yaml` too. Raises `InvalidConfig` for one that is not sound."""
    prefixes = PREFIXES if env_prefixes is None else env_prefixes
    return lint_contents(examine(path, sections=sections, env_prefixes=prefixes))


def lint_contents(contents: Contents) -> Linted:
    """Lint what a sound file holds."""
    settings = settings_in(contents.root)
    facts = facts_of(contents)
    uses = used(contents, facts)
    findings = [*_placed(contents, uses, settings), *_of_the_file(contents, uses)]
    told, silenced = _allowed(findings, settings, contents.root.get("lint"))
    told = list({(one.rule, one.message, _at(one)): one for one in told}.values())  # one resource, several pipelines
    told.sort(key=_at)
    notes = [finding for finding in told if finding.severity == "note"]
    return Linted(contents, [one for one in told if one not in notes], notes, silenced, facts)


def settings_in(root: Node) -> LintSettings:
    """The ``lint:`` section of a sound file."""
    section = root.get("lint")
    return LintSettings() if section is None else convert(section, LintSettings)


def facts_of(contents: Contents) -> dict[str, Facts]:
    """What the sections of other packages say about the pipelines that they use."""
    facts: dict[str, Facts] = {}
    for check in contents.checks:
        section: object = check
        if isinstance(section, Guarding):
            facts.update(section.facts(contents.root))
    return facts


@dataclass(frozen=True, slots=True)
class Used:
    """A pipeline as it is used: `node` is its place in the file."""

    name: str
    policies: Sequence[Any]
    facts: Facts | None
    node: Node

    @property
    def full(self) -> str:
        """Its name in a running program, on the dashboard and in traces: with the exchange's before it."""
        return self.name if self.facts is None else self.facts.full or self.name

    def called(self, name: str) -> bool:
        """Whether that is one of its names: in the file, in a running program, or of what it was made from."""
        return name in (self.name, self.full) or (self.facts is not None and name == self.facts.pipeline)


def used(contents: Contents, facts: Mapping[str, Facts]) -> list[Used]:
    """Those that a section uses, as it has them, and those of the file that none does."""
    pipelines = contents.root.get("pipelines")
    taken = {fact.pipeline or name for name, fact in facts.items()}
    found = []
    for name, fact in facts.items():
        node = (None if pipelines is None else pipelines.get(fact.pipeline)) or fact.stack or contents.root
        policies = contents.policies.get(name, ()) if fact.stack is None else contents.read(fact.stack)
        found.append(Used(name, policies, fact, node))
    for name, policies in contents.policies.items():
        if name not in taken:
            found.append(Used(name, policies, None, (pipelines and pipelines.get(name)) or contents.root))
    return found


def _placed(contents: Contents, uses: Sequence[Used], settings: LintSettings) -> Iterator[Finding]:
    for use in uses:
        for finding in inspect(use.policies, use.name, use.facts, settings):
            node = finding.node or use.node
            if finding.node is None and finding.position is not None:
                node = _setting(contents.places.get(id(use.policies[finding.position]), node), finding.field)
            if node.source.preset:  # nobody can change it there
                message = f"{finding.message} (inherited from the preset {_preset(node)})"
                finding = replace(finding, message=message)  # noqa: PLW2901
                node = use.node
            yield replace(finding, node=node)


def _preset(node: Node) -> str:
    return node.source.name.removeprefix("presets/").removesuffix(".yaml")


def _setting(entry: Node, field: str) -> Node:
    """The place of a policy's setting; where it is left out, the policy's own."""
    settings = next((node for _, node in entry.items()), entry) if entry.kind == "mapping" else entry
    return settings.get(field) or entry


def _allowed(findings: Sequence[Finding], settings: LintSettings, section: Node | None) -> Sorted:
    allow = section.get("allow") if section is not None else None
    told, silenced = silence(findings, settings.allow, NAMES)
    placed = []
    for finding in told:
        if finding.rule == "useless-allow" and allow is not None:
            key = next((key for key in allow.keys() if finding.message.startswith(f"allow: {key} ")), "")  # noqa: SIM118
            finding = replace(finding, node=allow.get(key) or allow)  # noqa: PLW2901
        placed.append(finding)
    return Sorted(placed, silenced)


def _at(finding: Finding) -> tuple[int, int]:
    return (0, 0) if finding.node is None else (finding.node.line, finding.node.col)


# -- what concerns no single pipeline ------------------------------------------------------------------------------


def _of_the_file(contents: Contents, uses: Sequence[Used]) -> list[Finding]:
    found = [Finding("plain-text-secret", "error", text, node=node) for node, text in plain_secrets(contents.root)]
    if any(use.facts is not None for use in uses):
        found += [
            Finding("unused-pipeline", "note", f"nothing uses the pipeline {use.name}", use.name, node=use.node)
            for use in uses
            if use.facts is None
        ]
    return [*found, *_not_shared(contents, uses)]


def _not_shared(contents: Contents, uses: Sequence[Used]) -> Iterator[Finding]:
    """Limits of several pipelines, each within the quota of an address, and all together beyond it."""
    limits: list[tuple[str, Any]] = [
        (use.name, policy)
        for use in uses
        for policy in use.policies
        if use.facts is not None and kind_of(policy) == "rate_limit" and policy.key in (None, "host")
    ]
    quotas = {quota for use in uses if use.facts is not None for quota in use.facts.quotas if quota.key == "ip"}
    for quota in quotas:
        allowed, window = rate(quota.rate)
        each = [count / own * window for count, own in (rate(policy.rate) for _, policy in limits)]
        if len(limits) > 1 and sum(each) > allowed * (1 + 1e-9) and max(each) <= allowed * (1 + 1e-9):
            name, last = limits[-1]
            node = contents.places.get(id(last))
            names = ", ".join(name for name, _ in limits)
            text = (
                f"the limits of {names} count apart, and together they allow {sum(each):.4g} calls in {window:g} s, "
                f"where {quota.whose} allows {quota.rate}; key: ip makes them one"
            )
            yield Finding("rate-limit-not-shared", "error", text, name, node=node)
