"""What a shadow has found, as counts by pipeline, policy and operation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CAVEATS", "Finding", "Report", "Tally"]

WORDS = {
    "refuses": "would have been refused",
    "admits": "were refused, and would not have been",
    "waits": "would have waited longer",
    "waits_less": "would have waited less",
    "cuts": "succeeded, and would have been cut off",
    "gives_up_sooner": "failed, and would have been given up sooner",
    "gives_up_later": "were cut off, and would have been granted more time",
    "retries": "failed for good, and would have been tried again",
    "retries_not": "were tried again, and would not have been",
    "hedges": "would have been asked once more",
    "sheds": "would have been shed, on average",
}
CAVEATS = (
    "what it would have refused was sent, and what it would have sent again was not: what would have come of that is "
    "not known, nor what a target with more or less to do would have answered",
    "its breakers, limits and places began empty when it began to look",
    "each policy is judged by itself: what one of them refuses, the others still see",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` calls or attempts (an expectation where dice decide) that `policy` would have treated otherwise.

    `what` is one of ``refuses admits waits waits_less cuts gives_up_sooner gives_up_later retries retries_not hedges
    sheds``. `seconds` is how much longer (or less) in all, where that is known.
    """

    pipeline: str
    policy: str
    position: int
    op: str
    what: str
    count: float
    seconds: float

    def __str__(self) -> str:
        more = f", {self.seconds:.3g} s in all" if self.seconds else ""
        return f"{self.pipeline}.{self.policy}[{self.position}] {self.op}: {self.count:g} {WORDS[self.what]}{more}"


@dataclass(frozen=True, slots=True)
class Report:
    """Of `calls` with so many `attempts` in `seconds`: where the new policies would have decided otherwise."""

    calls: int
    attempts: int
    seconds: float
    findings: tuple[Finding, ...]
    unjudged: tuple[str, ...]
    caveats: tuple[str, ...] = CAVEATS

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"shadow: {self.calls} calls, {self.attempts} attempts in {self.seconds:.3g} s"
        yield from (f"  {finding}" for finding in self.findings or ("it would have decided the same",))
        yield from (f"  not judged: {what}" for what in self.unjudged)
        yield from (f"  note: {caveat}" for caveat in self.caveats)


class Tally:
    """Adds up what the judges find."""

    def __init__(self) -> None:
        self.calls = self.attempts = 0
        self.first = float("inf")
        self.last = float("-inf")
        self.unjudged: dict[str, None] = {}
        self._rows: dict[tuple[str, str, int, str, str], list[float]] = {}

    def at(self, at: float) -> None:
        """Something happened."""
        self.first, self.last = min(self.first, at), max(self.last, at)

    def add(self, where: tuple[str, str, int], op: str, what: str, seconds: float = 0.0, count: float = 1.0) -> None:
        row = self._rows.setdefault((*where, op, what), [0.0, 0.0])
        row[0] += count
        row[1] += seconds

    def report(self) -> Report:
        findings = tuple(Finding(*key, *(round(value, 6) for value in row)) for key, row in sorted(self._rows.items()))
        seconds = max(0.0, self.last - self.first)
        return Report(self.calls, self.attempts, seconds, findings, tuple(self.unjudged))
