"""From YAML text to nodes, by libyaml's events. Nothing is composed: the stack of open containers is an ordinary list.

That is what makes a hostile file harmless: depth, nodes and aliases are judged event by event, before anything of them
is kept.
"""

from __future__ import annotations

import re
from typing import Any

from .document import Node, Source, short
from .problems import InvalidConfig, Problem, Problems

__all__ = ["MOST_DEPTH", "MOST_NODES", "read"]

MOST_DEPTH = 64
MOST_NODES = 20_000
_LONGEST_KEY = 128
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_SIMPLE_KEY = re.compile(r"[\w-]+")


def read(text: str, source: Source, problems: Problems) -> Node:
    """The root of one document. Raises `InvalidConfig` for bad syntax; what can wait is added to `problems`."""
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        before = text[: bad.start()].split("\n")
        what = f"the character U+{ord(bad[0]):04X} has no place in a configuration file"
        position = (len(before), len(before[-1]) + 1)
        raise InvalidConfig([*problems.found, Problem(source.name, *position, "$", what, "encoding")])
    import yaml  # here: only who reads a file pays for it

    builder = _Builder(source, problems)
    events: Any = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    try:
        for event in events:
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise builder.fatal(error.problem_mark or error.context_mark, _syntax(error, text), "syntax") from None
    except yaml.YAMLError as error:
        raise builder.fatal(None, f"is not valid YAML: {short(str(error), 120)}", "syntax") from None
    finally:
        events.close()  # frees libyaml's parser, also when the reading ended early
    if builder.root is None:
        raise builder.fatal(None, "the file is empty", "syntax")
    return builder.root


def _syntax(error: Any, text: str) -> str:
    what = short(error.problem or "it cannot be read", 120)
    context = f" {short(error.context, 120)}" if error.context else ""
    hint = ""
    if "${" in "".join(text.split("\n")[error.problem_mark.line :][:1] if error.problem_mark else ()):
        hint = "; inside braces, put ${env:NAME} in quotes"
    elif "cannot start any token" in what:
        hint = "; indent with spaces, and quote a value that begins with a special character"
    return f"is not valid YAML: {what}{context}{hint}"


def _label(key: str) -> str:
    return f".{key}" if _SIMPLE_KEY.fullmatch(key) else f"[{key!r}]"


