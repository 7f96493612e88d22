"""What the linter found, as lines for people, as JSON, and as SARIF 2.1.0 for code scanning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .finding import PAGE, Finding, Severity
from .linter import NAMES

__all__ = ["as_json", "as_line", "as_sarif", "silenced_json"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_line(finding: Finding, file: str = "") -> str:
    """``FILE:LINE:COL: path: text``, as for a problem; without a file, the pipeline's name in place of the position."""
    text = f"{finding.severity}: {finding.message} [{finding.rule}]"
    if finding.node is None:
        where = f"{file}: {finding.pipeline}" if file and finding.pipeline else file or finding.pipeline
        return f"{where}: {text}" if where else text
    if finding.pipeline and not _names(finding.node.path, finding.pipeline):
        text = f"{finding.severity}: in the pipeline {finding.pipeline}: {finding.message} [{finding.rule}]"
    problem = finding.node.problem(text)
    return f"{problem.file}:{problem.line}:{problem.col}: {problem.path}: {problem.text}"


def _names(path: str, pipeline: str) -> bool:
    """Whether a place in a file says by itself which pipeline it is about."""
    return path == f"pipelines.{pipeline}" or path.startswith((f"pipelines.{pipeline}.", f"pipelines.{pipeline}["))


def as_json(finding: Finding) -> dict[str, Any]:
    """Plain data. `line` and `path` are of the file, or the policy's position where there is no file."""
    position = "" if finding.position is None else f"[{finding.position}]"
    node = finding.node
    return {
        "rule": finding.rule,
        "message": finding.message,
        "line": None if node is None else node.line,
        "path": f"{finding.pipeline}{position}" if node is None else node.path,
        "severity": finding.severity,
        "file": None if node is None else node.source.name,
        "col": None if node is None else node.col,
        "pipeline": finding.pipeline,
        "page": finding.page,
    }


def silenced_json(silenced: Iterable[tuple[Finding, str]]) -> list[dict[str, Any]]:
    """The same of what a reason covers, with the reason."""
    return [{**as_json(finding), "reason": reason} for finding, reason in silenced]


def as_sarif(
    file: str, findings: Sequence[Finding], silenced: Sequence[tuple[Finding, str]], problems: Iterable[Any] = ()
) -> dict[str, Any]:
    """One run. `problems` are those of a file that is not even sound; what is silenced is listed as suppressed."""
    results = [_problem(problem) for problem in problems]
    results += [_result(finding, file, None) for finding in findings]
    results += [_result(finding, file, reason) for finding, reason in silenced]
    rules = [{"id": name, "helpUri": f"{PAGE}#{name}"} for name in NAMES]
    known = {rule["id"] for rule in rules}
    rules += [{"id": name} for name in dict.fromkeys(result["ruleId"] for result in results) if name not in known]
    driver = {"name": "resilience check", "rules": rules}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _problem(problem: Any) -> dict[str, Any]:
    where = {"startLine": problem.line, "startColumn": problem.col}
    return _of(problem.rule, "error", f"{problem.path}: {problem.text}", problem.file, where)


def _result(finding: Finding, file: str, reason: str | None) -> dict[str, Any]:
    node = finding.node
    where = {"startLine": 1} if node is None else {"startLine": node.line, "startColumn": node.col}
    source = file if node is None else node.source.name
    text = finding.message if node is None else f"{node.path}: {finding.message}"
    result = _of(finding.rule, finding.severity, text, source, where)
    if reason is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": reason}]
    return result


def _of(rule: str, severity: Severity, text: str, file: str, region: dict[str, int]) -> dict[str, Any]:
    location = {"physicalLocation": {"artifactLocation": {"uri": file.replace("\\", "/")}, "region": region}}
    return {"ruleId": rule, "level": severity, "message": {"text": text}, "locations": [location]}
