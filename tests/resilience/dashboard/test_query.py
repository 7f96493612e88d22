"""The filter language, the list, errors, the heatmap, and what is different."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import START, attempt, call, hedged, ids, retried, span, trace_of

from resilience.dashboard import differences, failures, heat, query
from resilience.dashboard.analysis import analyse
from resilience.dashboard.filters import FilterError, parse
from resilience.dashboard.summary import Trace

AT = START / 1e6  # epoch milliseconds

RETRIED = trace_of(*retried(0xA1))
HEDGED = trace_of(*hedged(0xB2))
FAILED = trace_of(
    attempt(
        0xC3,
        error__type="timeout",
        http__response__status_code=504,
        breaker__state="half-open",
        codes=[1, 2],
        flag=True,
    ),
    call(0xC3, ends=1_500, outcome="failed", error__type="timeout", op="Order Place", pipeline="trade", service="desk"),
)
FOREIGN = trace_of(span(0xD4, 0xABC, name="SELECT *", service="db", attributes={"n": 5, "bad": "5", "1": 1}))
ALL = {"retried": RETRIED, "hedged": HEDGED, "failed": FAILED, "foreign": FOREIGN}


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("", "retried hedged failed foreign"),
        ("  ", "retried hedged failed foreign"),
        ("op:ticker", "retried hedged"),
        ("op:TICK*", "retried hedged"),
        ("op:tick", ""),
        ('op:"order place"', "failed"),
        ("pipeline=trade", "failed"),
        ("service:d*", "failed foreign"),
        ("instance:1", "retried hedged failed foreign"),
        ("outcome:failed", "failed"),
        ("-outcome:failed", "retried hedged foreign"),
        ("error:reset", "retried"),
        ("error:*", "retried failed"),
        ("reason:hedged", "hedged"),
        ("kind:hedge", "hedged"),
        ("name:get*", "retried hedged failed"),
        (f"trace:{ids(0xA1)}", "retried"),
        ("attempts>1", "retried hedged"),
        ("attempts>=1 attempts<2", "failed"),
        ("attempts:2 -kind:hedge", "retried"),
        ("duration>80", "retried hedged failed"),
        ("duration>81", "retried failed"),
        ("duration>=81", "retried hedged failed"),
        ("duration<=1", "foreign"),
        ("duration>1s", "failed"),
        ("duration>0.1m", ""),
        ("spans:1", "foreign"),
        ("attr.http.response.status_code:504", "failed"),
        ("attr.http.response.status_code>500", "failed"),
        ("attr.http.response.status_code>504", ""),
        ("attr.resilience.codes:2", "failed"),
        ("attr.resilience.flag:true", "failed"),
        ("attr.resilience.flag:1", ""),
        ("attr.resilience.breaker.state:HALF*", "failed"),
        ("attr.n:5.0", "foreign"),
        ("attr.n<5", ""),
        ("attr.n<5.1", "foreign"),
        ("attr.bad>1", ""),
        ("attr.bad:5", "foreign"),
        ("attr.nothing:*", ""),
        ("timeout", "failed"),
        ("-timeout -ticker", "foreign"),
        ('"attempt won"', "retried"),
        ("SELECT", "foreign"),
        ("0000000000000abc", "foreign"),
        (ids(0xB2), "hedged"),
        (ids(0xB2)[:30], "retried hedged failed foreign"),
        ("order place", "failed"),
    ],
)
def test_what_a_filter_finds(q: str, found: str) -> None:
    """All terms must hold."""
    fits = parse(q)
    assert [name for name, trace in ALL.items() if fits(trace)] == found.split()


@pytest.mark.parametrize(
    ("q", "problem"),
    [
        ("colour:red", "'colour:red': there is no field 'colour'; known are op, pipeline"),
        ("attempts>many", "'attempts>many': 'many' is no number"),
        ("attempts>1s", "'1s' is no number"),
        ("duration>1h", "'1h' is no number (units: ms, s, m)"),
        ("duration>1e999", "is no number"),
        ("attr.n>x", "'x' is no number"),
        ("op>ticker", "op is a text, write op:value"),
        ("op:", "'op:' says nothing after ':'"),
        ("attr.:5", "names no attribute"),
        ('op:"tick', "a quote is not closed"),
        ('tick"er"', "a quote stands inside a word"),
        ("x" * 1_001, "the filter has 1001 characters, at most 1000 are read"),
        ("a " * 21, "the filter has 21 terms, at most 20 are read"),
    ],
)
def test_a_bad_term_is_one_clear_line(q: str, problem: str) -> None:
    """It names the term."""
    with pytest.raises(FilterError) as caught:
        parse(q)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(st.sampled_from('ab:>"-* .\n\x00é1') | st.characters(), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_filter_or_one_clear_line(q: str) -> None:
    """Never another error."""
    problem = ""
    try:
        fits = parse(q)
    except FilterError as error:
        problem = str(error)
    else:
        for trace in ALL.values():
            fits(trace)
    assert "\n" not in problem


def many(count: int) -> list[Trace]:
    return [trace_of(call(n, begins=n, ends=n + 10)) for n in range(1, count + 1)]


def test_the_list_goes_page_by_page_from_the_newest() -> None:
    """Every trace once, though others begin at the same time or come in between."""
    traces = [*many(25), *(trace_of(call(100 + n, begins=5, ends=6)) for n in range(5))]
    seen: list[str] = []
    cursor: str | None = None
    for page in range(5):
        answer = query.listing(traces, limit=7, before=cursor)
        seen += [t["trace_id"] for t in answer["traces"]]
        assert answer["matched"] == 30 + page
        cursor = answer["next"]
        traces.append(trace_of(call(200 + page, begins=90, ends=91)))
    assert cursor is None
    assert len(seen) == len(set(seen)) == 30
    starts = [int(s, 16) if int(s, 16) < 100 else 5 for s in seen]
    assert starts == sorted(starts, reverse=True)
    json.dumps(answer, allow_nan=False)


def test_the_list_is_limited_in_time_and_length() -> None:
    """`since` and `until` include their ends; a limit is between 1 and 1,000."""
    traces = many(20)
    found = query.listing(traces, since=AT + 5, until=AT + 7)["traces"]
    assert [int(t["trace_id"], 16) for t in found] == [7, 6, 5]
    with pytest.raises(FilterError, match="`until` is no time"):
        query.listing(traces, until=float("nan"))
    assert len(query.listing(traces, limit=0)["traces"]) == 1
    assert len(query.listing(traces * 60, limit=10**9)["traces"]) == 1_000


@pytest.mark.parametrize("before", ["x", "-1", "1e5-a", "9" * 20 + "-a", "²-a"])
def test_a_cursor_that_is_none_is_one_clear_line(before: str) -> None:
    """It is a text from the address bar."""
    with pytest.raises(FilterError, match="no cursor"):
        query.listing(many(1), before=before)


def test_errors_are_grouped_by_cause_operation_and_service() -> None:
    """The most frequent first, with first, last, an example, and when they happened."""
    failed: Callable[..., Trace] = lambda n, at, **more: trace_of(  # noqa: E731
        call(n, begins=at, ends=at + 1, outcome="failed", **more)
    )
    traces = [
        *(failed(n, n * 10, error__type="reset") for n in range(10)),
        failed(50, 0, error__type="timeout"),
        failed(51, 300, error__type="timeout", service="desk"),
        RETRIED,
        trace_of(span(60, status="error", name="SELECT")),
        trace_of(attempt(61, error__type="early")),  # its call is still to come
    ]
    every = failures.errors(traces)["groups"]
    groups = [group for group in every if group["what"] == "call"]
    assert [(g["error_type"], g["op"], g["service"], g["count"]) for g in groups] == [
        ("reset", "ticker", "bot", 10), ("error", "SELECT", "bot", 1),
        ("timeout", "ticker", "bot", 1), ("timeout", "ticker", "desk", 1),
    ]  # fmt: skip
    assert groups[0]["spark"] == [1] * 10 + [0] * 20
    assert (groups[0]["first"], groups[0]["last"], groups[0]["example"]) == (AT, AT + 90, ids(9))
    assert groups[3]["spark"] == [0] * 29 + [1]
    later = failures.errors(traces, since=AT + 85, until=AT + 100)["groups"]
    assert [(g["count"], sum(g["spark"])) for g in later] == [(1, 1)]
    tries = [(g["error_type"], g["count"], g["example"]) for g in every if g["what"] == "attempt"]
    assert (tries, every[: len(groups)]) == ([("early", 1, ids(61)), ("reset", 1, RETRIED.trace_id)], groups)
    assert failures.errors([trace_of(*hedged())]) == {"groups": []}


def test_failures_of_one_trace_are_each_counted_in_their_own_column_and_time() -> None:
    """A long trace lies in several columns, and partly before or after what is asked for."""
    spans = [attempt(1, 2 + n, begins=n * 100, ends=n * 100 + 5, at=n, error__type="reset") for n in range(30)]
    trace = trace_of(*reversed(spans), call(1, 1, ends=3_000))
    (group,) = failures.errors([trace])["groups"]
    assert (group["count"], group["first"], group["last"], group["spark"]) == (30, AT, AT + 2_900, [1] * 30)
    assert failures.errors([trace]) == {"groups": [group]}
    (some,) = failures.errors([trace], since=AT + 250, until=AT + 649)["groups"]
    assert (some["count"], some["first"], some["last"]) == (4, AT + 300, AT + 600)
    assert [column for column, count in enumerate(some["spark"]) if count] == [3, 11, 18, 26]
    assert failures.errors([trace], since=AT + 2_901) == {"groups": []}
    trace.add(attempt(1, 90, begins=3_100, ends=3_101, error__type="reset"))
    assert failures.errors([trace])["groups"][0]["count"] == 31


def test_a_failure_is_counted_at_the_outermost_call_that_failed_by_it() -> None:
    """An inner call with another cause, or inside one that went well, counts by itself."""
    bad: dict[str, Any] = {"outcome": "failed"}
    outer = call(1, 1, error__type="reset", **bad)
    middle = attempt(1, 2, error__type="reset")
    same = call(1, 3, parent=2, error__type="reset", op="inner", **bad)
    other = call(1, 4, parent=2, error__type="timeout", op="inner", **bad)
    groups = failures.errors([trace_of(outer, middle, same, other)])["groups"]
    assert [(g["what"], g["error_type"], g["op"]) for g in groups] == [
        ("call", "reset", "ticker"), ("call", "timeout", "inner"), ("attempt", "reset", "ticker"),
    ]  # fmt: skip
    circle = trace_of(call(1, 1, parent=2, error__type="x", **bad), span(1, 2, 3), span(1, 3, 2))
    assert len(failures.errors([circle])["groups"]) == 1


def test_the_heatmap_counts_calls_by_time_and_duration() -> None:
    """Rows are log-spaced, columns equal; a sampled call stands for all like it."""
    traces = [
        *(trace_of(call(n, begins=0, ends=1, sampling__probability=0.01)) for n in range(1, 3)),
        trace_of(call(3, begins=0, ends=10, outcome="failed")),
        trace_of(call(4, begins=100, ends=200)),
        FOREIGN,
    ]
    answer = heat.heatmap(traces, bins=2, rows=2)
    assert answer["t"] == [AT, AT + 50]
    assert answer["ms"] == pytest.approx([10, 100])
    assert answer["counts"] == [[201, 0], [0, 1]]
    assert answer["p50"] == [1, 100]
    assert answer["p99"] == [1, 100]
    assert [(d["trace_id"], d["outcome"]) for d in answer["dots"]] == [
        (ids(1), "ok"), (ids(2), "ok"), (ids(3), "failed"), (ids(4), "ok")
    ]  # fmt: skip
    json.dumps(answer, allow_nan=False)


def test_the_heatmap_of_one_operation_finds_calls_inside_others() -> None:
    """Without one, each trace counts once."""
    trace = trace_of(
        call(1, 1, op="outer"), call(1, 2, parent=1, ends=30, op="inner"), call(1, 3, parent=1, ends=40, op="inner")
    )
    assert sum(map(sum, heat.heatmap([trace])["counts"])) == 1
    assert sum(map(sum, heat.heatmap([trace], op="inner")["counts"])) == 2
    assert heat.heatmap([trace], op="none") == {"t": [], "ms": [], "counts": [], "dots": [], "p50": [], "p99": []}
    assert heat.heatmap([trace], since=AT + 1)["t"] == []
    assert heat.heatmap([trace], until=AT - 1)["t"] == []


def test_a_heatmap_of_equal_calls_has_one_row() -> None:
    """Also of calls that took no time at all."""
    assert heat.heatmap([trace_of(call(1, ends=0))], bins=1)["counts"] == [[1]]
    assert len(heat.heatmap(many(9), bins=10**9)["t"]) == 500


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_no_call_is_missing_in_the_heatmap(durations: list[int], rows: int) -> None:
    """Each lies in the row whose upper edge is the first that is not below it."""
    traces = [trace_of(call(n, begins=0, ends=ms / 1000)) for n, ms in enumerate(durations, 1)]
    answer = heat.heatmap(traces, bins=1, rows=rows)
    edges = answer["ms"]
    assert edges == sorted(edges)
    wanted = [0] * len(edges)
    for ms in durations:
        row = next((r for r, edge in enumerate(edges) if ms / 1000 <= edge * (1 + 1e-9)), len(edges) - 1)
        wanted[row] += 1
    assert answer["counts"] == [wanted]


def test_what_is_different_about_the_selected() -> None:
    """Shares of traces, largest difference first; times and what all have in common are left out."""
    traces = [
        *(trace_of(attempt(n, connection="new", x=0.5), call(n, ends=900)) for n in range(1, 5)),
        trace_of(attempt(5, connection="reused"), call(5, ends=900)),
        *(trace_of(attempt(n, connection="reused"), call(n, ends=10)) for n in range(6, 11)),
    ]
    answer = differences.bubble(traces, "duration>500")
    assert (answer["selected"], answer["others"]) == (5, 5)
    assert answer["attributes"] == [
        {"key": "resilience.connection", "value": value, "selected_share": mine, "other_share": theirs,
         "difference": pytest.approx(mine - theirs)}
        for value, mine, theirs in (("new", 0.8, 0.0), ("reused", 0.2, 1.0))
    ]  # fmt: skip
    assert differences.bubble(traces, "")["others"] == 0
    assert differences.bubble([], "") == {"selected": 0, "others": 0, "attributes": []}
    assert differences.bubble(traces, "duration>500", since=AT + 1)["selected"] == 0


def test_two_traces_are_compared() -> None:
    """What differs of the call and of each attempt, and the shares of both."""
    a, b = analyse(trace_of(*RETRIED.spans.values(), span(0xA1, 77, 1))), analyse(HEDGED)
    answer = differences.compare(a, b)
    assert answer["a"] is a
    assert answer["b"] is b
    found = {d["key"]: (d["a"], d["b"]) for d in answer["differences"]}
    assert found["call duration_ms"] == (400.0, 81.0)
    assert found["attempt 1 error.type"] == ("reset", None)
    assert found["attempt 2 resilience.attempt.kind"] == ("retry", "hedge")
    assert "call op" not in found
    order = [d["key"].split()[:2] for d in answer["differences"]]
    assert order == sorted(order, key=lambda key: (key[0] != "call", int(key[1]) if key[0] == "attempt" else 0))
    assert {s["name"] for s in answer["shares"]} == {"backoff", "network", "other"}
    assert differences.compare(a, a)["differences"] == []
