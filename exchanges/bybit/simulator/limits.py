"""Bybit's limit per IP address: so many requests in a rolling window, then a ban.

The real one is 600 in 5 s over all hosts, answered with HTTP 403 for at least 10 minutes; it lifts by itself.
"""

from __future__ import annotations

from collections import deque

from resilience.units import rate

__all__ = ["IpLimit"]


class IpLimit:
    """Counts requests against ``n/window`` (as ``600/5s``) and bans for `ban` seconds whoever sends one more.

    Raises `resilience.ConfigError` for a text that is no rate.
    """

    def __init__(self, text: str, ban: float) -> None:
        count, self._window = rate(text)
        self.quota = int(count)
        self._ban = ban
        self._seen: deque[float] = deque()
        self._banned_until = 0.0

    def admit(self, now: float) -> bool:
        """Count a request at `now` (s); False if it is over the limit or falls into the ban."""
        if now < self._banned_until:
            return False
        self._forget(now)
        if len(self._seen) >= self.quota:
            self._banned_until = now + self._ban
            self._seen.clear()
            return False
        self._seen.append(now)
        return True

    def left(self, now: float) -> int:
        """How many more requests are admitted at `now`."""
        self._forget(now)
        return self.quota - len(self._seen)

    def reset_in(self, now: float) -> float:
        """Seconds until the oldest counted request leaves the window."""
        return max(self._seen[0] + self._window - now, 0.0) if self._seen else 0.0

    def _forget(self, now: float) -> None:
        while self._seen and self._seen[0] <= now - self._window:
            self._seen.popleft()
