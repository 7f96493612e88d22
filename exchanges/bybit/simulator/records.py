"""What the simulator remembers of the requests that it saw: enough to hold a client's own account against.

Counts are exact for ever; of the records only the first `keep` are kept, so memory is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RequestLog", "RequestRecord"]


@dataclass(slots=True)
class RequestRecord:
    """One request of which at least the first bytes arrived, in order of arrival.

    `fault` and `status` are filled in as it is answered: `status` stays None where no status line was sent.
    """

    index: int  # from 1, over all connections
    request_id: str | None  # the header cdn-request-id
    method: str
    path: str
    op: str | None  # the operation's name; None for a path that is none
    query: Mapping[str, str]
    connection: int  # from 1, in order of acceptance
    nth: int  # from 1, on this connection
    fault: str | None = None
    status: int | None = None


class RequestLog:
    """Records and counters."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.records: list[RequestRecord] = []
        self.requests = 0
        self._operations: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def add(self, record: RequestRecord) -> None:
        """Count a request that has just arrived; its index must be the next one."""
        self.requests += 1
        self._operations[record.op or "unknown"] += 1
        if len(self.records) < self._keep:
            self.records.append(record)

    def struck(self, record: RequestRecord, fault: str) -> None:
        """A fault was injected into the request."""
        record.fault = fault
        self._faults[fault] += 1

    def answered(self, record: RequestRecord, status: int) -> None:
        """A status line was sent."""
        record.status = status
        self._statuses[status] += 1

    def counts(self) -> dict[str, Any]:
        """All counters as plain data."""
        return {
            "requests": self.requests,
            "operations": dict(self._operations),
            "faults": dict(self._faults),
            "statuses": dict(self._statuses),
        }
