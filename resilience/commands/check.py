"""`resilience check`: what is wrong with a file, one line for each problem."""

from __future__ import annotations

import argparse
import json

__all__ = ["HELP", "arguments", "run"]

HELP = "say what is wrong with a file (exit 0: nothing, 2: invalid)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pipelines file or exchanges.yaml")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all findings")


def run(arguments: argparse.Namespace) -> int:
    from ..config import check_file

    problems = check_file(arguments.file)
    if arguments.json:
        findings = [{"rule": p.rule, "message": p.text, "line": p.line, "path": p.path} for p in problems]
        print(json.dumps({"findings": findings}, indent=2))
    else:
        for problem in problems:
            print(problem)
    return 2 if problems else 0
