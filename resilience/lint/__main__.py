"""``python -m resilience.lint module[:attribute] ...``: the linter on pipelines in code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import NoReturn

from ..console import ended
from .allow import check_reasons
from .modules import lint_modules
from .report import as_json, as_line, as_sarif, silenced_json


class _Parser(argparse.ArgumentParser):
    """Argparse without its usage block: a usage error is one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0: nothing found, 1: findings, 2: bad usage or nothing to lint."""
    return ended(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = _Parser(prog="python -m resilience.lint", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", metavar="MODULE[:ATTRIBUTE]", nargs="+", help="what holds pipelines; it is imported")
    parser.add_argument("--allow", metavar="RULE=REASON", action="append", default=[], help="silence a rule, and why")
    parser.add_argument(
        "--notes", action="store_true", help="tell also what is no mistake, and what is silenced and why"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document with all findings")
    form.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code scanning")
    arguments = parser.parse_args(argv)
    allow = {rule: reason for rule, _, reason in (item.partition("=") for item in arguments.allow)}
    check_reasons(allow)
    told, silenced = lint_modules(arguments.names, allow)
    findings = [finding for finding in told if finding.severity != "note"]
    notes = [finding for finding in told if finding.severity == "note"] if arguments.notes else []
    if arguments.sarif:
        print(json.dumps(as_sarif(arguments.names[0], [*findings, *notes], silenced), indent=2))
    elif arguments.json:
        document = {"findings": [as_json(finding) for finding in findings]}
        if arguments.notes:
            document |= {"notes": [as_json(note) for note in notes], "silenced": silenced_json(silenced)}
        print(json.dumps(document, indent=2))
    else:
        for finding in (*findings, *notes):
            print(as_line(finding))
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
