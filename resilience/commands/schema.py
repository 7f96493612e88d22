"""`resilience schema`: the JSON Schema of a configuration file."""

from __future__ import annotations

import argparse
import json

__all__ = ["HELP", "arguments", "run"]

HELP = "print the JSON Schema of a configuration file, for editors"


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace) -> int:
    from ..config.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0
