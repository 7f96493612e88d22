"""``exchanges simulate bybit``: the simulator as a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from .server import Simulator

__all__ = ["serve"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def serve(port: int = 0, faults_path: str | None = None, replay_dir: str | None = None, seed: int = 0) -> None:
    """Run until SIGINT, SIGTERM or cancellation; prints ``listening on http://127.0.0.1:PORT`` once it is ready.

    Raises `SimulatorError` (its text is one line) when it cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Simulator(port, seed, faults_path, replay_dir) as simulator:
        with contextlib.ExitStack() as undo:
            for number in _SIGNALS:
                with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread
                    loop.add_signal_handler(number, stop.set)
                    undo.callback(loop.remove_signal_handler, number)
            print(f"listening on {simulator.url}", flush=True)
            await stop.wait()
