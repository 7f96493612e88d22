"""`exchanges`: the command line. Fetch one operation, simulate an exchange, or watch the demonstration.

A failure prints exactly one line on stderr and nothing on stdout. Exit codes: 0 done, 1 the exchange or the network
failed, 2 bad usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

__all__ = ["main"]

OPERATIONS = (
    "ticker", "orderbook", "trades", "ohlcv", "markets", "risk_limits", "long_short_ratio", "funding_rate",
)  # fmt: skip
_NEED_A_SYMBOL = set(OPERATIONS) - {"markets", "risk_limits"}
_OF_ONE_OPERATION = {"timeframe": "ohlcv", "period": "long_short_ratio", "history": "funding_rate"}
_NO_LIMIT = {"ticker", "markets", "risk_limits"}


class _Parser(argparse.ArgumentParser):
    """One line for a usage error, and no usage block."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(f"{message} (see {self.prog} --help)")


class _Usage(Exception):
    """The command line cannot be carried out as it stands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        options = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], Coroutine[Any, Any, int]] = options.run
        code = asyncio.run(run(options))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where its failure has an exit code and a line, and not when the process ends
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away
        _forget_output()
        return 1
    except Exception as exc:
        code, line = _failure(exc)
        if isinstance(exc, OSError):
            _forget_output()
        if sys.stderr is not None:  # with it closed, print would write on stdout
            print(f"exchanges: {line}", file=sys.stderr)
        return code


def _forget_output() -> None:
    """Send what stdout still holds nowhere: Python would try again at exit, complain, and change the exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _failure(exc: Exception) -> tuple[int, str]:
    """The exit code and the one line for an error. What nobody foresaw is called that."""
    from resilience import ConfigError, ResilienceError

    from .bybit.simulator import SimulatorError
    from .errors import ExchangeError
    from .usage import UsageError

    text = " ".join(str(exc).split()) or type(exc).__name__
    if isinstance(exc, (_Usage, ConfigError, UsageError, SimulatorError)):
        return 2, text
    if isinstance(exc, (ExchangeError, ResilienceError, OSError)):
        return 1, text
    return 1, f"internal error, please report it: {type(exc).__name__}: {text}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="exchanges", description="Exchanges behind resilience pipelines.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    fetch = commands.add_parser("fetch", help="one operation, as a table or as JSON", allow_abbrev=False)
    fetch.add_argument("operation", metavar="OPERATION", help=", ".join(OPERATIONS))
    fetch.add_argument("symbol", metavar="SYMBOL", nargs="?", help="for example BTCUSDT")
    fetch.add_argument("--exchange", default="bybit", metavar="NAME", help="as the configuration names it")
    fetch.add_argument("--category", help="spot, linear, inverse or option; the configured one by default")
    fetch.add_argument("--timeframe", help="of candles: 1m 5m 15m 1h 4h 1d 1w 1M ... (1h by default)")
    fetch.add_argument("--period", help="of the long/short ratio: 5min 15min 30min 1h 4h 1d (1h by default)")
    fetch.add_argument("--limit", type=int, metavar="N", help="how many rows; the exchange's own default otherwise")
    fetch.add_argument("--history", action="store_true", help="past funding rates instead of the next one")
    fetch.add_argument("--base-url", metavar="URL", help="another host, for example a simulated exchange")
    fetch.add_argument("--config", metavar="FILE", help="an exchanges.yaml; the built-in Bybit configuration otherwise")
    fetch.add_argument("--json", action="store_true", help="exactly one JSON document on stdout")
    fetch.set_defaults(run=_fetch)

    simulate = commands.add_parser("simulate", help="a simulated exchange as a server", allow_abbrev=False)
    simulate.add_argument("exchange", metavar="EXCHANGE", help="bybit")
    simulate.add_argument("--port", type=int, default=0, metavar="N", help="a free one by default")
    simulate.add_argument("--faults", metavar="FILE", help="a fault plan, YAML or JSON")
    simulate.add_argument("--replay", metavar="DIR", help="serve recorded replies instead of the moving market")
    simulate.add_argument("--seed", type=int, default=0, metavar="N", help="of the market and of the faults")
    simulate.set_defaults(run=_simulate)

    demo = commands.add_parser("demo", help="faults injected, calls surviving", allow_abbrev=False)
    demo.add_argument("--seconds", type=float, default=12.0, metavar="N", help="how long it calls (12 by default)")
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="of the market, the faults and the jitter")
    demo.add_argument("--live", action="store_true", help="the real public API instead of the simulator")
    demo.add_argument("--dashboard", action="store_true", help="a dashboard in the browser meanwhile, and 120 s after")
    demo.set_defaults(run=_demo)
    return parser


async def _fetch(options: argparse.Namespace) -> int:
    from .manager import ExchangeManager
    from .render import print_json, print_table
    from .usage import one_of

    if sys.stdout is None:
        raise _Usage("stdout is closed: there is nowhere to print the answer to")
    operation = one_of("operation", options.operation, OPERATIONS)
    arguments = _arguments(operation, options)
    manager = ExchangeManager.load(options.config, exchange=options.exchange, base_url=options.base_url)
    async with manager:
        fetch = getattr(manager, _method(operation, options.history))
        answer = await fetch(options.exchange, *([options.symbol] if options.symbol else []), **arguments)
    (print_json if options.json else print_table)(operation, answer)
    return 0


def _method(operation: str, history: bool) -> str:
    names = {"orderbook": "fetch_order_book", "funding_rate": "fetch_funding_rate" + ("_history" if history else "")}
    return names.get(operation, f"fetch_{operation}")


def _arguments(operation: str, options: argparse.Namespace) -> dict[str, Any]:
    """What was given beside the operation and the symbol. Raises `_Usage` for what this operation does not take."""
    if operation in _NEED_A_SYMBOL and not options.symbol:
        raise _Usage(f"{operation} needs a symbol, for example: exchanges fetch {operation} BTCUSDT")
    if operation == "markets" and options.symbol:
        raise _Usage("markets takes no symbol: it lists them all")
    for option, owner in _OF_ONE_OPERATION.items():
        if getattr(options, option) not in (None, False) and operation != owner:
            raise _Usage(f"--{option} belongs to {owner}, not to {operation}")
    if options.limit is not None:
        if operation in _NO_LIMIT or (operation == "funding_rate" and not options.history):
            raise _Usage(f"{operation} takes no --limit: it returns everything there is")
        if options.limit < 1:
            raise _Usage(f"--limit is {options.limit}, must be at least 1")
    given = {name: getattr(options, name) for name in ("category", "timeframe", "period", "limit")}
    return {name: value for name, value in given.items() if value is not None}


async def _simulate(options: argparse.Namespace) -> int:
    from .bybit.simulator import serve
    from .usage import one_of

    one_of("exchange", options.exchange, ["bybit"])
    if not 0 <= options.port <= 65535:
        raise _Usage(f"--port is {options.port}, must be from 0 (any free one) to 65535")
    if options.replay and options.faults:
        raise _Usage("--replay serves what was recorded: it takes no --faults")
    await serve(options.port, options.faults, options.replay, options.seed)
    return 0


async def _demo(options: argparse.Namespace) -> int:
    from .demo import run

    if not 1 <= options.seconds <= 3600:
        raise _Usage(f"--seconds is {options.seconds:g}, must be from 1 to 3600")
    return await run(seconds=options.seconds, seed=options.seed, live=options.live, dashboard=options.dashboard)


if __name__ == "__main__":
    sys.exit(main())
