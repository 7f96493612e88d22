"""Budgets: how many extra requests retries and hedges may send together, so that an outage is not made worse.

A budget is charged when the extra request is *scheduled*: one that is charged when sent lets a whole outage's worth of
retries queue up in their waits first (Envoy issue 30205). Policies of one pipeline, and of all pipelines loaded
together in one scope, share the budget of equal settings.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, cast

from ..call import Call
from ..errors import ConfigError
from ..keys import NAMED
from ..kit import Kit
from ..units import Seconds, Share, check
from .extras import Extras, Quota, extras

__all__ = ["Budget", "Budgets", "RetryBudget", "RetryQuota", "check_budget", "join"]

Key: TypeAlias = Union[Literal["host", "account", "op"], Callable[[Call], Hashable], None]  # noqa: UP007

_MOST_KEYS = 1000
_SWEEP_EVERY = 1.0  # seconds
_ALL = "default"  # the name in status() of the one budget that has no key
_OTHERS = "others"  # and of the one that keys beyond the most share


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """In any `window` seconds, extra requests for at most `ratio` of the calls begun in it, or `per_second` if more.

    Wherever the window lies, and for shorter ones too, so that the first second of an outage gets no more than its
    share; `per_second` times `window` may come all at once. Where that is less than ten, bursts of up to ten are let
    through as far as the calls of the last `window` seconds justify them.

    `key`: None for one budget; ``"host"``, ``"account"`` (keys that the adapter sets) or ``"op"``; or a function of the
    `Call`. 1,000 keys with extra requests in the window are told apart; any more of them share one budget.
    """

    ratio: Share = 0.2
    per_second: float = 10.0
    window: Seconds = 10.0
    key: Key = None

    def __post_init__(self) -> None:
        check("RetryBudget", "ratio", self.ratio, least=0, most=1)
        check("RetryBudget", "per_second", self.per_second, least=0)
        check("RetryBudget", "window", self.window, above=0)
        _check_key("RetryBudget", self.key)

    @property
    def name(self) -> str:
        """What tells budgets of different settings apart."""
        return f"{_named(self.key)}/{self.ratio:g} or {self.per_second:g}/s in {self.window:g}s"

    def make(self) -> Extras:
        """The arithmetic of one budget."""
        return extras(self.ratio, self.per_second * self.window, self.window)


@dataclass(frozen=True, slots=True)
class RetryQuota:
    """The retry quota of the AWS SDKs: a purse of `tokens`, from which each retry is paid and which successes fill.

    A retry costs `transient`, or `throttle` after a THROTTLED; a call that succeeds gives back what its last retry
    cost, or `success` if it had none. It knows no time. `key` as in `RetryBudget`.
    """

    tokens: int = 500
    transient: int = 14
    throttle: int = 5
    success: int = 1
    key: Key = None

    def __post_init__(self) -> None:
        check("RetryQuota", "tokens", self.tokens, least=1, whole=True)
        check("RetryQuota", "transient", self.transient, least=1, whole=True)
        check("RetryQuota", "throttle", self.throttle, least=1, whole=True)
        check("RetryQuota", "success", self.success, least=0, whole=True)
        _check_key("RetryQuota", self.key)

    @property
    def name(self) -> str:
        """What tells quotas of different settings apart."""
        return f"{_named(self.key)}/{self.tokens} tokens {self.transient}-{self.throttle}+{self.success}"

    def make(self) -> Quota:
        """The arithmetic of one quota."""
        return Quota(self.tokens, self.transient, self.throttle, self.success)


Budget: TypeAlias = Union[RetryBudget, RetryQuota, None]  # noqa: UP007


def join(budget: Budget, kit: Kit) -> tuple[Budgets | None, bool]:
    """The state of a policy's budget, and whether this policy is the one that tells it of the calls of this pipeline.

    That is the innermost which shares it: it sees each call's first attempt as the others do.
    """
    if budget is None:
        return None, False
    shared = f"{kit.scope}/{budget.name}"
    tells = not kit.has("budget", shared=shared)
    budgets = kit.keep("budget", budget, lambda: Budgets(budget), shared=shared)
    budgets.now = kit.now
    return budgets, tells


class Budgets:
    """The budgets of one configuration, by key. `only` is the one where there is no key."""

    now: Callable[[], float]

    def __init__(self, budget: RetryBudget | RetryQuota) -> None:
        self._make = budget.make
        key = budget.key  # a function of it is held, since its name must not come to mean another
        self._find = key if callable(key) else NAMED[key] if key else None
        self._all: dict[str, Extras | Quota] = {}
        self._sweep_at = float("-inf")
        self.only = self._of(_ALL) if key is None else None
        self.earns = isinstance(budget, RetryQuota)
        """Whether it wants to be told of successes."""

    @property
    def counter(self) -> Extras | None:
        """Where ``begun += 1`` is all that is to be done when a call begins; None if it takes `begin`."""
        return self.only if type(self.only) is Extras else None

    def begin(self, call: Call) -> None:
        """A call begins."""
        self._for(call).begin(self.now())

    def take(self, call: Call, throttled: bool) -> int:
        """Schedule an extra request for this call: what it costs, 0 if the budget is spent."""
        return self._for(call).take(self.now(), throttled)

    def succeeded(self, call: Call, cost: int) -> None:
        """The call succeeded; its last extra request cost so much, 0 if there was none."""
        self._for(call).succeeded(cost)

    def balance(self, call: Call) -> float:
        """What is left for this call: extra requests of a budget, tokens of a quota."""
        return self._for(call).balance(self.now())

    def status(self) -> dict[str, Any]:
        """By key (``"default"`` where there is none): what was scheduled and refused so far, and what is left."""
        now = self.now()
        return {key: one.status(now) for key, one in self._all.items()}

    def limits(self) -> dict[str, float]:
        """By the same keys: what is left where nothing was sent lately."""
        now = self.now()
        return {key: one.limit(now) for key, one in self._all.items()}

    def _for(self, call: Call) -> Extras | Quota:
        if self._find is None:
            return cast("Extras | Quota", self.only)
        return self._of(str(self._find(call)) or _ALL)

    def _of(self, key: str) -> Extras | Quota:
        one = self._all.get(key)
        if one is None:
            if len(self._all) >= _MOST_KEYS:
                self._sweep()
                key = _OTHERS if len(self._all) >= _MOST_KEYS else key
            one = self._all.get(key) or self._all.setdefault(key, self._make())
        return one

    def _sweep(self) -> None:
        """Drop the keys of which nothing is left to remember: no promise is lost with them."""
        now = self.now()
        if now < self._sweep_at <= now + _SWEEP_EVERY:
            return
        self._sweep_at = now + _SWEEP_EVERY
        for key in [key for key, one in self._all.items() if one.idle(now)]:
            del self._all[key]


def check_budget(owner: str, budget: Any) -> None:
    """Raise `ConfigError` for what is no budget."""
    if not (budget is None or isinstance(budget, (RetryBudget, RetryQuota))):
        raise ConfigError(f"{owner}: budget is {budget!r}, must be a RetryBudget, a RetryQuota or None")


def _check_key(owner: str, key: Any) -> None:
    if not (key is None or callable(key) or (isinstance(key, str) and key in NAMED)):
        raise ConfigError(f"{owner}: key is {key!r}, must be host, account, op, or a function of the call")


def _named(key: Key) -> str:
    if callable(key):
        return f"{getattr(key, '__qualname__', type(key).__qualname__)}@{id(key):x}"
    return key or "all"
