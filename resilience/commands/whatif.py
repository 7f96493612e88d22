"""`resilience whatif`: what configurations would have done, in recorded traffic or in a stated model of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..whatif.world import World

__all__ = ["HELP", "arguments", "run"]

_MOST_CALLS = 10_000_000  # of one run: they are held in memory, and take minutes
HELP = "compare configurations on recorded traffic, or on a model of it, in virtual time"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configs", metavar="CONFIG", nargs="+", help="files with pipelines; each pipeline is a candidate"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--traffic", metavar="FILE", help="recorded calls: the dashboard's store, or OTLP JSON")
    source.add_argument("--model", metavar="FILE", help="a model of the traffic and of what goes wrong (YAML)")
    parser.add_argument("--pipeline", metavar="NAME", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--recorded", metavar="NAME", help="replay the calls of this recorded pipeline only")
    parser.add_argument(
        "--writes",
        metavar="OP",
        action="append",
        default=[],
        help="may not happen twice, like those of lint.not_idempotent and what is called create_... and so on",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="0 by default; the same seed, the same output")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, metavar="S", help="of one run, in virtual time")
    length.add_argument("--calls", type=int, metavar="N", help="of one run, about; of a model only")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="replications, 10 by default")
    parser.add_argument("--confidence", default="95%", metavar="P", help="of the intervals, 95%% by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--html", metavar="FILE", help="write a page with a picture, too")


def run(arguments: argparse.Namespace) -> int:
    from ..errors import ConfigError
    from ..recorded.confidence import confidence_of
    from ..whatif import compare, read_candidates
    from ..whatif.page import as_page
    from ..whatif.report import as_data, as_text

    _check(arguments)
    confidence = confidence_of("resilience whatif", arguments.confidence)
    candidates = [found for path in arguments.configs for found in read_candidates(path, arguments.pipeline)]
    writes = {*arguments.writes, *(name for candidate in candidates for name in candidate.not_idempotent)}
    found = compare(
        candidates, _world(arguments, writes), seed=arguments.seed, replications=arguments.runs, confidence=confidence
    )
    if arguments.html is not None:
        try:
            Path(arguments.html).write_text(as_page(found), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{arguments.html}: cannot be written: {error.strerror or error}") from None
    print(json.dumps(as_data(found), indent=2) if arguments.json else as_text(found))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` for numbers that cannot work."""
    from ..errors import ConfigError
    from ..units import check

    check("resilience whatif", "--runs", arguments.runs, least=2, whole=True)
    if arguments.seconds is not None:
        check("resilience whatif", "--seconds", arguments.seconds, above=0)
    if arguments.calls is not None:
        check("resilience whatif", "--calls", arguments.calls, least=1, whole=True)
        if arguments.traffic:
            raise ConfigError("resilience whatif: recorded traffic has the calls that it has; use --seconds to cut it")
    if arguments.model and arguments.recorded:
        raise ConfigError("resilience whatif: --recorded is of --traffic; a model is of one pipeline")


def _world(arguments: argparse.Namespace, writes: Collection[str]) -> World:
    from ..errors import ConfigError
    from ..whatif import Modelled, Replay, read_model

    if arguments.model:
        model = read_model(arguments.model)
        seconds = arguments.seconds if arguments.calls is None else arguments.calls / model.per_second
        calls = model.per_second * (model.length if seconds is None else seconds)
        if calls > _MOST_CALLS:
            raise ConfigError(
                f"{arguments.model}: {calls:.3g} calls in one run, more than {_MOST_CALLS:,}: lower the rates, or give "
                "--seconds or --calls"
            )
        _spelled(arguments.writes, list(model.operations), "in the model")
        return Modelled(model, f"the model {arguments.model}", seconds=seconds, writes=writes)
    from ..recorded import read_traces

    recording = read_traces(arguments.traffic)
    if arguments.recorded:
        recording = recording.of(arguments.recorded)
        if not recording.calls:
            raise ConfigError(f"{arguments.traffic}: no call of a pipeline named {arguments.recorded!r} was recorded")
    _spelled(arguments.writes, list(recording.by_operation()), "recorded")
    return Replay(recording, writes, seconds=arguments.seconds)


def _spelled(writes: Sequence[str], names: Sequence[str], where: str) -> None:
    """A slip here would let an order be sent twice. Raises `ConfigError`."""
    from ..config.shape import nearest
    from ..errors import ConfigError

    for name in writes:
        if name not in names:
            known = f"{nearest(name, names)} ({where}: {', '.join(names)})"
            raise ConfigError(f"resilience whatif: --writes names {name!r}, which is not {where}{known}")
