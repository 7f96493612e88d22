"""`resilience tune`: what recorded traffic says about a configuration, as a YAML diff with the evidence."""

from __future__ import annotations

import argparse
import json

__all__ = ["HELP", "arguments", "run"]

HELP = "propose timeouts, retries, hedges and limits from recorded traffic, as a YAML diff"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a pipelines file or exchanges.yaml")
    parser.add_argument(
        "--traces",
        metavar="FILE",
        required=True,
        help="the dashboard's store, OTLP JSON, or a Prometheus range as JSON",
    )
    parser.add_argument("--pipeline", metavar="NAME", help="only this one; by default all that had traffic")
    parser.add_argument("--quantile", default="p99", metavar="Q", help="of the answers a timeout waits for (p99)")
    parser.add_argument("--confidence", default="95%", metavar="P", help="of the intervals, 95%% by default")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    from ..errors import ConfigError
    from ..recorded import is_range, read_range, read_traces
    from ..recorded.confidence import confidence_of
    from ..recorded.traces import bytes_of
    from ..tune import tune
    from ..tune.report import as_data, as_text
    from ..units import quantile

    confidence = confidence_of("resilience tune", arguments.confidence)
    try:
        q = quantile(arguments.quantile)
    except ConfigError as error:
        raise ConfigError(f"resilience tune: --quantile: {error}") from None
    try:
        text = bytes_of(arguments.config).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{arguments.config}: is not UTF-8 text; save it as UTF-8") from None
    traffic = read_range(arguments.traces) if is_range(arguments.traces) else read_traces(arguments.traces)
    found = tune(arguments.config, text, traffic, pipeline=arguments.pipeline, q=q, confidence=confidence)
    print(
        json.dumps(as_data(found), indent=2) if arguments.json else as_text(found), end="\n" if arguments.json else ""
    )
    return 0
