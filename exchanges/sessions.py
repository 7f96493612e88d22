"""The HTTP sessions of one resource: what its pool opens, and the count of connections over all of them.

A session that broke is replaced, and its own count ends with it; the question "how many connections did we open" is
about all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .transport.settings import RestSettings
from .usage import UsageError

if TYPE_CHECKING:
    from .transport.rest import Rest

__all__ = ["Sessions", "broken"]


class Sessions:
    """Opens sessions with the same settings, one after the other; aiohttp is imported with the first."""

    def __init__(self, settings: RestSettings) -> None:
        self.settings = settings
        self.closed = False  # for good: a call that outlives its manager must not open what nobody will close
        self._before = 0
        self._live: list[Rest] = []

    async def open(self) -> Rest:
        """One more session, for a pool to lend. Raises `ConfigError`, and `UsageError` once `closed` is set."""
        from .transport.rest import Rest

        if self.closed:
            raise UsageError("this manager is closed: load another one")
        rest = await Rest.open(self.settings)
        self._fold()
        self._live.append(rest)
        return rest

    def connections(self) -> int:
        """How many connections all sessions have opened so far."""
        return self._before + sum(_opened(rest) for rest in self._live)

    def _fold(self) -> None:
        """Keep the numbers of closed sessions, and let go of the sessions."""
        closed = [rest for rest in self._live if rest.closed]
        self._before += sum(_opened(rest) for rest in closed)
        self._live = [rest for rest in self._live if not rest.closed]


def _opened(rest: Rest) -> int:
    count: int = rest.status()["connections_opened"]
    return count


def broken(exc: Exception) -> bool:
    """Which errors condemn a session rather than one request."""
    from .transport.rest import broken

    return broken(exc)
