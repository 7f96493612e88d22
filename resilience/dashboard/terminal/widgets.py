"""The parts of the live view: a table whose rows are replaced as a whole, and one call on a screen of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Static

from .rows import Line, Titles
from .waterfall import waterfall

__all__ = ["Detail", "Table"]

_TONES = {"ok": "green", "warn": "yellow", "bad": "red", "why": "bold", "title": "bold", "wait": "dim"}


class Detail(ModalScreen[None]):
    """One call: its sentence and its attempts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left,backspace", "app.pop_screen", "Back", key_display="esc"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, trace: Mapping[str, Any]) -> None:
        super().__init__()
        self._trace = trace

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="detail"):
            yield Static(id="call")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#detail").focus()

    def on_resize(self, event: events.Resize) -> None:
        lines = waterfall(self._trace, event.size.width - 2)
        text = Text("\n").join(Text(line, style=_TONES.get(tone, "")) for tone, line in lines)
        self.query_one("#call", Static).update(text)


class Table(DataTable[Text]):
    """Rows that are replaced as a whole; the cursor stays on the line that it was on, as long as that is there."""

    def __init__(self, titles: Titles, title: str, **options: Any) -> None:
        super().__init__(cursor_type="row", show_cursor=False, **options)
        self.border_title = title
        self._titles = titles
        self._shown: list[Line] = []

    def on_focus(self) -> None:
        self.show_cursor = True

    def on_blur(self) -> None:
        self.show_cursor = False

    def on_resize(self, event: events.Resize) -> None:
        self._put(self._shown)

    def show(self, lines: list[Line]) -> None:
        """These, and no others."""
        if lines != self._shown:
            self._put(lines)

    def _put(self, lines: list[Line]) -> None:
        at, top = self.cursor_row, self.scroll_y
        chosen = self._shown[at].key if 0 < at < len(self._shown) else ""  # who is at the top stays at the top
        self._shown = lines
        self.clear(columns=True)
        wide = self._titles.widths(lines, self.size.width - 1)
        for number, (title, width) in enumerate(zip(self._titles.names, wide, strict=True)):
            self.add_column(self._cell(title, number), width=width)
        for line in lines:
            self.add_row(*(self._cell(cell, number, line.tone) for number, cell in enumerate(line.cells)))
        row = next((number for number, line in enumerate(lines) if line.key == chosen), 0)
        self.move_cursor(row=row, scroll=False)
        self.scroll_to(y=top, animate=False)

    def _cell(self, text: str, number: int, tone: str = "") -> Text:
        justify: Any = "right" if number in self._titles.right else "left"
        return Text(text, style=_TONES.get(tone, ""), justify=justify, no_wrap=True, overflow="ellipsis")

    @property
    def chosen(self) -> Line | None:
        """The line that the cursor is on."""
        return self._shown[self.cursor_row] if 0 <= self.cursor_row < len(self._shown) else None
