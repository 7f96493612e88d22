"""`resilience plan`: what a new file would change in a running program, what survives, and what is lost."""

from __future__ import annotations

import argparse
import json

__all__ = ["HELP", "arguments", "run"]

HELP = "say what a new file would change in a running program (exit 0: it may be loaded, 2: invalid)"
_CHANGES = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the file in force")
    parser.add_argument("new", metavar="NEW", help="the file that is to take its place")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--shadow", metavar="TRACES", help="what it would have decided otherwise: an SQLite store or OTLP JSON"
    )
    parser.add_argument("--detailed-exitcode", action="store_true", help=f"exit {_CHANGES} if something would change")


def run(arguments: argparse.Namespace) -> int:
    from ..reload.plan import plan

    made = plan(arguments.old, arguments.new)
    shadow = None
    if arguments.shadow is not None and not made.problems:
        from ..recorded.traces import read_spans
        from ..reload.traces import replay

        shadow = replay(arguments.new, read_spans(arguments.shadow))
    if arguments.json:
        print(json.dumps({**made.as_dict(), "shadow": None if shadow is None else shadow.as_dict()}, indent=2))
    else:
        print(made)
        if shadow is not None:
            print(shadow)
    if made.problems:
        return 2
    return _CHANGES if arguments.detailed_exitcode and made else 0
