"""The pages of the policies cannot drift: fields, defaults, units are the dataclass's, and the README's table is run.

The table is parsed and never repeated here. What is written down is what each of its words promises, and a word that is
not known fails the test.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import (
    Breaker,
    BudgetSpent,
    BulkheadFull,
    CircuitOpen,
    Fallback,
    Kind,
    LoadShed,
    Op,
    Pipeline,
    PoolExhausted,
    RateLimited,
    Retry,
    Verdict,
)
from resilience.config.registry import POLICIES
from resilience.testing import Script, VirtualLoop, never
from resilience.units import Unit

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "policies"
CLASSES = {name: getattr(resilience, path.rpartition(".")[2]) for name, path in POLICIES.items()}
SECTIONS = [
    "In Python",
    "In YAML",
    "Fields",
    "What it makes of an outcome",
    "What it raises",
    "What it records",
    "When not to use it",
    "Source",
]
ORDER = re.compile(r"`(fallback - [^`]* - pool\b[^`]*)`")


def table(text: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table beneath a heading, by the names in the table's head."""
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"there is no heading {heading!r}"
    lines = [line for line in rest.split("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    assert all(len(row) == len(head) for row in rows), "a row has more or fewer cells than the head"
    return [dict(zip(head, row, strict=True)) for row in rows]


# -- the pages ------------------------------------------------------------------------------------------------


def marks(hint: Any) -> set[str]:
    """The units that an annotation names, anywhere in it."""
    own = {hint.name} if isinstance(hint, Unit) else set()
    inside = (*typing.get_args(hint), *getattr(hint, "__metadata__", ()))
    return own.union(*(marks(part) for part in inside)) if inside else own


def default_of(field: dataclasses.Field[Any]) -> tuple[bool, Any]:
    """Whether the field has a default, and which."""
    if field.default_factory is not dataclasses.MISSING:
        return True, field.default_factory()
    return field.default is not dataclasses.MISSING, field.default


def says(cell: str, field: dataclasses.Field[Any]) -> bool:
    """Whether the cell states the field's default, as a value and not as a text that resembles it."""
    given, default = default_of(field)
    if not given:
        return cell == "required"
    if repr(default) == "<not given>":
        return cell == "not given"
    if dataclasses.is_dataclass(default) and default == type(default)():  # type: ignore[operator]
        return cell == f"`{type(default).__name__}()`"
    if isinstance(default, type):
        return cell == f"`{default.__name__}`"
    if re.fullmatch(r"`.+`", cell) is None:
        return False
    stated = ast.literal_eval(cell[1:-1])
    return type(stated) is type(default) and bool(stated == default)


@pytest.mark.parametrize("name", POLICIES)
def test_a_page_names_exactly_the_fields_of_its_policy_with_their_defaults(name: str) -> None:
    """In the order of the dataclass, which is that of the positional arguments."""
    rows = table((PAGES / f"{name}.md").read_text(), "Fields")
    fields = dataclasses.fields(CLASSES[name])
    assert [row["name"] for row in rows] == [f"`{field.name}`" for field in fields]
    for row, field in zip(rows, fields, strict=True):
        assert says(row["default"], field), row


@pytest.mark.parametrize("name", POLICIES)
def test_a_page_gives_the_units_that_the_annotations_mark(name: str) -> None:
    """Seconds are called s, and a share is called a share."""
    hints = typing.get_type_hints(CLASSES[name], include_extras=True)
    spelled = {"seconds": "s", "share": "share"}
    for row in table((PAGES / f"{name}.md").read_text(), "Fields"):
        units = {spelled[mark] for mark in marks(hints[row["name"].strip("`")]) if mark in spelled}
        assert units <= {row["unit"]}, row["name"]
        if row["unit"] in spelled.values():
            assert units == {row["unit"]} or (name, row["name"]) == ("retry", "`wait`"), row["name"]


@pytest.mark.parametrize("name", POLICIES)
def test_a_page_has_every_section_an_example_of_both_kinds_and_is_short(name: str) -> None:
    """The same questions are answered in the same order on every page."""
    text = (PAGES / f"{name}.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert text.startswith(f"# {CLASSES[name].__name__}\n")
    assert f"```yaml\n# {name}.yaml\n" in text
    assert re.search(rf"""load\("{name}\.yaml"[,)]""", text)
    assert len(text.splitlines()) <= 110


def test_the_index_lists_every_policy_and_the_order_is_the_readmes() -> None:
    """No page without a policy, no policy without a page, one canonical order."""
    index = (PAGES / "README.md").read_text()
    linked = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| `(\w+)` \|", index, re.MULTILINE)
    assert {page: (title, spelled) for title, page, spelled in linked} == {
        name: (kind.__name__, name) for name, kind in CLASSES.items()
    }
    assert {path.stem for path in PAGES.glob("*.md")} == {*POLICIES, "README"}
    (order,), (short,) = ORDER.findall(index), ORDER.findall((ROOT / "README.md").read_text())
    steps = [step.replace(" ", "_") for step in order.split(" - ") if step != "[attempt]"]
    beside = {"adaptive_limit"}  # stands where a bulkhead does
    assert steps == [page for _, page, _ in linked if page not in beside]
    rest = iter(order.split(" - "))
    assert all(step in rest for step in short.split(" - "))  # the README may leave out some, and agrees on the others


# -- the verdict table ----------------------------------------------------------------------------------------

RETRY_AFTER = 3.0
REFUSALS = [
    CircuitOpen(),
    BulkheadFull("full"),
    RateLimited("late"),
    PoolExhausted("shut"),
    BudgetSpent("spent"),
    LoadShed("too many"),
]
VERDICTS = {row["verdict"]: row for row in table((ROOT / "README.md").read_text(), "What it does about an error")}


class Told(Exception):
    """An error whose verdict is known."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class Cancelled:
    """The step of a call that its caller cancels."""


def classify(error: Exception, op: Op) -> Verdict:
    assert isinstance(error, Told), "classify is asked about nothing but the target's own errors"
    return Verdict(error.kind, retry_after=RETRY_AFTER if error.kind is Kind.THROTTLED else None)


def cases() -> list[Any]:
    """Each row of the table with the steps that bring it about, for an idempotent operation and for another."""
    steps: list[tuple[str, Any]] = [(kind.name, Told(kind)) for kind in Kind if kind is not Kind.OK]
    steps += [("OK", "value"), ("cancelled", Cancelled())]
    steps += [("refused by us", refusal) for refusal in REFUSALS]
    return [
        pytest.param(row, step, idempotent, id=f"{row}-{type(step).__name__}-{'read' if idempotent else 'write'}")
        for row, step in steps
        for idempotent in (True, False)
    ]


async def play(pipeline: Pipeline, step: Any, idempotent: bool) -> tuple[Script, Any]:
    """One call whose first attempt does what `step` says and whose others succeed; the target, and the outcome."""
    target = Script(never if isinstance(step, Cancelled) else step, "again")
    running = asyncio.ensure_future(pipeline.run(target, op=Op("op", idempotent=idempotent)))
    if isinstance(step, Cancelled):
        asyncio.get_running_loop().call_later(1, running.cancel)
    await asyncio.wait([running])
    if running.cancelled():
        return target, asyncio.CancelledError
    return target, running.exception() or running.result()


def test_the_table_has_a_row_for_every_outcome() -> None:
    """The five kinds, our own refusals, and the cancellation."""
    assert [row.split(",")[0] for row in VERDICTS] == [*(kind.name for kind in Kind), "refused by us", "cancelled"]


def cell(row: str, column: str) -> str:
    """What the table says; a meaning is looked up by it, so a new wording has to be given one."""
    return VERDICTS[row][column]


RETRIES: dict[str, Callable[[bool], bool]] = {
    "-": lambda idempotent: False,
    "never": lambda idempotent: False,
    "yes": lambda idempotent: True,
    "only if idempotent": lambda idempotent: idempotent,
    "after `retry_after`, never sooner": lambda idempotent: True,
}


@pytest.mark.parametrize(("row", "step", "idempotent"), cases())
def test_the_column_retry_is_what_a_retry_does(row: str, step: Any, idempotent: bool) -> None:
    """Whether it asks again, and that it does not come back before the time that the server named."""
    says = cell(row, "retry")
    pipeline = Pipeline(Retry(attempts=2, wait=1, jitter="none"), classify=classify)
    target, outcome = VirtualLoop().run(play(pipeline, step, idempotent))
    assert target.count == (2 if RETRIES[says](idempotent) else 1)
    if target.count == 2:
        assert outcome == "again"
        wait = target.begun[1] - target.begun[0]
        assert (RETRY_AFTER <= wait <= 1.1 * RETRY_AFTER) if "retry_after" in says else wait == 1
    else:
        assert outcome is (asyncio.CancelledError if isinstance(step, Cancelled) else step)


CIRCUITS = {
    # calls counted, failures counted, and what a half-open circuit with one probe becomes
    "healthy": (1, 0, "closed"),
    "healthy (it answered)": (1, 0, "closed"),
    "sick": (1, 1, "open"),
    "neither": (0, 0, "half-open"),
    "neither, the permit goes back": (0, 0, "half-open"),
}


@pytest.mark.parametrize(("row", "step", "idempotent"), cases())
def test_the_column_breaker_is_what_a_breaker_counts(row: str, step: Any, idempotent: bool) -> None:
    """In a closed circuit by its window, in a half-open one by its state; and no permit is lost on the way."""
    calls, failures, becomes = CIRCUITS[cell(row, "breaker")]

    async def main() -> None:
        pipeline = Pipeline(Breaker(failure_rate=1.0, min_calls=100), classify=classify)
        await play(pipeline, step, idempotent)
        circuit = pipeline.states["breaker"]["default"]
        status = circuit.status()
        assert (status["calls"], status["calls"] * status["failure_rate"]) == (calls, failures)
        circuit.half_open()
        await play(pipeline, step, idempotent)
        assert circuit.status()["state"] == becomes
        if becomes == "half-open":
            target, outcome = await play(pipeline, "probe", idempotent)
            assert (target.count, outcome) == (1, "probe")
            assert circuit.status()["state"] == "closed"

    VirtualLoop().run(main())


REPLACED: dict[str, Callable[[bool], bool]] = {
    "-": lambda idempotent: False,
    "no": lambda idempotent: False,
    "yes": lambda idempotent: True,
    "if idempotent": lambda idempotent: idempotent,
}


@pytest.mark.parametrize(("row", "step", "idempotent"), cases())
def test_the_column_fallback_is_what_a_fallback_replaces(row: str, step: Any, idempotent: bool) -> None:
    """What it does not replace reaches the caller as it is."""
    replaced = REPLACED[cell(row, "fallback")](idempotent)
    _, outcome = VirtualLoop().run(play(Pipeline(Fallback("instead"), classify=classify), step, idempotent))
    untouched = asyncio.CancelledError if isinstance(step, Cancelled) else step
    assert outcome is ("instead" if replaced else untouched)
