"""`resilience top`, its screen driven by Textual's own pilot, before a dashboard that serves on a real socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from served import on_sockets, served
from traces import START, ids, retried

from resilience import Breaker, CircuitOpen, Op, Pipeline, RateLimit, Retry
from resilience.dashboard import Dashboard
from resilience.testing import Script

pytest.importorskip("textual", reason="NO TEXTUAL: the terminal view is not tested (pip install textual)")

from resilience.dashboard.terminal.app import Top
from resilience.dashboard.terminal.widgets import Detail, Table

READ = Op("read", idempotent=True)
TOKEN = "a-token-of-many-letters-0123456789"  # noqa: S105 (of this test alone)
CANARY = "[bold red]\x1b[2J[/] [link=http://x]y"


def shown(app: Top) -> str:
    """The screen as text."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in strips[:height])


async def until(app: Any, pilot: Any, *words: str, gone: bool = False) -> str:
    """Wait until the screen shows all these (or none of them)."""
    text = ""
    for _ in range(400):
        await pilot.pause(0.02)
        text = shown(app)
        if all((word in text) is not gone for word in words):
            return text
    raise AssertionError(f"{words} {'still' if gone else 'not'} in:\n{text}")


@asynccontextmanager
async def watched(*pipelines: Any, size: tuple[int, int] = (80, 24), **options: Any) -> Any:
    async with served(*pipelines, **options) as dashboard:
        app = Top(dashboard.address, options.get("token"))
        async with app.run_test(size=size) as pilot:
            yield dashboard, app, pilot


def market() -> Pipeline:
    breaker = Breaker(key=lambda call: call.op.name, min_calls=3)
    return Pipeline(Retry(attempts=3, wait=0), breaker, RateLimit("600/5s"), name="market")


async def fail(pipeline: Pipeline, op: str = "orderbook") -> None:
    with pytest.raises((ConnectionRefusedError, CircuitOpen)):
        await pipeline.run(Script(*[ConnectionRefusedError()] * 3), op=Op(op, idempotent=True))


@on_sockets
async def test_it_is_live_and_fits_80_by_24() -> None:
    """The headline, operations, an open circuit, the limit, and the failure with its sentence; nothing is wider."""
    here = market()
    async with watched(here) as (dashboard, app, pilot):
        await until(app, pilot, dashboard.address, "live")
        await here.run(Script("ok"), op=READ)
        await until(app, pilot, "read (market)", "of 600 left")
        await fail(here)
        text = await until(app, pilot, "orderbook (mark", "breaker orderbook", "open", "2 refused connections")
        assert "Quit" in text
        assert all(len(line) <= 80 for line in text.split("\n"))
        assert len(text.split("\n")) == 24
        for name in ("operations", "states", "failures"):
            table = app.query_one(f"#{name}", Table)
            assert table.virtual_size.width <= table.size.width, name


@on_sockets
async def test_a_wide_terminal_has_operations_and_states_side_by_side() -> None:
    """From 130 columns on; a change of size is followed."""
    async with watched(market(), size=(160, 40)) as (_, app, pilot):
        await until(app, pilot, "live")
        operations, states = (app.query_one(f"#{name}").region for name in ("operations", "states"))
        assert (operations.y, operations.right) == (states.y, states.x)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        operations, states = (app.query_one(f"#{name}").region for name in ("operations", "states"))
        assert (operations.bottom, operations.x) == (states.y, states.x)


@on_sockets
async def test_one_failure_is_opened_and_closed_by_keys() -> None:
    """Down, enter: its attempts; escape: back. It stays open while numbers go on coming."""
    here = market()
    await fail(here)
    async with watched(here) as (_, app, pilot):
        await fail(here, "ticker")
        await until(app, pilot, "ticker", "2 refused connections")
        await pilot.press("enter")
        text = await until(app, pilot, "1 original", "2 retry", "3 retry", "stopped: attempts_spent")
        assert "market ticker: failed ConnectionRefusedError" in text
        await fail(here, "other")
        await pilot.pause(0.5)
        assert isinstance(app.screen, Detail)
        await pilot.press("escape")
        await until(app, pilot, "Last failures", "other (market)")


