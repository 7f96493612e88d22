"""`resilience explain`: what the pipelines of a file will do, in words and numbers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["HELP", "arguments", "run"]

HELP = "say in words and numbers what a pipeline will do: its worst case, its load, its course when all fails"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pipelines file or exchanges.yaml")
    parser.add_argument("pipeline", metavar="PIPELINE", nargs="?", help="this one only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--html", metavar="PAGE", help="write a page with pictures to this file as well")


def run(arguments: argparse.Namespace) -> int:
    from ..errors import ConfigError
    from ..explain import as_data, as_page, as_text, explain_file

    chapters = explain_file(arguments.file, arguments.pipeline)
    if arguments.html is not None:
        try:
            Path(arguments.html).write_text(as_page(chapters, Path(arguments.file).name), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{arguments.html}: cannot be written: {error.strerror or error}") from None
    print(json.dumps(as_data(chapters), indent=2) if arguments.json else as_text(chapters))
    return 0
