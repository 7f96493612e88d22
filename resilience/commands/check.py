"""`resilience check`: what is wrong with a file, and what it will do wrong; one line for each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import Problem
    from ..lint import Linted

__all__ = ["HELP", "arguments", "run"]

HELP = "say what is wrong with a file, and what it will do wrong (exit 0: nothing, 1: findings, 2: invalid)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pipelines file or exchanges.yaml")
    parser.add_argument(
        "--notes", action="store_true", help="tell also what is no mistake, and what is silenced and why"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document with all findings")
    form.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code scanning")


def run(arguments: argparse.Namespace) -> int:
    from ..config import InvalidConfig
    from ..lint import lint_file

    try:
        linted = lint_file(arguments.file)
    except InvalidConfig as error:
        _print_problems(arguments, error.problems)
        return 2
    _print(arguments, linted)
    return 1 if linted.findings else 0


def _print_problems(arguments: argparse.Namespace, problems: Sequence[Problem]) -> None:
    from ..lint.report import as_sarif

    if arguments.json:
        findings = [{"rule": p.rule, "message": p.text, "line": p.line, "path": p.path} for p in problems]
        print(json.dumps({"findings": findings}, indent=2))
    elif arguments.sarif:
        print(json.dumps(as_sarif(arguments.file, [], [], problems), indent=2))
    else:
        for problem in problems:
            print(problem)


def _print(arguments: argparse.Namespace, linted: Linted) -> None:
    from ..lint.report import as_json, as_line, as_sarif, silenced_json

    notes = linted.notes if arguments.notes else ()
    if arguments.sarif:
        print(json.dumps(as_sarif(arguments.file, [*linted.findings, *notes], linted.silenced), indent=2))
    elif arguments.json:
        document = {"findings": [as_json(finding) for finding in linted.findings]}
        if arguments.notes:
            document["notes"] = [as_json(finding) for finding in notes]
            document["silenced"] = silenced_json(linted.silenced)
        print(json.dumps(document, indent=2))
    else:
        for finding in (*linted.findings, *notes):
            print(as_line(finding))
        for finding, reason in linted.silenced if arguments.notes else ():
            print(f"{as_line(finding)} (silenced: {reason})")
