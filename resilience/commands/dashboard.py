"""`resilience dashboard`: the trace dashboard on its own, fed by other processes."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "arguments", "run"]

HELP = "show traces that other processes send (OTLP/HTTP)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8787, metavar="N", help="8787 by default; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="another than loopback needs --token")
    parser.add_argument("--token", metavar="T", help="asked of whoever looks in or sends spans")
    parser.add_argument("--store", metavar="FILE", help="an SQLite file that keeps traces over a restart")


def run(arguments: argparse.Namespace) -> int:
    from ..dashboard import alone

    alone.run(arguments.host, arguments.port, arguments.token, arguments.store)
    return 0
