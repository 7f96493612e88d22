"""`resilience top`: a dashboard in the terminal, fed by one that runs."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

__all__ = ["HELP", "arguments", "run"]

HELP = "show a running dashboard in the terminal: operations, breakers, limits, last failures"
TOKEN = "RESILIENCE_DASHBOARD_TOKEN"  # noqa: S105 (the name of a variable)


def arguments(parser: argparse.ArgumentParser) -> None:
    where = "where the dashboard is (http://127.0.0.1:8787 by default)"
    parser.add_argument("--url", default="http://127.0.0.1:8787", metavar="URL", help=where)
    parser.add_argument(
        "--token", metavar="T", help=f"its token; ${TOKEN} by default, which no list of processes shows"
    )
    parser.add_argument("--once", action="store_true", help="print everything once, as where stdout is no terminal")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    from ..dashboard.terminal.client import Unreachable
    from ..dashboard.terminal.plain import once

    token = arguments.token or os.environ.get(TOKEN) or None
    if not (arguments.once or arguments.json or not sys.stdout.isatty()):
        return _live(arguments.url, token)
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 160
    try:
        print(once(arguments.url, token, arguments.json, width))
    except Unreachable as error:
        print(f"top: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _live(url: str, token: str | None) -> int:
    from ..dashboard.terminal import client
    from ..errors import ConfigError

    client.Client(url, token)  # what is wrong with the arguments is told before the screen is taken
    try:
        from ..dashboard.terminal.app import Top
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise ConfigError(
            "top: the live view needs a package that is missing; pip install 'exchange-resilience[top]' "
            "(resilience top --once needs none)"
        ) from None
    app = Top(url, token)
    app.run()
    return app.return_code or 0
