"""`exchanges demo`: a simulated Bybit with faults, called through YAML pipelines, and what came of it.

Three acts. Nine tickers on one connection; the eight operations under a fault plan, beside the client that this
project replaces under the same plan; and an outage, in which the breaker opens and closes again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from ..bybit.simulator import Simulator
from ..manager import ExchangeManager
from .plan import FAULTS
from .tally import Tally
from .views import live_table, summary
from .waterfall import waterfall
from .work import SYMBOLS, operate, operate_naively

if TYPE_CHECKING:
    from resilience.dashboard.server import Dashboard

__all__ = ["run"]

_SCALE = 10
_NAIVE_TIMEOUT = 5.0 / _SCALE
_MOST_NAIVE_CALLS = 600
_OUTAGE = 1.5
STAY = 120.0
"""Seconds for which the dashboard stays after the last act, with calls going on."""


async def run(*, seconds: float, seed: int, live: bool = False, dashboard: bool = False, stay: float = STAY) -> int:
    """Show it on the terminal; returns the exit code. `live` calls the real public API, with no faults to inject.

    `dashboard` serves one meanwhile, and for `stay` seconds after, while calls go on.
    """
    console = Console()
    async with AsyncExitStack() as stack:
        board = await stack.enter_async_context(await _dashboard(console)) if dashboard else None
        code = await (_run_live(console, seconds, board) if live else _three_acts(console, seconds, seed, board))
        if board is not None and not live:
            console.print(
                f"\nThe dashboard stays for {stay:g} s, with calls going on: {board.address}  (Ctrl-C ends it)",
                soft_wrap=True,
            )
            await _encore(board, seed, stay)
    return code


async def _dashboard(console: Console) -> Dashboard:
    """On its usual port, or any other if that is taken."""
    from resilience import ConfigError
    from resilience.dashboard.server import Dashboard

    try:
        board = Dashboard()
        await board.start()
    except ConfigError:
        board = Dashboard(port=0)
        await board.start()
    console.print(f"dashboard on {board.address}", soft_wrap=True)
    return board


async def _encore(board: Dashboard, seed: int, seconds: float) -> None:
    async with (
        Simulator(seed=seed, faults=FAULTS) as rough,
        _manager(rough.url, seed) as manager,
        _shown(board, manager),
    ):
        await operate(manager, seconds)


async def _three_acts(console: Console, seconds: float, seed: int, board: Dashboard | None) -> int:
    console.print(
        f"[bold]A simulated Bybit on loopback, with faults (seed {seed}).[/] "
        f"Timeouts and waits are the built-in ones divided by {_SCALE}.",
        soft_wrap=True,
    )
    tally = Tally()
    async with Simulator(seed=seed) as calm:
        await _nine_tickers(console, calm.url, seed)
    async with Simulator(seed=seed, faults=FAULTS) as rough:
        outcomes, stats = await _rough_weather(console, tally, rough, seconds, seed, board)
    async with Simulator(seed=seed, faults=FAULTS) as same_plan:
        calls = min(_MOST_NAIVE_CALLS, max(1, outcomes.total()))
        with console.status(f"the same plan, {calls} calls by a client with a session per request and no retry ..."):
            naive = await operate_naively(same_plan.url, calls, _NAIVE_TIMEOUT)
    console.print(summary(tally, outcomes, naive, stats), soft_wrap=True)
    await _outage(console, seed, board)
    story = tally.most_telling()
    if story is None:
        console.print("No call was retried in this run; a longer one (--seconds) will have one.")
    else:
        console.print("\n[bold]One retried call[/] (solid: an attempt; light: waiting for the next)")
        for line in waterfall(story):
            console.print(line, soft_wrap=True)
    return 0


def _manager(base_url: str, seed: int, *observers: Any) -> ExchangeManager:
    path = files(__package__).joinpath("demo.yaml")
    return ExchangeManager.load(str(path), base_url=base_url, observers=observers)


@asynccontextmanager
async def _shown(board: Dashboard | None, manager: ExchangeManager) -> AsyncIterator[None]:
    """On the dashboard, if there is one, as long as the manager lives; its traces stay."""
    if board is None:
        yield
        return
    board.watch(manager)
    try:
        yield
    finally:
        board.forget(manager)


async def _nine_tickers(console: Console, url: str, seed: int) -> None:
    """Act one: rapid calls ride on one connection."""
    async with _manager(url, seed) as manager:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(9):
            await manager.fetch_ticker("bybit", SYMBOLS[number % len(SYMBOLS)])
        took = loop.time() - begun
        opened = manager.status()["pools"]["rest"]["opened"]
    console.print(f"Nine tickers, one after the other: {took * 1000:.0f} ms on {opened} connection.")


async def _rough_weather(
    console: Console, tally: Tally, simulator: Simulator, seconds: float, seed: int, board: Dashboard | None = None
) -> tuple[Counter[str], dict[str, Any]]:
    """Act two: the eight operations while one request in six goes wrong."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with _manager(simulator.url, seed, tally) as manager, _shown(board, manager):
        moving = console.is_terminal and not console.is_dumb_terminal  # elsewhere only the last table is printed
        with Live(console=console, refresh_per_second=4, transient=moving) as view:
            work = asyncio.ensure_future(operate(manager, seconds))
            try:
                while not work.done():
                    await asyncio.wait((work,), timeout=0.25)
                    view.update(live_table(tally, simulator.stats(), min(1.0, (loop.time() - begun) / seconds)))
            finally:
                work.cancel()
                await asyncio.wait((work,))
        console.print()
        pool = manager.status()["pools"]["rest"]
        return work.result(), {**simulator.stats(), "pool": pool}


async def _outage(console: Console, seed: int, board: Dashboard | None = None) -> None:
    """Act three: the exchange is gone for a while; calls are refused at once instead of piling up."""
    async with Simulator(seed=seed) as simulator:
        url = simulator.url
    port = int(url.rsplit(":", 1)[1])
    tally = Tally()
    with console.status(f"an outage of {_OUTAGE} s ..."):
        async with _manager(url, seed, tally) as manager, _shown(board, manager):
            work = asyncio.ensure_future(operate(manager, _OUTAGE + 2.0, pause=0.02))
            await asyncio.sleep(_OUTAGE)
            async with Simulator(port, seed=seed):
                outcomes = await work
    console.print(
        f"\n[bold]An outage of {_OUTAGE} s[/]: {outcomes['refused']} calls refused at once by the open circuit, "
        f"{outcomes['ok']} answered after it."
    )
    for change in tally.changes:
        console.print(f"  {change.kind} {change.key}: {change.old} -> {change.new}  ({change.cause})", soft_wrap=True)


async def _run_live(console: Console, seconds: float, board: Dashboard | None = None) -> int:
    """The same operations against the real public API, with the built-in configuration."""
    tally = Tally()
    manager = ExchangeManager.load(observers=(tally,))
    async with manager, _shown(board, manager):
        await manager.fetch_ticker("bybit", SYMBOLS[0])  # no network: one clear line instead of a table of failures
        console.print("[bold]The public API of Bybit, with the built-in configuration.[/]")
        outcomes = await operate(manager, seconds, pause=0.5)
        pool = manager.status()["pools"]["rest"]
    console.print(live_table(tally, {"requests": pool["requests"], "connections": pool["opened"]}, 1.0))
    console.print(f"{outcomes['ok']} of {outcomes.total()} calls succeeded.")
    return 0
