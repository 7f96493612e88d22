"""The live view. It and `widgets` are the only modules that import Textual (extra ``top``).

One screen, three tables: operations, how states stand, and the last failures, of which one can be opened. All text is
set as text, never as markup.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from .client import Client, Event, Unreachable
from .plain import FAILED
from .rows import FAILURES, OPERATIONS, SORTS, failures, headline, operations
from .states import STATES, states
from .widgets import Detail, Table
from .words import clean

__all__ = ["Top"]

_MOST_CALLS = 200


class Top(App[None]):
    """Shows the dashboard at `url`; ends with `q`. Raises `ConfigError` for an address or a token that is none."""

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012 (Textual declares it so)
    TITLE = "resilience top"
    CSS = """
    Screen { layout: vertical; }
    #status, #headline { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #headline { text-style: bold; }
    #present { height: 13fr; layout: vertical; }
    .-wide #present { layout: horizontal; }
    Table { height: 1fr; width: 1fr; border-top: solid $primary-darken-1; border-title-color: $text-muted; }
    Table:focus { border-top: heavy $accent; border-title-color: $accent; }
    Table { scrollbar-size-horizontal: 0; scrollbar-size-vertical: 1; background: $background; }
    Table > .datatable--header { background: $background; color: $text-muted; text-style: none; }
    Table > .datatable--cursor { background: $primary-darken-2; text-style: bold; }
    #operations { height: 7fr; }
    #states { height: 6fr; }
    .-wide #operations, .-wide #states { height: 1fr; }
    #failures { height: 7fr; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.open { display: block; }
    Detail { background: $background; }
    #detail { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("a", "every", "All calls"),
        Binding("escape", "clear", "Clear filter", show=False),
    ]

    def __init__(self, url: str, token: str | None = None) -> None:
        super().__init__()
        self._client = Client(url, token)
        self._snapshot: Mapping[str, Any] = {}
        self._calls: deque[Mapping[str, Any]] = deque(maxlen=_MOST_CALLS)
        self._connection = "connecting"
        self._still: tuple[Mapping[str, Any], list[Mapping[str, Any]]] | None = None
        self._every = False
        self._held = 0
        self._find = ""
        self._sort = next(iter(SORTS))

    def compose(self) -> ComposeResult:
        yield Static(id="status")
        yield Static(id="headline")
        with Container(id="present"):
            yield Table(OPERATIONS, "Operations", id="operations")
            yield Table(STATES, "Breakers, limits, pools", id="states")
        yield Table(FAILURES, "Last failures", id="failures")
        yield Input(placeholder="words that a line must hold", id="filter", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        self.theme = "textual-dark"
        self.query_one("#failures").focus()
        self._tell()
        self.run_worker(self._follow())

    # -- what comes in ----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async with self._client as client:
            async for event in client.follow():
                if event.kind == "here":
                    await self._fetch()
                self._heard(event)

    async def _fetch(self) -> None:
        """The calls from before; the stream tells those from now on."""
        try:
            calls = await self._client.calls("" if self._every else FAILED)
        except Unreachable as error:
            self._connection = clean(error)
            return
        self._calls = deque(calls, _MOST_CALLS)

    def _heard(self, event: Event) -> None:
        if event.kind == "here":
            self._connection = ""
        elif event.kind == "away":
            self._connection = clean(event.data)
        elif event.kind == "snapshot" and isinstance(event.data, dict):
            self._snapshot = event.data
        elif event.kind == "trace" and isinstance(event.data, dict):
            self._called(event.data)
        self._held += event.kind == "trace"
        self._draw()

    def _called(self, call: Mapping[str, Any]) -> None:
        """A call that was kept, or whose trace has grown."""
        if not self._every and call.get("outcome") in ("ok", "cancelled"):
            return
        others = [one for one in self._calls if one.get("trace_id") != call.get("trace_id")]
        self._calls = deque([call, *others][:_MOST_CALLS], _MOST_CALLS)

    # -- what is shown ----------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Everything, of what is known now; while it is paused, of what was known then."""
        self._tell()
        snapshot, calls = self._still or (self._snapshot, list(self._calls))
        if snapshot:
            self._base.query_one("#headline", Static).update(Text(headline(snapshot)))
            self._table("operations").show(operations(snapshot, self._sort, self._find))
            self._table("states").show(states(snapshot, self._find))
        self._table("failures").show(failures(calls, snapshot.get("at"), self._find))

    def _tell(self) -> None:
        """The line at the top: where, whether it is live, and what is left out."""
        parts = [f"resilience top  {self._client.place}"]
        if self._connection:
            parts.append(self._connection)
        elif self._still:
            parts.append(f"paused, {self._held} new" if self._held else "paused")
        else:
            parts.append("live")
        if self._find:
            parts.append(f"filter: {clean(self._find)}")
        text = Text("  ".join(parts))
        if self._connection:
            text.stylize("yellow")
        self._base.query_one("#status", Static).update(text)
        self._table("operations").border_title = f"Operations by {self._sort}"
        self._table("failures").border_title = "Last calls that were kept" if self._every else "Last failures"

    @property
    def _base(self) -> Screen[Any]:
        """The screen with the tables, whatever lies above it."""
        return self.screen_stack[0]

    def _table(self, name: str) -> Table:
        table: Table = self._base.query_one(f"#{name}", Table)
        return table

    # -- keys -------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Hold the picture still, or catch up."""
        self._still = None if self._still else (self._snapshot, list(self._calls))
        self._held = 0
        self._draw()

    def action_sort(self) -> None:
        """Order operations by the next column."""
        names = list(SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._draw()

    def action_every(self) -> None:
        """Failures only, or retried, slow and sampled calls too."""
        self._every, self._still = not self._every, None
        self._calls.clear()
        self._draw()
        self.run_worker(self._reload(), group="calls", exclusive=True)

    async def _reload(self) -> None:
        await self._fetch()
        self._draw()

    def action_filter(self) -> None:
        """Type what a line must hold."""
        if self.screen is self._base:
            field = self.query_one("#filter", Input)
            field.add_class("open")
            field.focus()

    def action_clear(self) -> None:
        """No filter."""
        field = self._base.query_one("#filter", Input)
        field.value = ""
        self._done(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._find = event.value
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._done(event.input)

    def _done(self, field: Input) -> None:
        field.remove_class("open")
        self._table("failures").focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the call under the cursor."""
        table = event.data_table
        if isinstance(table, Table) and table.id == "failures" and table.chosen is not None:
            self.run_worker(self._open(table.chosen.key), group="detail", exclusive=True)

    async def _open(self, trace_id: str) -> None:
        if not (trace_id.isalnum() and trace_id.isascii()):
            return
        try:
            trace = await self._client.get(f"/api/traces/{trace_id}")
        except Unreachable as error:
            self.notify(clean(error), severity="warning", markup=False)
            return
        if isinstance(trace, dict) and self.screen is self._base:
            await self.push_screen(Detail(trace))
