"""The dashboard: what happened to calls, kept for a while, searched, and explained.

Spans come from the same process (`local`) or over OTLP/HTTP from others (`ingest`) as rows (`rows`), lie as whole
traces in a bounded ring (`store`), on request also in a file (`sqlite`), and are asked by `query` and `analysis`. None
of these knows the web server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Dashboard
    from .store import Store

__all__ = ["Dashboard", "Store"]


def __getattr__(name: str) -> Any:
    if name == "Dashboard":  # with the web server, which the store's users need not have
        from .server import Dashboard

        return Dashboard
    if name == "Store":
        from .store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
