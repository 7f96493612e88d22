"""Changing one value in a YAML file and nothing else: comments, order and layout stay as their owner wrote them.

The file is read by the configuration's own parser, whose nodes know their places; the text is cut there. What cannot be
cut surely (a value over several lines, say) is refused with `NotEditable` and left to people.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config.document import Document, Node

__all__ = ["NotEditable", "insert_after", "put"]


class NotEditable(Exception):
    """This place of the file cannot be changed by a program; the text says why."""


def put(text: str, name: str, place: Sequence[str | int], value: str, *, single: str = "") -> str:
    """The text with `value` at a place: keys of mappings and positions in lists; missing mappings are made.

    `single`: the key that a policy's bare value means (``timeout: 10s`` means ``seconds``). Raises `NotEditable`.
    """
    lines = text.split("\n")
    node = Document.parse(text, name)
    for depth, key in enumerate(place):
        rest = place[depth:]
        if node.kind == "scalar":
            return _join(_grown(lines, node, rest, value, single))
        found = node.get(key) if isinstance(key, str) else _item(node, key)
        if found is None:
            return _join(_added(lines, node, rest, value))
        node = found
    if node.kind != "scalar":
        raise NotEditable("a list or a mapping stands there")
    return _join(_replaced(lines, node, value))


def insert_after(text: str, name: str, place: Sequence[str | int], entry: str) -> str:
    """The text with one more list entry behind that at `place`. Raises `NotEditable`."""
    lines = text.split("\n")
    node = Document.parse(text, name)
    parent: Node | None = None
    for key in place:
        parent, found = node, node.get(key) if isinstance(key, str) else _item(node, key)
        if found is None:
            raise NotEditable("the entry is not there")
        node = found
    position = place[-1]
    if parent is None or not isinstance(position, int):
        raise NotEditable("the place is no entry of a list")
    return _join(_entered(lines, parent, node, _item(parent, position + 1), entry))


def _join(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _item(node: Node, position: str | int) -> Node | None:
    items = list(node)
    return items[position] if isinstance(position, int) and 0 <= position < len(items) else None


def _entered(lines: list[str], parent: Node, node: Node, after: Node | None, entry: str) -> list[str]:
    if lines[parent.line - 1][parent.col - 1] == "[":
        if after is None:
            raise NotEditable("it would be the last of a list in brackets")
        row, at = after.line - 1, after.col - 1
        return [*lines[:row], f"{lines[row][:at]}{entry}, {lines[row][at:]}", *lines[row + 1 :]]
    dash = lines[node.line - 1][: node.col - 1].rstrip()
    if not dash.endswith("-") or dash[:-1].strip():
        raise NotEditable("the list is laid out in a way that is not known here")
    if after is None:
        raise NotEditable("it would be the last of the list")
    row = after.line - 1
    while row > node.line and lines[row - 1].lstrip().startswith("#"):  # comments above belong to what follows
        row -= 1
    return [*lines[:row], f"{dash} {entry}", *lines[row:]]


def _replaced(lines: list[str], node: Node, value: str) -> list[str]:
    row, begins = node.line - 1, node.col - 1
    line = lines[row]
    return [*lines[:row], f"{line[:begins]}{value}{line[_end(line, node) :]}", *lines[row + 1 :]]


def _end(line: str, node: Node) -> int:
    """Where the scalar ends in its line. Raises `NotEditable` if it does not end there."""
    begins = node.col - 1
    if node.written and line.startswith(node.written, begins):
        return begins + len(node.written)
    quote = line[begins : begins + 1]
    quoted = f"{quote}{node.written}{quote}"
    if quote in "'\"" and quote and line.startswith(quoted, begins):
        return begins + len(quoted)
    raise NotEditable("the value is not written plainly on one line")


def _nested(rest: Sequence[str | int], value: str) -> str:
    """``{per_op: {ticker: 1s}}`` of what is missing, without the first key."""
    for key in reversed(rest[1:]):
        value = f"{{{key}: {value}}}"
    return value


def _grown(lines: list[str], node: Node, rest: Sequence[str | int], value: str, single: str) -> list[str]:
    """A bare value, or a policy's bare name, becomes a mapping that says the same and more."""
    if node.is_null or node.style == "env":
        raise NotEditable("nothing that can grow stands there")
    pair = f"{rest[0]}: {_nested(rest, value)}"
    if not single:
        raise NotEditable("a bare value stands there")
    if rest[0] == single:
        return _replaced(lines, node, value)
    row, begins = node.line - 1, node.col - 1
    written = lines[row][begins : _end(lines[row], node)]
    return _replaced(lines, node, f"{{{single}: {written}, {pair}}}")


def _added(lines: list[str], node: Node, rest: Sequence[str | int], value: str) -> list[str]:
    """One more entry of a mapping that is there: at its end if it is in braces, else above its first key."""
    if node.kind != "mapping" or not isinstance(rest[0], str):
        raise NotEditable("no mapping stands there")
    pair = f"{rest[0]}: {_nested(rest, value)}"
    row, at = node.line - 1, node.col - 1
    if lines[row][at] == "{":
        row, at = _brace(lines, row, at)
        before = lines[row][:at].rstrip()
        comma = "" if before.endswith(("{", ",")) else ", "
        return [*lines[:row], f"{before}{comma}{pair}{lines[row][at:]}", *lines[row + 1 :]]
    entries = list(node.items())
    last = entries[-1][1] if entries else None
    if last is not None and last.kind == "scalar" and last.line == last.key_at[0]:
        _end(lines[last.line - 1], last)
        return [*lines[: last.line], f"{' ' * at}{pair}", *lines[last.line :]]
    return [*lines[:row], f"{lines[row][:at]}{pair}", f"{' ' * at}{lines[row][at:]}", *lines[row + 1 :]]


def _brace(lines: Sequence[str], row: int, at: int) -> tuple[int, int]:
    """Where the brace that opens here is closed. Raises `NotEditable`."""
    depth, quote = 0, ""
    while row < len(lines):
        line = lines[row]
        while at < len(line):
            letter = line[at]
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"":
                quote = letter
            elif letter == "#" and line[at - 1 : at].isspace():
                break
            else:
                depth += (letter in "{[") - (letter in "}]")
                if depth == 0:
                    return row, at
            at += 1
        row, at = row + 1, 0
    raise NotEditable("its closing brace was not found")
