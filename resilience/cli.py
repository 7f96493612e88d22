"""The command `resilience`. Each subcommand is a module of `resilience.commands`.

A failure is one line on stderr and never a traceback; exit 2 is bad usage or configuration. `check` alone lists its
problems on stdout, because they are its result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .commands import COMMANDS
from .errors import ConfigError

__all__ = ["main"]


class _Usage(Exception):
    """Wrong arguments, in one line."""


class _Parser(argparse.ArgumentParser):
    """Argparse without its usage block: a usage error is one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(f"{self.prog}: {message}; see {self.prog} --help")


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
    try:
        arguments = _parser().parse_args(argv)
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