@on_sockets
async def test_it_can_be_paused_filtered_and_sorted() -> None:
    """A paused picture does not change and says how much is new; a filter holds for all three tables."""
    here = market()
    async with watched(here) as (_, app, pilot):
        await here.run(Script("ok"), op=READ)
        await until(app, pilot, "read (market)", "Operations by errors")
        await pilot.press("p")
        await fail(here, "ticker")
        text = await until(app, pilot, "paused, 1 new")
        assert "ticker (market)" not in text
        await pilot.press("s", "s")
        assert "ticker (market)" not in await until(app, pilot, "Operations by p99")
        await pilot.press("s", "s", "s")
        await pilot.press("p")
        await until(app, pilot, "ticker (market)", "live")
        await pilot.press("s")
        await until(app, pilot, "Operations by calls/s")
        await pilot.press("slash", *"ticker", "enter")
        text = await until(app, pilot, "read (market)", gone=True)
        assert "filter: ticker" in text
        assert "ticker (market)" in text
        assert "of 600 left" not in text
        await pilot.press("escape")
        await until(app, pilot, "read (market)", "ticker (market)", "of 600 left")


@on_sockets
async def test_all_kept_calls_are_shown_when_asked_for() -> None:
    """A retried call that succeeded is no failure; `a` shows it."""
    here = market()
    async with watched(here) as (_, app, pilot):
        await here.run(Script(ConnectionRefusedError(), "ok"), op=READ)
        text = await until(app, pilot, "read (market)")
        assert "second attempt won" not in text
        await pilot.press("a")
        await until(app, pilot, "second attempt won", "Last calls that were kept")
        await here.run(Script(ConnectionRefusedError(), "ok"), op=Op("more", idempotent=True))
        await until(app, pilot, "more (market)")
        await pilot.press("a")
        await until(app, pilot, "Last failures")
        await until(app, pilot, "second attempt won", gone=True)
        await here.run(Script(ConnectionRefusedError(), "ok"), op=Op("late", idempotent=True))
        await fail(here)
        await until(app, pilot, "late (market)", "2 refused connections, failed")
        assert app.query_one("#failures", Table).row_count == 1


@on_sockets
async def test_it_says_when_the_dashboard_is_away_and_comes_back_with_it() -> None:
    """The last picture stays; `q` ends it even then."""
    here = market()
    dashboard = Dashboard(here, port=0)
    await dashboard.start()
    port = int(dashboard.address.rsplit(":", 1)[1])
    app = Top(dashboard.address)
    async with app.run_test(size=(80, 24)) as pilot:
        await here.run(Script("ok"), op=READ)
        await until(app, pilot, "read (market)")
        await dashboard.aclose()
        await until(app, pilot, "read (market)", "trying again in")
        async with Dashboard(here, port=port):
            await fail(here, "back")
            await until(app, pilot, "back (market)", "live")
        await until(app, pilot, "trying again in")
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running


@on_sockets
async def test_no_token_and_no_markup_gets_onto_the_screen() -> None:
    """A wrong token is told; what a span says is text, in the tables and in the detail."""
    async with served(token=TOKEN) as dashboard:
        app = Top(dashboard.address, "another-token-of-letters")
        async with app.run_test(size=(100, 24)) as pilot:
            text = await until(app, pilot, "that is not its token")
            assert "another-token" not in text
    async with watched(token=TOKEN, size=(160, 40)) as (dashboard, app, pilot):
        await until(app, pilot, "live")
        dashboard.store.add(told(CANARY))
        dashboard.live.heard(told(CANARY))  # as in a dashboard that runs alone, whose numbers come from spans
        text = await until(app, pilot, "[bold red]?[2J[/] [link=http://x]y")
        assert app.query_one("#operations", Table).row_count == 1
        assert TOKEN not in text
        await pilot.press("enter")
        text = await until(app, pilot, "1 original", "[bold red]?[2J[/]")
        assert TOKEN not in text


def told(said: str) -> list[Any]:
    """A failed call that says this wherever it can."""
    found = []
    for one in retried(1, said):
        attributes = {**one.attributes, "resilience.op": said, "resilience.why": said, "resilience.outcome": "failed"}
        found.append(replace(one, attributes=attributes, start_ns=START, service=said))
    assert found[0].trace_id == ids(1)
    return found
