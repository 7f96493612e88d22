"""The ring of traces: bounds, summaries in any order, listeners, threads."""

from __future__ import annotations

import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import attempt, call, hedged, ids, retried, span, trace_of

from resilience import ConfigError
from resilience.dashboard import query
from resilience.dashboard.analysis import analyse
from resilience.dashboard.rows import MOST_TEXT, shared, tidy, tidy_attributes, tidy_text
from resilience.dashboard.rows import _texts as texts
from resilience.dashboard.store import Store
from resilience.dashboard.summary import Trace


def test_the_oldest_trace_goes_first() -> None:
    """With room for 10,000 traces, of 10,050 the newest 10,000 are left, whole."""
    store = Store(most_traces=10_000)
    for number in range(1, 10_051):
        store.add([attempt(number), call(number)])
    assert len(store) == 10_000
    assert store.get(ids(50)) is None
    assert store.get(ids(51)) is not None
    status = store.status()
    assert (status["traces"], status["spans"], status["evicted"], status["dropped"]) == (10_000, 20_000, 100, 0)


def test_spans_and_bytes_are_bounded_as_well() -> None:
    """Few large traces are bounded by the number of their spans, and by their estimated size."""
    store = Store(most_spans=10)
    store.add(span(trace, number) for trace in range(1, 5) for number in range(1, 5))
    assert [trace.trace_id for trace in store] == [ids(3), ids(4)]
    assert store.status()["spans"] == 8

    one = span(attributes={"text": "x" * 4_000}).weight
    store = Store(most_bytes=3 * one)
    for number in range(1, 9):
        store.add([span(number, attributes={"text": "x" * 4_000})])
    assert len(store) == 3
    assert store.status()["bytes"] == 3 * one


@pytest.mark.parametrize("name", ["most_traces", "most_spans", "most_bytes", "most_spans_a_trace", "most_file_bytes"])
def test_a_bound_that_leaves_no_room_is_refused(name: str) -> None:
    """One clear line."""
    with pytest.raises(ConfigError, match=name):
        Store(**{name: 0})
    with pytest.raises(ConfigError, match="retention"):
        Store(retention=0)


def test_the_newest_trace_stays_even_if_it_alone_is_too_large() -> None:
    """Otherwise nothing at all would be shown."""
    store = Store(most_spans=2)
    store.add(span(1, number) for number in range(1, 6))
    assert len(store) == 1


def test_one_trace_has_room_for_so_many_spans_and_still_for_its_call() -> None:
    """A call comes last. What found no room is counted."""
    store = Store(most_spans_a_trace=8)
    store.add(attempt(1, number + 10, at=number) for number in range(1, 12))
    store.add([call(1, attempts=11)])
    trace = store.get(ids(1))
    assert trace is not None
    assert (len(trace.spans), trace.cut, store.status()["dropped"]) == (9, 3, 3)
    assert trace.summary.attempts == 11
    store.add(call(1, number, begins=1) for number in range(100, 103))
    assert len(trace.calls) == 2


def test_a_span_that_comes_twice_is_kept_once() -> None:
    """An exporter that got no answer sends again."""
    store = Store()
    store.add(retried())
    store.add(retried())
    assert store.status()["spans"] == store.status()["duplicates"] == 3
    assert store.status()["received"] == 6
    assert store.status()["bytes"] == sum(s.weight for s in retried())


def test_a_summary_says_what_the_call_says() -> None:
    """Its waits, reason, sentence; times in the units that the interface documents."""
    trace = trace_of(*retried())
    assert trace.summary.to_json() == {
        "trace_id": ids(1),
        "start": 1_700_000_000_000.0,
        "duration_ms": 400.0,
        "service": "bot",
        "instance": "1",
        "pipeline": "",
        "op": "ticker",
        "outcome": "ok",
        "error_type": None,
        "attempts": 2,
        "reason": "retried",
        "probability": 1.0,
        "why": "1 reset, second attempt won.",
        "spans": 3,
        "waits": {"backoff": 0.2},
    }


def test_before_its_call_came_a_trace_is_summed_up_by_its_first_span() -> None:
    """Attempts are counted, and a failed one shows."""
    summary = trace_of(*retried()[:2]).summary
    assert (summary.op, summary.attempts, summary.outcome, summary.error_type, summary.reason) == (
        "ticker", 2, "failed", "reset", ""
    )  # fmt: skip
    foreign = trace_of(span(name="SELECT", status="error")).summary
    assert (foreign.op, foreign.outcome, foreign.error_type, foreign.probability) == ("SELECT", "failed", "error", 1.0)
    with pytest.raises(ValueError, match="no span yet"):
        _ = Trace(ids(1)).summary


def test_the_outermost_call_stands_for_its_trace() -> None:
    """Though an inner one begins at the same time."""
    outer = call(number=9, ends=50, op="outer")
    inner = call(number=1, ends=40, op="inner", parent=9)
    assert trace_of(inner, outer).summary.op == trace_of(outer, inner).summary.op == "outer"


@pytest.mark.parametrize(("said", "meant"), [(0.01, 0.01), (0, 1), (-1, 1), (7, 1), ("NaN", 1), (True, 1)])
def test_a_probability_that_is_none_counts_as_one(said: object, meant: float) -> None:
    """A stranger's attribute must not divide by zero."""
    summary = trace_of(call(sampling__probability=said)).summary
    assert summary.probability == meant
    assert summary.weight == 1 / meant


