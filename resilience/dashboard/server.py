"""The dashboard's server: inside the application's process, or alone, on the application's own event loop.

It must never hurt a call. So it has its own bulkhead: so many connections, so many requests at once, none of them for
long, and what takes time runs in a thread. Whoever comes too often gets a 429.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from ..errors import ConfigError
from ..pipeline import Pipeline
from ..registry import PipelineRegistry
from ..telemetry.settings import TelemetrySettings
from .api import STREAM, Api
from .door import Doors
from .guard import HEADERS, Guard
from .live import Live
from .pacing import Pace
from .settings import check_place
from .store import Store
from .stream import Hub
from .tracing import Tracing
from .workers import MOST_BODY

__all__ = ["Dashboard"]

MOST_REQUESTS = 32  # at once, streams not counted
BURST, GAP = 10, 0.002  # requests at once, a browser has six under way; then one every so many seconds
SECONDS = 15.0  # that a request may take, its body included
_log = logging.getLogger("resilience")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """Use it as ``async with Dashboard(manager) as dashboard``, or `start` and `aclose` it. `address` says where it is.

    Takes pipelines, and what holds some: an ``ExchangeManager``, a `PipelineRegistry` (its pipelines come and go with
    their keys), or what `resilience.load` returned. `port` 0 picks a
    free one. Another `host` than loopback needs a `token`, which browsers are asked for and other programs send as
    ``Authorization: Bearer``. `controls`: may circuits and chaos be switched from the page? `store`: a `Store`, or the
    path of an SQLite file. `allowed_hosts`: further names under which browsers reach it. Raises `ConfigError`.
    """

    def __init__(
        self,
        *pipelines: Any,
        port: int = 8787,
        host: str = "127.0.0.1",
        token: str | None = None,
        controls: bool = False,
        store: Store | str | os.PathLike[str] | None = None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        check_place(host, port, token)
        self._place = host.strip("[]"), port
        self._pipelines = list(_flat(pipelines))
        self._registries = _registries(pipelines)
        self._leave: dict[int, Callable[[], None]] = {}  # by the registry's id: ends the following
        self._owns_store = not isinstance(store, Store)
        self.store: Store = (
            store if isinstance(store, Store) else Store(path=None if store is None else os.fspath(store))
        )
        self.live = Live(store=self.store)
        self._tracing = Tracing(self.store)
        self._guard = Guard(host, token, allowed_hosts)
        self._hub = Hub(self.live, self.store)
        self.live.controls, self.live.csrf = controls, self._guard.csrf
        self.live.exporter = self._tracing.exporter
        self._api = Api(self.live, self.store, self._hub, self._guard, self._tracing.settle)
        self._doors: Doors
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._active = 0
        self._pace = Pace(BURST, GAP)
        self.refused = 0  # requests, for there were too many

    @property
    def address(self) -> str:
        """Where it is, ``http://127.0.0.1:8787``. Raises `ConfigError` before it has started."""
        if self._server is None or not self._server.sockets:
            raise ConfigError("dashboard: it has no address before start()")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def heed(self, telemetry: TelemetrySettings) -> None:
        """Which calls to keep, where no tracer is there but ours; said before it starts."""
        self._tracing.settings = telemetry

    def watch(self, *pipelines: Any) -> None:
        """Show these pipelines too, from their next call on."""
        found, registries = list(_flat(pipelines)), _registries(pipelines)
        if self._runner is None:
            self._pipelines += found
            self._registries += registries
        else:
            self._observe(found)
            self._follow(registries)

    def forget(self, *pipelines: Any) -> None:
        """Show these no more; their traces stay."""
        found = list(_flat(pipelines))
        for registry in _registries(pipelines):
            self._registries = [one for one in self._registries if one is not registry]
            self._leave.pop(id(registry), _nothing)()
            found += registry.pipelines
        self._pipelines = [one for one in self._pipelines if all(one is not other for other in found)]
        self._unobserve(*found)

    async def start(self) -> None:
        """Serve. Raises `ConfigError` where the port is taken."""
        if self._runner is not None:
            return
        app = web.Application(middlewares=[self._frame], client_max_size=MOST_BODY)
        app.add_routes(self._api.routes())
        app.on_response_prepare.append(_dress)
        self._runner = runner = web.AppRunner(
            app,
            auto_decompress=False,
            access_log=None,
            keepalive_timeout=15.0,
            lingering_time=0.0,  # see Bodies.drain
            shutdown_timeout=2.0,
        )
        await runner.setup()
        if runner.server is None:
            raise RuntimeError("aiohttp made no server")
        self._doors = Doors(runner.server)
        try:
            # The backlog is also how many connections the event loop takes at one go.
            self._server = await asyncio.get_running_loop().create_server(self._doors, *self._place, backlog=4)
            _lengthen(self._server, 64)
        except OSError as error:
            await runner.cleanup()
            self._runner = None
            raise ConfigError(_trouble(error, *self._place)) from None
        self._guard.cookie = f"resilience-{self.address.rsplit(':', 1)[1]}"  # browsers keep one jar for all ports
        self._observe(self._pipelines)
        self._follow(self._registries)

    def _observe(self, pipelines: Sequence[Pipeline]) -> None:
        self._tracing.follow(pipelines)
        self.live.watch(*pipelines)

    def _follow(self, registries: Sequence[PipelineRegistry[Any]]) -> None:
        """Show what they make from now on, and let go of what they drop."""
        for registry in registries:
            if id(registry) not in self._leave:
                self._leave[id(registry)] = registry.follow(lambda one: self._observe((one,)), self._unobserve)

    def _unobserve(self, *pipelines: Pipeline) -> None:
        self._tracing.leave(pipelines)
        self.live.forget(*pipelines)

    async def aclose(self) -> None:
        """End: pages that listen are let go, pipelines left alone, the store written out if it was made here."""
        server, self._server = self._server, None
        runner, self._runner = self._runner, None
        while self._leave:
            self._leave.popitem()[1]()
        self._tracing.close()
        self.live.forget(*(tally.pipeline for tally in self.live.tallies))
        if server is not None and runner is not None:
            server.close()
            await self._hub.aclose()
            await runner.cleanup()
            self._doors.abort()
            await server.wait_closed()
        self._api.workers.close()
        if self._owns_store:
            await asyncio.to_thread(self.store.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @web.middleware
    async def _frame(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Around every request: who may, how many, how long, and what went wrong in one line."""
        transport = request.transport
        self._doors.busy(transport)
        try:
            await self._pace.turn()
            self._guard.check(request)
            if request.path == STREAM:
                return await handler(request)
            if self._active >= MOST_REQUESTS:
                self.refused += 1
                raise web.HTTPTooManyRequests(text="too many requests at once", headers={"Retry-After": "1"})
            return await self._timed(request, handler)
        except web.HTTPException as error:
            await self._api.bodies.drain(request)
            return _refused(error)
        except TimeoutError:
            return _refused(web.HTTPRequestTimeout(text=f"not done within {SECONDS:g} s"))
        except ConnectionError:  # it left: nobody will read this, and aiohttp would log a traceback for each
            return web.Response(status=400)
        except Exception:
            _log.exception("the dashboard failed on %s; calls go on", request.match_info.route.resource)
            return _refused(web.HTTPInternalServerError(text="the dashboard failed; its log says why"))
        finally:
            self._doors.waiting(transport)

    async def _timed(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """One of so many at once, for so long at most."""
        self._active += 1
        try:
            async with asyncio.timeout(SECONDS):
                return await handler(request)
        finally:
            self._active -= 1


async def _dress(request: web.BaseRequest, reply: web.StreamResponse) -> None:
    """The headers of every reply."""
    policy = reply.headers.get("Referrer-Policy", HEADERS["Referrer-Policy"])
    reply.headers.update({**HEADERS, "Referrer-Policy": policy})
    reply.headers.setdefault("Cache-Control", "no-store")


def _refused(error: web.HTTPException) -> web.Response:
    """An error as JSON; a redirect as it is."""
    headers = {name: value for name, value in error.headers.items() if name not in ("Content-Type", "Content-Length")}
    if error.status < 400:
        return web.Response(status=error.status, headers=headers)
    text = error.reason.lower() if error.text in (None, f"{error.status}: {error.reason}") else error.text or ""
    body = msgspec.json.encode({"error": " ".join(text.split())})
    return web.Response(status=error.status, body=body, headers=headers, content_type="application/json")


def _lengthen(server: asyncio.Server, backlog: int) -> None:
    """Let the system keep this many connections that wait."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(backlog)


def _trouble(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"dashboard: port {port} of {host} is taken; choose another (0 picks a free one)"
    return f"dashboard: cannot listen on {host} port {port}: {error.strerror or error}"


def _nothing() -> None:
    """Was not followed."""


def _registries(given: Sequence[Any]) -> list[PipelineRegistry[Any]]:
    return [one for one in given if isinstance(one, PipelineRegistry)]


def _flat(given: Sequence[Any]) -> Iterator[Pipeline]:
    """The pipelines in all of these."""
    for thing in given:
        if isinstance(thing, Pipeline):
            yield thing
            continue
        if isinstance(thing, PipelineRegistry):
            continue  # its pipelines come and go: see Dashboard._follow
        held = thing if isinstance(thing, Mapping) else getattr(thing, "pipelines", None)
        if held is None:
            raise ConfigError(f"dashboard: {type(thing).__name__} is no pipeline and holds none")
        yield from _flat(list(held.values()) if isinstance(held, Mapping) else list(held))
