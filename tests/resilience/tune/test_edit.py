"""One value changes, and nothing else: comments, order and layout stay."""

from __future__ import annotations

import pytest

from resilience.tune.edit import NotEditable, insert_after, put
from resilience.tune.judge import complaint, linted

HEAD = "version: 1\npipelines:\n  a:\n"


@pytest.mark.parametrize(
    ("before", "place", "single", "after"),
    [
        ("    - timeout: 10s  # of one", ["timeout", "seconds"], "seconds", "    - timeout: 1s  # of one"),
        ("    - timeout: 10s", ["timeout", "per_op", "x"], "seconds",
         "    - timeout: {seconds: 10s, per_op: {x: 1s}}"),
        ("    - timeout: {seconds: 10s}", ["timeout", "per_op", "x"], "seconds",
         "    - timeout: {seconds: 10s, per_op: {x: 1s}}"),
        ("    - timeout: {seconds: 10s, per_op: {y: 2s}} # {", ["timeout", "per_op", "x"], "seconds",
         "    - timeout: {seconds: 10s, per_op: {y: 2s, x: 1s}} # {"),
        ("    - timeout: {seconds: 10s, per_op: {x: 2s}}", ["timeout", "per_op", "x"], "seconds",
         "    - timeout: {seconds: 10s, per_op: {x: 1s}}"),
        ("    - timeout:\n        seconds: 10s\n        per_op:\n          y: 2s   # why\n    # next\n    - breaker",
         ["timeout", "per_op", "x"], "seconds",
         "    - timeout:\n        seconds: 10s\n        per_op:\n          y: 2s   # why\n          x: 1s\n    # next\n"
         "    - breaker"),
        ("    - timeout:\n        per_op: {y: 2s}\n        seconds: 10s", ["timeout", "per_op", "x"], "seconds",
         "    - timeout:\n        per_op: {y: 2s, x: 1s}\n        seconds: 10s"),
        ("    - timeout:\n        seconds: '10s'", ["timeout", "seconds"], "seconds",
         "    - timeout:\n        seconds: 1s"),
        ("    - retry: {attempts: 3,\n             jitter: full}", ["retry", "max_wait"], "",
         "    - retry: {attempts: 3,\n             jitter: full, max_wait: 1s}"),
        ("    - retry: {}", ["retry", "max_wait"], "", "    - retry: {max_wait: 1s}"),
    ],
)  # fmt: skip
def test_a_value_is_put(before: str, place: list[str], single: str, after: str) -> None:
    """In braces, in blocks, and where a bare value has to grow."""
    assert put(HEAD + before, "c", ["pipelines", "a", 0, *place], "1s", single=single) == HEAD + after


@pytest.mark.parametrize(
    "text",
    ["    - timeout:\n        seconds: >\n          10s", "    - timeout: ${env:RESILIENCE_X}", "    - timeout:\n"],
)
def test_what_cannot_be_cut_surely_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value over several lines; one from the environment; nothing."""
    monkeypatch.setenv("RESILIENCE_X", "10s")
    with pytest.raises(NotEditable):
        put(HEAD + text, "c", ["pipelines", "a", 0, "timeout", "per_op", "x"], "1s", single="seconds")
    if "seconds" in text:
        with pytest.raises(NotEditable):
            put(HEAD + text, "c", ["pipelines", "a", 0, "timeout", "seconds"], "1s", single="seconds")


def test_a_pipeline_that_extends_another_says_otherwise() -> None:
    """Its changes are keys of a mapping, which need no list; a value alone grows as it does there."""
    text = "pipelines:\n  a: {extends: virtuoso}\n  b:\n    extends: a\n    timeout: 5s\n"
    place = ["pipelines", "a", "timeout", "per_op", "x"]
    assert "a: {extends: virtuoso, timeout: {per_op: {x: 1s}}}" in put(text, "c", place, "1s", single="seconds")
    place[1] = "b"
    assert "timeout: {seconds: 5s, per_op: {x: 1s}}" in put(text, "c", place, "1s", single="seconds")


def test_an_entry_is_inserted() -> None:
    """Above the comment that belongs to the next one; in brackets too; not where nothing follows."""
    block = f"{HEAD}    - retry\n    # of one\n    - timeout: 1s\n"
    assert insert_after(block, "c", ["pipelines", "a", 0], "hedge: {delay: p95}") == (
        f"{HEAD}    - retry\n    - hedge: {{delay: p95}}\n    # of one\n    - timeout: 1s\n"
    )
    flow = "version: 1\npipelines: {a: [retry, timeout: 1s]}\n"
    assert "[retry, hedge: {delay: p95}, timeout: 1s]" in insert_after(
        flow, "c", ["pipelines", "a", 0], "hedge: {delay: p95}"
    )
    with pytest.raises(NotEditable):
        insert_after(block, "c", ["pipelines", "a", 1], "hedge: {delay: p95}")


def test_the_checks_are_asked_about_what_is_new() -> None:
    """A timeout at the deadline is a complaint, an old mistake is none, and a broken file is one."""
    before = f"{HEAD}    - retry\n    - fallback: {{value: 1}}\n    - deadline: 1s\n    - timeout: 500ms\n"
    assert complaint(linted(before, "c"), before.replace("500ms", "600ms"), "c", "a") == ""
    assert "never comes" in complaint(linted(before, "c"), before.replace("500ms", "2s"), "c", "a")
    assert "would change nothing" in complaint(linted(before, "c"), before, "c", "a")
    both = before.replace("500ms", "600ms").replace("- retry", "- retry: {attempts: 5}")
    assert "more than one policy" in complaint(linted(before, "c"), both, "c", "a")
    assert "must be a time" in complaint(linted(before, "c"), before.replace("500ms", "soon"), "c", "a")
