"""`resilience dashboard`: the server alone, for what other processes send."""

from __future__ import annotations

import asyncio
import signal

from ..errors import ConfigError
from .server import Dashboard
from .settings import check_place

__all__ = ["run", "until_interrupted"]


def run(host: str, port: int, token: str | None, store: str | None) -> None:
    """Serve until SIGINT or SIGTERM. Raises `ConfigError`."""
    check_place(host, port, token)
    asyncio.run(_serve(host, port, token, store))


async def _serve(host: str, port: int, token: str | None, store: str | None) -> None:
    try:
        dashboard = Dashboard(host=host, port=port, token=token, store=store)
    except OSError as error:
        raise ConfigError(f"dashboard: cannot open {store}: {error.strerror or error}") from None
    async with dashboard:
        print(f"dashboard on {dashboard.address}", flush=True)
        await until_interrupted()


async def until_interrupted(seconds: float | None = None) -> None:
    """Wait for Ctrl-C or SIGTERM, for so many seconds at most."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, over.set)
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        pass
    finally:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)
