"""What ``dashboard:`` in a configuration file starts: a dashboard that serves as soon as an event loop runs."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .settings import DashboardSettings

if TYPE_CHECKING:
    from ..call import Handler
    from ..kit import Kit
    from ..telemetry.settings import TelemetrySettings
    from .server import Dashboard

__all__ = ["Section", "start"]

_log = logging.getLogger("resilience")


class Section:
    """Observes nothing itself: it waits for the first link of a pipeline, for then the loop runs.

    A port that is taken costs one line in the log, and no call.
    """

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        self._task: asyncio.Task[None] | None = None

    def __call__(self, event: Any) -> None:
        """Nothing is of interest here."""

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        if self._task is None:
            self._task = kit.loop.create_task(self.start(), context=Context())  # not the caller's deadline and span
        return next

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        return next

    def heed(self, telemetry: TelemetrySettings) -> None:
        """What the file's ``telemetry:`` says about which calls are kept holds for the spans that are shown here."""
        self.dashboard.heed(telemetry)

    def watch(self, *pipelines: Any) -> None:
        """Whoever loads the file tells which pipelines were made of it."""
        self.dashboard.watch(*pipelines)

    async def start(self) -> None:
        """Serve now."""
        if self._task is None:
            self._task = asyncio.current_task()
        try:
            await self.dashboard.start()
            _log.info("dashboard on %s", self.dashboard.address)
        except ConfigError as error:
            _log.warning("%s; calls go on without it", error)

    async def aclose(self) -> None:
        """End with whoever loaded the file."""
        await self.dashboard.aclose()
        await asyncio.to_thread(self.dashboard.store.close)  # which was made here


def start(settings: DashboardSettings) -> Section:
    """The dashboard that these settings ask for, not serving yet."""
    from .server import Dashboard
    from .store import Store

    store = Store(settings.most_traces, settings.most_spans, settings.store)
    return Section(
        Dashboard(
            port=settings.port,
            host=settings.host,
            token=settings.token,
            controls=settings.controls,
            store=store,
            allowed_hosts=settings.allowed_hosts,
        )
    )