class _Frame:
    """A container that is still open, and the key that waits for its value."""

    __slots__ = ("key", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: tuple[str | None, tuple[int, int]] | None = None


class _Builder:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.root: Node | None = None
        self._source = source
        self._problems = problems
        self._stack: list[_Frame] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind in ("ScalarEvent", "AliasEvent", "SequenceStartEvent", "MappingStartEvent"):
            self._node(event, kind)
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._stack.pop()
        elif kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise self.fatal(event.start_mark, "a second document begins here; a file holds one", "document")
            if event.tags:
                raise self.fatal(event.start_mark, "%TAG is not allowed; values are plain data", "tag")

    def fatal(self, mark: Any, text: str, rule: str) -> InvalidConfig:
        """The end of the reading: all that was found so far, and this."""
        where = self._where()
        line, col = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        return InvalidConfig([*self._problems.found, Problem(self._source.name, line, col, where, text, rule)])

    def _where(self) -> str:
        """The path of what is being read: the innermost open container, or the entry whose key was just read."""
        if not self._stack:
            return "$"
        frame = self._stack[-1]
        if frame.key is None or frame.key[0] is None:
            return frame.node.path
        return Node(self._source, "scalar", 1, 1, frame.node, _label(frame.key[0])).path

    # -- one node ---------------------------------------------------------------------------------------------

    def _node(self, event: Any, kind: str) -> None:
        self._source.values += 1
        if self._source.values > MOST_NODES:
            raise self.fatal(event.start_mark, f"more than {MOST_NODES} values; split the file", "size")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.node.kind == "mapping" and frame.key is None:
            self._key(frame, event, kind)
        else:
            self._value(frame, event, kind)

    def _value(self, frame: _Frame | None, event: Any, kind: str) -> None:
        key, key_at = (None, None) if frame is None or frame.key is None else frame.key
        node = self._make(frame, event, kind, key)
        if frame is None:
            self.root = node
        elif frame.node.kind == "sequence":
            frame.node.append(node)
        else:
            frame.key = None
            if key_at is not None:
                node.key_at = key_at
            if key is not None:
                self._put(frame.node, key, node)
        if kind in ("SequenceStartEvent", "MappingStartEvent"):
            self._open(event, node)

    def _open(self, event: Any, node: Node) -> None:
        if len(self._stack) >= MOST_DEPTH:
            raise self.fatal(event.start_mark, f"nested deeper than {MOST_DEPTH} levels", "depth")
        self._stack.append(_Frame(node))

    def _put(self, mapping: Node, key: str, node: Node) -> None:
        first = mapping.get(key)
        if first is None:
            mapping.put(key, node)
            return
        line, col = first.key_at
        text = f"the key {key!r} stands here twice (first at {line}:{col}); keep one of them"
        self._problems.add(node.problem(text, "duplicate-key", at_key=True))

    def _make(self, frame: _Frame | None, event: Any, kind: str, key: str | None) -> Node:
        label = ""
        if frame is not None and frame.node.kind == "sequence":
            label = f"[{len(frame.node)}]"
        elif key is not None:
            label = _label(key)
        form = {"SequenceStartEvent": "sequence", "MappingStartEvent": "mapping"}.get(kind, "scalar")
        mark = event.start_mark
        node = Node(self._source, form, mark.line + 1, mark.column + 1, None if frame is None else frame.node, label)
        if kind == "ScalarEvent":
            node.text = node.written = event.value
            node.style = "quoted" if event.style else "plain"
            self._resolve(node)
        self._refuse(node, event, kind)
        return node

    def _resolve(self, node: Node) -> None:
        if "${" not in node.text:
            return
        try:
            node.text = self._source.env.resolve(node.text)
            node.style = "env"
        except ValueError as error:
            self._break(node, short(str(error), 200), "environment")

    def _refuse(self, node: Node, event: Any, kind: str) -> None:
        """Aliases, anchors and tags: what makes a file more than data."""
        tag = getattr(event, "tag", None)
        if kind == "AliasEvent":
            text, rule = f"the alias *{short(event.anchor)} is not allowed; write the value out", "alias"
        elif event.anchor is not None:
            text, rule = f"the anchor &{short(event.anchor)} is not allowed; there are no aliases here", "alias"
        elif tag is not None:
            text, rule = f"the tag {short(tag)!r} is not allowed; values are plain data", "tag"
        else:
            return
        self._break(node, text, rule)

    def _break(self, node: Node, text: str, rule: str) -> None:
        node.broken = node.problem(text, rule)
        self._problems.add(node.broken)

    # -- one key ----------------------------------------------------------------------------------------------

    def _key(self, frame: _Frame, event: Any, kind: str) -> None:
        at = (event.start_mark.line + 1, event.start_mark.column + 1)
        frame.key = (None, at)
        if kind in ("SequenceStartEvent", "MappingStartEvent"):
            node = self._make(frame, event, kind, None)
            self._problems.add(node.problem("a key must be plain text, not a list or a mapping", "key"))
            self._open(event, node)
            return
        text = getattr(event, "value", "")
        problem = self._bad_key(event, text)
        if problem is None:
            frame.key = (text, at)
        else:
            key = Node(self._source, "scalar", *at, frame.node, "")
            self._problems.add(key.problem(*problem))

    def _bad_key(self, event: Any, text: str) -> tuple[str, str] | None:
        if event.anchor is not None or getattr(event, "tag", None) is not None:
            return "a key has no anchor, alias or tag", "alias"
        if text == "<<" and not event.style:
            return "merge keys (<<) are not allowed; write the entries out", "merge-key"
        if not text:
            return "a key is empty", "key"
        if "${" in text:
            return "a key is written out; ${env:NAME} stands only for values", "environment"
        if len(text) > _LONGEST_KEY or not text.isprintable():
            return f"a key is one line of at most {_LONGEST_KEY} printable characters", "key"
        return None