SHAPES = [
    *retried(),
    *hedged()[:2],
    call(1, 50, begins=10, ends=90, parent=2, op="inner"),
    span(1, 60, 3),
    span(1, 61, 99),
]


@given(st.permutations([s for n, s in enumerate(SHAPES) if s.span_id not in {x.span_id for x in SHAPES[:n]}]))
@settings(max_examples=40, deadline=None)
def test_order_of_arrival_does_not_matter(spans: list) -> None:  # type: ignore[type-arg]
    """Summary, text to search in, and analysis are the same whichever span came first."""
    wanted = sorted(spans, key=lambda s: s.span_id)
    store, other = Store(), Store()
    for each in spans:
        store.add([each])
        store.traces()[0].summary  # noqa: B018 (a search in between)
        _ = store.traces()[0].haystack
    other.add(wanted)
    mine, theirs = store.traces()[0], other.traces()[0]
    assert mine.summary == theirs.summary
    assert mine.haystack == theirs.haystack
    assert (mine.kinds, mine.errors, mine.attempts) == (theirs.kinds, theirs.errors, theirs.attempts)
    assert analyse(mine) == analyse(theirs)


def test_a_listener_is_woken_once_and_gets_each_changed_call_once() -> None:
    """Attempts without their call are no news; many changes before it looks are one wake-up."""
    store, woken = Store(), []
    tail = store.listen(lambda: woken.append(1))
    store.add(retried()[:2])
    assert (woken, tail.take()) == ([], ([], 0))
    store.add(retried()[2:])
    store.add(retried(2))
    store.add([span(1, 70, 1)])
    assert woken == [1]
    traces, skipped = tail.take()
    assert [(t.trace_id, t.summary.spans) for t in traces] == [(ids(1), 4), (ids(2), 3)]
    assert skipped == 0
    store.add(retried(3))
    assert woken == [1, 1]
    store.unlisten(tail)
    tail.take()
    store.add(retried(4))
    assert tail.take() == ([], 0)


def test_a_listener_that_does_not_look_holds_the_newest_thousand() -> None:
    """The others are counted."""
    store = Store()
    tail = store.listen(lambda: None)
    store.add(call(number) for number in range(1, 1_101))
    traces, skipped = tail.take()
    assert (len(traces), skipped, traces[0].trace_id) == (1_000, 100, ids(101))


def test_processes_are_known_and_bounded() -> None:
    """Whoever sent something, with its number of spans; of very many, the newest 200."""
    store = Store()
    store.add([span(1), span(1, 2), span(1, 3, instance="2")])
    assert [(p["service"], p["instance"], p["spans"]) for p in store.processes()] == [("bot", "1", 2), ("bot", "2", 1)]
    store.add(span(9, number, instance=str(number)) for number in range(10, 300))
    assert len(store.processes()) == 200


def test_threads_may_add_while_another_reads() -> None:
    """No span is lost, no reader stumbles."""
    store, failures = Store(), []

    def add(first: int) -> None:
        for number in range(first, first + 300):
            store.add(retried(number))

    def read() -> None:
        try:
            while any(thread.is_alive() for thread in threads):
                for trace in store.traces():
                    _ = trace.summary, trace.haystack
                    analyse(trace)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(first,)) for first in (1, 1_001)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in (*threads, reader):
        thread.join()
    assert failures == []
    assert store.status()["spans"] == 1_800
    assert all(trace.summary.spans == 3 and trace.summary.reason for trace in store)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (2**63, str(2**63)),
        pytest.param(10**5_000, "(a very large number)", id="vast"),
        pytest.param([10**5_000], ["(a very large number)"], id="vast in a list"),
        (-(2**63), -(2**63)),
        (True, True),
        (None, "None"),
        ((1, "a", [2]), [1, "a", "[2]"]),
        ("\ud800", "?"),
        ("\x1b[31m\x00", "\x1b[31m\x00"),
        ("é" * MOST_TEXT, "é" * MOST_TEXT),
        ("x" * (MOST_TEXT + 1), "x" * (MOST_TEXT - 1) + "…"),
        ([0] * 1_000, [0] * 128),
    ],
)
def test_values_become_what_json_and_a_database_can_carry(value: object, kept: object) -> None:
    """Control characters stay: whoever shows them shows text."""
    assert tidy(value) == kept


def test_a_list_is_no_longer_than_a_text() -> None:
    """However many texts it has."""
    assert sum(map(len, tidy(["x" * 3_000] * 100))) <= MOST_TEXT + 128


def test_attributes_are_counted_and_their_texts_shared() -> None:
    """128 are kept; equal short texts are one object, and what is remembered for that is bounded."""
    assert len(tidy_attributes({f"key {n}": n for n in range(1_000)})) == 128
    first, second = (tidy_attributes({"k" * 300: "".join(("same", " text"))}) for _ in range(2))
    assert first["k" * 255 + "…"] is second["k" * 255 + "…"]
    for number in range(11_000):
        shared(f"text {number}")
    assert len(texts) <= 10_000
    assert tidy_text("abc", 2) == "a…"


def test_the_garbage_collector_does_not_look_at_what_is_stored() -> None:
    """A full collection stops the application: ten thousand traces would make it last a tenth of a second."""
    store = Store()
    store.add(retried(1))
    gc.collect()
    before = len(gc.get_objects())
    for number in range(2, 502):
        store.add(retried(number))
    query.listing(store.traces(), "reset")
    gc.collect()
    assert len(gc.get_objects()) < before + 100
