"""Which candles a kline request means: Bybit's intervals and its three kinds of time window."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["INTERVALS", "floor", "starts"]

_MINUTES = {name: int(name) for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")}
INTERVALS = (*_MINUTES, "D", "W", "M")
_DAY = 86_400_000
_MONDAY = 4 * _DAY  # the first Monday after the epoch, a Thursday


def floor(interval: str, at: int) -> int:
    """The start (ms) of the candle that holds `at` (ms); days, weeks (Monday) and months begin at 00:00 UTC."""
    if interval == "M":
        day = datetime.fromtimestamp(at / 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000
    if interval == "W":
        return (at - _MONDAY) // (7 * _DAY) * 7 * _DAY + _MONDAY
    length = _DAY if interval == "D" else _MINUTES[interval] * 60_000
    return at // length * length


def _next(interval: str, start: int) -> int:
    if interval == "M":
        return floor("M", start + 31 * _DAY)
    if interval == "W":
        return start + 7 * _DAY
    return start + (_DAY if interval == "D" else _MINUTES[interval] * 60_000)


def starts(
    interval: str, first: int | None, last: int | None, limit: int, *, launch: int, now: int
) -> list[tuple[int, int]]:
    """(start, end) in ms of up to `limit` candles, newest first.

    With `first` alone they run forward from it; otherwise they run back from `last`, or from now, as far as `first`.
    No candle begins before `launch` or after `now`.
    """
    lowest = min(max(first or 0, launch), now + 1)
    start = floor(interval, lowest)
    if start < lowest:
        start = _next(interval, start)
    found: list[tuple[int, int]] = []
    if first is not None and last is None:
        while start <= now and len(found) < limit:
            found.append((start, _next(interval, start)))
            start = found[-1][1]
        return found[::-1]
    at = floor(interval, now if last is None else min(last, now))
    while at >= start and len(found) < limit:
        found.append((at, _next(interval, at)))
        at = floor(interval, at - 1)
    return found
