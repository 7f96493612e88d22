"""docs/telemetry.md says what every attribute means, also of each note that is written anywhere in the packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from resilience.telemetry.words import ENDS, NOUNS, STOPPED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "telemetry.md").read_text("utf-8")
HANDLES = {"notes", "noted", "extra"}
CONVENTIONS = ("http.", "url.", "server.", "network.", "error.")


def key_of(node: ast.expr) -> str | None:
    """The text of a key; of a formatted one, up to what is filled in: ``wait.``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    return None


def is_notes(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in HANDLES


def written(tree: ast.AST) -> Iterator[str]:
    """The keys of all notes that this module writes: one by one, with the dictionary, or by an update."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and is_notes(node.value):
            found = [node.slice]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(map(is_notes, targets)):
                found = [key for inner in ast.walk(node.value) if isinstance(inner, ast.Dict) for key in inner.keys]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".notes.update", ".noted.update")):
            found = [key for arg in node.args if isinstance(arg, ast.Dict) for key in arg.keys]
        yield from (key for key in (one and key_of(one) for one in found) if key)


def all_notes() -> dict[str, str]:
    """Every note of the two packages, and the file that writes it."""
    notes = {}
    for path in sorted([*(ROOT / "resilience").rglob("*.py"), *(ROOT / "exchanges").rglob("*.py")]):
        if "telemetry" not in path.parts and "simulator" not in path.parts and "dashboard" not in path.parts:
            notes |= dict.fromkeys(written(ast.parse(path.read_text("utf-8"))), path.name)
    return notes


def documented() -> set[str]:
    """The attributes that have a row, with the continued ones written out: `a.b` `.c` is `a.b` and `a.c`."""
    names = set()
    for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE):
        last = ""
        for name in re.findall(r"`([^`]+)`", row):
            full = last.rpartition(".")[0] + name if name.startswith(".") else name
            names.add(full)
            last = full
    return names


def test_every_note_has_a_row() -> None:
    """Those of policies, circuits, limiters, transports and adapters."""
    notes, rows = all_notes(), documented()
    assert len(notes) > 25  # the search finds what there is
    assert {"wait.limiter", "breaker.state", "cache", "hedge", "url.template", "request.id"} <= set(notes)
    for note, file in notes.items():
        name = note if note.startswith(CONVENTIONS) else f"resilience.{note}"
        if name.endswith("*"):
            assert any(row.startswith(name[:-1]) for row in rows), (note, file)
        else:
            assert name in rows, (note, file)


def test_every_attribute_of_the_tracer_itself_has_a_row() -> None:
    """What `attributes` and `shapes` write."""
    source = "".join(
        (ROOT / "resilience" / "telemetry" / name).read_text("utf-8") for name in ("attributes.py", "shapes.py")
    )
    names = set(re.findall(r'"((?:resilience|http)\.[a-z_.]+)"', source))
    assert "resilience.why" in names
    assert {name for name in names if not name.endswith(".")} <= documented() | {"resilience.link"}
    assert "`resilience.link`" in PAGE


def test_the_words_of_why_know_every_documented_cause() -> None:
    """A cause with a row in the table is said in words, and why a retry stopped too."""
    table = PAGE.partition("| `error.type` | cause |")[2]
    causes = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
    assert len(causes) > 15
    assert causes - set(NOUNS) - set(ENDS) <= {"classify_failed"}
    (stopped,) = re.findall(r"^\| `resilience.retry_stopped` \| text \| (.*) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+)`", stopped)) == set(STOPPED)
