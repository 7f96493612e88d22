"""What the benchmarks time: each module makes targets, by name, and imports only the libraries that it times.

`find` gives the maker of one arm: an async function that returns the coroutine function to be timed. Makers are async
because some peers want a running loop. What cannot be imported raises `ImportError` there, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

Target = Callable[[], Awaitable[Any]]
Maker = Callable[[], Awaitable[Target]]


async def bare() -> int:
    """What every arm guards: as little as a call can be."""
    return 1


async def failing() -> int:
    """What is guarded where failures are timed. The error is always made anew, as a real one is."""
    raise ConnectionResetError("reset")


def find(name: str) -> Maker:
    """The maker ``function`` of ``module:function`` in this package."""
    module, _, function = name.partition(":")
    maker: Maker = getattr(import_module(f"arms.{module}"), function)
    return maker
