"""The command `resilience`. Each subcommand is a `Command`; what it needs is imported when it runs.

A failure is one line on stderr and never a traceback; exit 2 is bad usage or configuration. `check` alone lists its
problems on stdout, because they are its result.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from .errors import ConfigError

__all__ = ["Command", "main"]


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: `configure` adds its arguments, `run` takes them and returns the exit code."""

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class _Usage(Exception):
    """Wrong arguments, in one line."""


class _Parser(argparse.ArgumentParser):
    """Argparse without its usage block: a usage error is one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(f"{self.prog}: {message}; see {self.prog} --help")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pipelines file or exchanges.yaml")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all findings")


def _check(arguments: argparse.Namespace) -> int:
    from .config import check_file

    problems = check_file(arguments.file)
    if arguments.json:
        findings = [{"rule": p.rule, "message": p.text, "line": p.line, "path": p.path} for p in problems]
        print(json.dumps({"findings": findings}, indent=2))
    else:
        for problem in problems:
            print(problem)
    return 2 if problems else 0


def _schema(arguments: argparse.Namespace) -> int:
    from .config.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8787, metavar="N", help="8787 by default; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="another than loopback needs --token")
    parser.add_argument("--token", metavar="T", help="asked of whoever looks in or sends spans")
    parser.add_argument("--store", metavar="FILE", help="an SQLite file that keeps traces over a restart")


def _dashboard(arguments: argparse.Namespace) -> int:
    from .dashboard.alone import run

    run(arguments.host, arguments.port, arguments.token, arguments.store)
    return 0


COMMANDS = (
    Command("check", "say what is wrong with a file (exit 0: nothing, 2: invalid)", _check_arguments, _check),
    Command("schema", "print the JSON Schema of a pipelines file, for editors", lambda parser: None, _schema),
    Command("dashboard", "show traces that other processes send (OTLP/HTTP)", _dashboard_arguments, _dashboard),
)


def _parser(commands: Sequence[Command]) -> _Parser:
    parser = _Parser(
        prog="resilience",
        description="Resilience pipelines: configuration tools and the dashboard.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = _parser(COMMANDS).parse_args(argv)
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (_Usage, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has gone; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"cannot write the answer: {error.strerror or error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
