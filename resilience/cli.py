"""The command `resilience`. Each subcommand is a module of `resilience.commands`.

A failure is one line on stderr and never a traceback; exit 2 is bad usage or configuration. `check` alone lists its
problems on stdout, because they are its result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from .commands import COMMANDS
from .console import ended
from .errors import ConfigError

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Argparse without its usage block: a usage error is one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def _parser() -> _Parser:
    parser = _Parser(
        prog="resilience",
        description="Resilience pipelines: configuration tools and the dashboard.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.HELP, description=command.HELP, allow_abbrev=False)
        command.arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return ended(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
