"""What a budget promises, checked the slow way: every call, every extra request, every window."""

from __future__ import annotations

from bisect import bisect_right


class Model:
    """The promise: a log of calls and of extra requests, of which no window may hold too many of the latter.

    A window begins when it likes; the fullest ones begin with an extra request. Where the floor is below ten, it is
    asked of the windows of full length that end now, and a shorter one may hold ten.
    """

    def __init__(self, ratio: float, floor: float, window: float) -> None:
        self.ratio, self.floor, self.window = ratio, floor, window
        self.calls: list[float] = []
        self.sent: list[tuple[float, int]] = []  # when, and how many calls had begun

    def fits(self, now: float, share: float = 1.0, blur: float = 0.0) -> bool:
        """Would one more extra request now keep the promise? With a part of the share, and window ends that blur."""
        log = [calls for at, calls in self.sent if at >= now - self.window - blur]
        log.append(len(self.calls))
        ratio, calls = share * self.ratio, len(self.calls) - bisect_right(self.calls, now - self.window + blur)
        if self.floor < 10 and len(log) > max(self.floor, ratio * calls) + 1e-6:
            return False
        free = max(10.0, self.floor)
        return not any(
            len(log) - i > max(free, ratio * (len(self.calls) - begun)) + 1e-6 for i, begun in enumerate(log)
        )

    def send(self, now: float) -> None:
        assert self.fits(now), f"{len(self.sent) + 1} extra requests at {now} break the promise"
        self.sent.append((now, len(self.calls)))

    def refuse(self, now: float) -> None:
        """A refusal may be excused by a tenth of the share, and by what two marks of a small budget lie apart."""
        blur = self.window / 40 if self.floor < 10 else 0.0
        assert not self.fits(now, 0.9, blur + 1e-6), f"needlessly refused at {now}"
