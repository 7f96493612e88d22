"""The model file: what is asked, how fast the other side answers, what goes wrong, and how much it can bear.

The dataclasses are the schema, read as strictly as any configuration: every mistake with its line and column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..call import Priority
from ..errors import ConfigError
from ..lint.facts import repeatable
from ..units import Rate, Seconds, Share, check, rate
from .faults import Fault, FaultKind
from .latency import Latency

__all__ = ["Model", "Operation", "Outage", "Server", "Surge", "read_model"]

_REST = 60.0


@dataclass(frozen=True, slots=True)
class Operation:
    """Calls of one kind: `rate` (``20/s``) of them arrive, each answered within `latency` while nothing is wrong.

    `idempotent`: may it happen twice? None: yes, unless a candidate's file says otherwise (``lint.not_idempotent``)
    or it is called like an order (``create_order``, ``withdraw``).
    `keys`: how many different things are asked about (symbols), for caches and coalescing; None: never twice the same.
    """

    rate: Rate
    latency: Seconds | Latency
    idempotent: bool | None = None
    cost: float = 1.0
    priority: Priority = "default"
    faults: Sequence[Fault] = ()
    keys: int | None = None

    def __post_init__(self) -> None:
        rate(self.rate)
        if not isinstance(self.latency, Latency):
            check("Operation", "latency", self.latency, least=0)
        check("Operation", "cost", self.cost, above=0)
        if self.keys is not None:
            check("Operation", "keys", self.keys, least=1, whole=True)

    def repeatable(self, name: str, writes: Collection[str] = ()) -> bool:
        """Whether it may happen twice, if that is its name; `writes` must not, unless the model says that it may."""
        return repeatable(name, writes) if self.idempotent is None else self.idempotent

    @property
    def per_second(self) -> float:
        """Calls a second."""
        count, window = rate(self.rate)
        return count / window


@dataclass(frozen=True, slots=True)
class Server:
    """What the other side can bear, so that load feeds back.

    `capacity` (``125/s``): requests are worked off in the order of arrival, also those that nobody waits for any more;
    the wait is added to the latency. `queue`: the most that wait; beyond, `full` is the answer. `limit` (``600/5s``):
    more requests than that in its window are throttled, with `retry_after` (by default until there is room again).
    """

    capacity: Rate | None = None
    queue: int = 1000
    full: Literal["refused", "server_error", "throttled"] = "server_error"
    limit: Rate | None = None
    retry_after: Seconds | None = None

    def __post_init__(self) -> None:
        for text in (self.capacity, self.limit):
            if text is not None:
                rate(text)
        check("Server", "queue", self.queue, least=1, whole=True)
        if self.retry_after is not None:
            check("Server", "retry_after", self.retry_after, least=0)


@dataclass(frozen=True, slots=True)
class Outage:
    """From `at` on, for `lasts`: a `share` of attempts end as `kind`, or the server keeps a share of its `capacity`."""

    at: Seconds
    lasts: Seconds
    kind: FaultKind | None = None
    share: Share = 1.0
    after: Seconds | None = None
    retry_after: Seconds | None = None
    capacity: Share | None = None

    def __post_init__(self) -> None:
        check("Outage", "at", self.at, least=0)
        check("Outage", "lasts", self.lasts, above=0)
        check("Outage", "share", self.share, least=0, most=1)
        if (self.kind is None) == (self.capacity is None):
            raise ConfigError("Outage: give either kind (what becomes of attempts) or capacity (what the server keeps)")
        if self.capacity is not None:
            check("Outage", "capacity", self.capacity, above=0, most=1)

    @property
    def ends(self) -> float:
        return self.at + self.lasts


@dataclass(frozen=True, slots=True)
class Surge:
    """From `at` on, for `lasts`, `times` as many calls arrive."""

    at: Seconds
    lasts: Seconds
    times: float

    def __post_init__(self) -> None:
        check("Surge", "at", self.at, least=0)
        check("Surge", "lasts", self.lasts, above=0)
        check("Surge", "times", self.times, above=0)


@dataclass(frozen=True, slots=True)
class Model:
    """The whole file. `seconds`: how long calls arrive; by default a minute beyond the last trouble, or two minutes.

    `arrivals`: at random moments (``poisson``) or evenly (``steady``). `faults` concern every operation.
    """

    version: int
    operations: Mapping[str, Operation]
    seconds: Seconds | None = None
    arrivals: Literal["poisson", "steady"] = "poisson"
    faults: Sequence[Fault] = ()
    server: Server = field(default_factory=Server)
    outages: Sequence[Outage] = ()
    surges: Sequence[Surge] = ()

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ConfigError(f"Model: version is {self.version!r}, must be 1")
        if not self.operations:
            raise ConfigError("Model: operations is empty, must have one at least")
        if self.seconds is not None:
            check("Model", "seconds", self.seconds, above=0)
        for name, operation in self.operations.items():
            total = sum(fault.rate for fault in (*self.faults, *operation.faults))
            if total > 1 + 1e-9:
                raise ConfigError(f"Model: the faults of {name} add up to {total:.0%}, must be at most 100%")
        if any(outage.capacity is not None for outage in self.outages) and self.server.capacity is None:
            raise ConfigError("Model: outages takes a share of the server's capacity, but server.capacity is not given")

    @property
    def per_second(self) -> float:
        """Calls a second, of all operations, without surges."""
        return sum(operation.per_second for operation in self.operations.values())

    @property
    def length(self) -> float:
        """For how many seconds calls arrive."""
        if self.seconds is not None:
            return self.seconds
        last = max([*(o.ends for o in self.outages), *(s.at + s.lasts for s in self.surges)], default=0.0)
        return last + _REST if last else 2 * _REST


def read_model(path: str) -> Model:
    """The model in a YAML file. Raises `ConfigError` with all that is wrong with it."""
    from ..config import Document, convert  # msgspec and yaml, when a file is read

    return convert(Document.load(path), Model)
