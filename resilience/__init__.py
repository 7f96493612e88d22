"""Resilience policies for asyncio: each decorates a coroutine, and they compose into pipelines.

What costs an import (aiobreaker, YAML, OpenTelemetry) is imported when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .ambient import within
from .call import Call, Op
from .errors import (
    BudgetSpent,
    BulkheadFull,
    ConfigError,
    LoadShed,
    PipelineWarning,
    PoolExhausted,
    RateLimited,
    Refused,
    ResilienceError,
    TimedOut,
)
from .pipeline import Pipeline
from .policies.bulkhead import Bulkhead
from .policies.deadline import Deadline
from .policies.pool import Pool
from .policies.retry import Retry
from .policies.timeout import Adaptive, Timeout
from .policy import Policy
from .retrying.budget import RetryBudget, RetryQuota
from .verdict import Kind, Verdict

if TYPE_CHECKING:
    from .config import load, preset
    from .events import Emit
    from .policies.adaptive_limit import AdaptiveLimit
    from .policies.breaker import Breaker, CircuitOpen
    from .policies.cache import Cache
    from .policies.chaos import Chaos
    from .policies.coalesce import Coalesce
    from .policies.fallback import Fallback
    from .policies.hedge import Hedge
    from .policies.rate_limit import Limit, RateLimit
    from .policies.shed import Shed
    from .registry import PipelineRegistry
    from .reload import watch

__all__ = [
    "Adaptive",
    "AdaptiveLimit",
    "Breaker",
    "BudgetSpent",
    "Bulkhead",
    "BulkheadFull",
    "Cache",
    "Call",
    "Chaos",
    "CircuitOpen",
    "Coalesce",
    "ConfigError",
    "Deadline",
    "Fallback",
    "Hedge",
    "Kind",
    "Limit",
    "LoadShed",
    "Op",
    "Pipeline",
    "PipelineRegistry",
    "PipelineWarning",
    "Policy",
    "Pool",
    "PoolExhausted",
    "RateLimit",
    "RateLimited",
    "Refused",
    "ResilienceError",
    "Retry",
    "RetryBudget",
    "RetryQuota",
    "Shed",
    "TimedOut",
    "Timeout",
    "Verdict",
    "load",
    "preset",
    "watch",
    "within",
]

_LAZY = {
    "AdaptiveLimit": ".policies.adaptive_limit",
    "Breaker": ".policies.breaker",
    "Cache": ".policies.cache",
    "Chaos": ".policies.chaos",
    "CircuitOpen": ".policies.breaker",
    "Coalesce": ".policies.coalesce",
    "Fallback": ".policies.fallback",
    "Hedge": ".policies.hedge",
    "PipelineRegistry": ".registry",
    "Limit": ".policies.rate_limit",
    "RateLimit": ".policies.rate_limit",
    "Shed": ".policies.shed",
    "load": ".config",
    "preset": ".config",
    "watch": ".reload",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value


def _global_tracer() -> Emit | None:
    """A tracer, if the application has set a global OpenTelemetry provider; imports nothing otherwise."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from .telemetry import global_tracer

    return global_tracer()


Pipeline.discover = staticmethod(_global_tracer)
