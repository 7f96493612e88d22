"""What the server answers: the JSON of the interface, the page's files, what is taken in.

Questions about many traces run in a thread of their own, one at a time, and few may wait: the event loop of the
application is never theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from . import analysis, differences, failures, heat, ingest, query, wanted
from .bodies import Bodies
from .controls import ControlError, control
from .pacing import Stride
from .pages import LOGIN, Pages
from .taking import take
from .workers import MOST_BODY, Workers, refusal

if TYPE_CHECKING:
    from .guard import Guard
    from .live import Live
    from .store import Store
    from .stream import Hub

__all__ = ["STREAM", "Api"]

STREAM = "/api/stream"
"""The one address that is answered without end."""
_MOST_WORDS = 4_096  # bytes of any other request


class Api:
    """All handlers."""

    def __init__(self, live: Live, store: Store, hub: Hub, guard: Guard, settle: Callable[[], None]) -> None:
        self._settle = settle  # what has ended is to be found, though it comes to the store a moment later
        self._live, self._store, self._hub, self._guard = live, store, hub, guard
        self._pages = Pages()
        self.workers = Workers()
        self.bodies = Bodies()

    def routes(self) -> list[web.RouteDef]:
        """Every address."""
        page = [web.get(path, self.index) for path in ("/", "/traces", "/errors", "/latency", "/compare", "/pipelines")]
        return [
            *page,
            web.get("/traces/{id}", self.index),
            web.get("/static/{name}", self.static),
            web.get("/static/{digest}/{name}", self.static),
            web.get("/login", self.login_page),
            web.post("/login", self.login),
            web.get("/api/snapshot", self.snapshot),
            web.get(STREAM, self._hub.serve),
            web.get("/api/traces", self.traces),
            web.get("/api/traces/{id}", self.trace),
            web.get("/api/traces/{id}/otlp", self.otlp),
            web.get("/api/errors", self.errors),
            web.get("/api/heatmap", self.heatmap),
            web.get("/api/bubble", self.bubble),
            web.get("/api/compare", self.compare),
            web.post("/api/import", self.imports),
            web.post("/api/controls", self.controls),
            web.post("/v1/traces", self.take),
            web.get("/metrics", self.scrape),
        ]

    # -- pages --------------------------------------------------------------------------------------------------

    async def index(self, request: web.Request) -> web.StreamResponse:
        return self._pages.index(request)

    async def static(self, request: web.Request) -> web.StreamResponse:
        return self._pages.reply(request.match_info["name"], request, request.match_info.get("digest", ""))

    async def login_page(self, request: web.Request) -> web.StreamResponse:
        if not self._guard.closed:
            raise web.HTTPSeeOther("/")
        return self._login(200, "")

    async def login(self, request: web.Request) -> web.StreamResponse:
        body = await self.bodies.read(request, _MOST_WORDS)
        try:
            word = wanted.form(body, request).get("token", "")
        except ValueError:
            raise web.HTTPBadRequest(text="not understood: send a form with token") from None
        if not self._guard.closed:
            raise web.HTTPSeeOther("/")
        if not self._guard.accept(request.remote or "", word.strip()):
            return self._login(401, '<p role="alert">That is not the token.</p>')
        reply = web.Response(status=303, headers={"Location": "/"})
        self._guard.admit(reply)
        return reply

    def _login(self, status: int, note: str) -> web.Response:
        # A form of a page without a referrer is sent with the Origin "null", which could be anybody's.
        headers = {"Referrer-Policy": "same-origin"}
        text = self._pages.dressed(LOGIN.replace("{note}", note))
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    # -- what is asked ------------------------------------------------------------------------------------------

    async def snapshot(self, request: web.Request) -> web.Response:
        return web.Response(body=self._live.encoded(), content_type="application/json")

    async def traces(self, request: web.Request) -> web.Response:
        asked = request.query
        since, until = wanted.times(asked)
        limit = wanted.whole(asked, "limit", 100, 1000)
        q, before = asked.get("q", ""), asked.get("before") or None
        return await self._ask(
            lambda stride: query.listing(self._store.traces(), q, since, until, limit, before, stride)
        )

    async def trace(self, request: web.Request) -> web.Response:
        trace_id = request.match_info["id"]
        return await self._ask(lambda _: analysis.analyse(self._found(trace_id)))

    async def otlp(self, request: web.Request) -> web.Response:
        trace_id = request.match_info["id"]
        reply = await self._ask(lambda _: ingest.export(list(self._found(trace_id).spans.values())))
        name = "".join(letter for letter in trace_id if letter.isalnum())[:32]
        reply.headers["Content-Disposition"] = f'attachment; filename="trace-{name}.json"'
        return reply

    async def errors(self, request: web.Request) -> web.Response:
        since, until = wanted.times(request.query)
        return await self._ask(lambda stride: failures.errors(self._store.traces(), since, until, stride))

    async def heatmap(self, request: web.Request) -> web.Response:
        asked = request.query
        since, until = wanted.times(asked)
        bins = wanted.whole(asked, "bins", 60, 500)
        op = asked.get("op", "")
        return await self._ask(lambda stride: heat.heatmap(self._store.traces(), op, since, until, bins, stride=stride))

    async def bubble(self, request: web.Request) -> web.Response:
        asked = request.query
        since, until = wanted.times(asked)
        q = asked.get("q", "")
        return await self._ask(lambda stride: differences.bubble(self._store.traces(), q, since, until, stride))

    async def compare(self, request: web.Request) -> web.Response:
        a, b = request.query.get("a", ""), request.query.get("b", "")
        return await self._ask(
            lambda _: differences.compare(analysis.analyse(self._found(a)), analysis.analyse(self._found(b)))
        )

    def _found(self, trace_id: str) -> Any:
        trace = self._store.get(trace_id.lower())
        if trace is None:
            raise web.HTTPNotFound(text="that trace is not here (any more)")
        return trace

    async def _ask(self, question: Callable[[Stride], Any]) -> web.Response:
        """The answer as JSON, made in the thread that answers questions."""
        body = await self.workers.run(self.workers.asking, lambda stride: self._answer(question, stride))
        return web.Response(body=body, content_type="application/json")

    def _answer(self, question: Callable[[Stride], Any], stride: Stride) -> bytes:
        self._settle()
        return msgspec.json.encode(question(stride))

    # -- what is taken in ---------------------------------------------------------------------------------------

    async def take(self, request: web.Request) -> web.Response:
        """OTLP/HTTP, protobuf or JSON."""
        batch = await self._taken(request, request.headers.get("Content-Type", ""))
        kind = ingest.CONTENT_TYPES[batch.encoding]
        return web.Response(body=ingest.reply(batch), content_type=kind)

    async def imports(self, request: web.Request) -> web.Response:
        """A trace that was exported, chosen on the page."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        batch = await self._taken(request, "application/json")
        return _json({"accepted": len(batch.spans), "rejected": batch.rejected})

    async def _taken(self, request: web.Request, content_type: str) -> Any:
        self.workers.check()  # before 8 MB are read
        body = await self.bodies.read(request, MOST_BODY)
        encoding = request.headers.get("Content-Encoding", "")
        batch, lots = await self.workers.run(
            self.workers.taking, lambda stride: take(self._store, body, content_type, encoding, stride)
        )
        for some in lots:  # on the loop, where the overview is read, so a few at a time
            self._live.heard(some)
            await asyncio.sleep(0)
        return batch

    # -- the rest -----------------------------------------------------------------------------------------------

    async def controls(self, request: web.Request) -> web.Response:
        if not self._live.controls:
            raise web.HTTPForbidden(text="this dashboard only looks: controls are not enabled")
        if not self._guard.knows(request.headers.get("X-CSRF-Token", "")):
            raise web.HTTPForbidden(text="the X-CSRF-Token is not this page's; load it again")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        try:
            control(await self.bodies.read(request, _MOST_WORDS), self._live.tallies)
        except ControlError as error:
            raise refusal(error.status, str(error)) from None
        return _json({"ok": True})

    async def scrape(self, request: web.Request) -> web.Response:
        found = self._live.metering.render(request.headers.get("Accept", ""))
        if found is None:
            raise web.HTTPNotFound(text="no calls are counted here: this dashboard watches no pipelines")
        kind, text = found
        return web.Response(body=text.encode(), headers={"Content-Type": kind})


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")
