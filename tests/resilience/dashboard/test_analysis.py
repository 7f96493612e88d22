"""One trace explained: segments, the critical path, shares, winners, and trees that cannot be."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import START, attempt, call, hedged, retried, span, trace_of

from resilience.dashboard.analysis import SEGMENTS, analyse, sentence
from resilience.dashboard.rows import Span
from resilience.dashboard.summary import Trace


def one(answer: dict[str, Any], number: int) -> dict[str, Any]:
    (found,) = (s for s in answer["spans"] if s["span_id"] == f"{number:016x}")
    return found


def test_a_retried_call_is_explained() -> None:
    """Half of its time was backoff; the second attempt won."""
    answer = analyse(trace_of(*retried()))
    assert answer["shares"] == {"backoff": 0.5, "network": 0.375, "other": 0.125}
    assert answer["critical"] == [
        ["0000000000000002", 0.0, 100.0], ["0000000000000001", 100.0, 300.0], ["0000000000000003", 300.0, 400.0],
    ]  # fmt: skip
    assert [s["span_id"][-1] for s in answer["spans"]] == ["1", "2", "3"]
    first, second = one(answer, 2), one(answer, 3)
    assert (first["winner"], first["error_type"], first["wait_before"]) == (False, "reset", None)
    assert (second["winner"], second["number"], second["role"]) == (True, 2, "attempt")
    assert second["wait_before"] == {"why": "backoff", "seconds": 0.2}
    assert second["segments"] == [
        {"name": "first_byte", "start_ms": 300.0, "duration_ms": 50.0},
        {"name": "other", "start_ms": 350.0, "duration_ms": 50.0},
    ]
    assert answer["why"] == answer["summary"]["why"] == "1 reset, second attempt won."
    assert (answer["start"], answer["duration_ms"]) == (START / 1e6, 400.0)
    json.dumps(answer, allow_nan=False)


def test_the_loser_of_a_hedge_is_critical_until_the_winner_began() -> None:
    """Then nobody waited for it any more, though it ended last."""
    answer = analyse(trace_of(*hedged()))
    assert answer["critical"] == [
        ["0000000000000002", 0.0, 50.0], ["0000000000000003", 50.0, 80.0], ["0000000000000001", 80.0, 81.0],
    ]  # fmt: skip
    assert (one(answer, 2)["lost"], one(answer, 2)["winner"]) == (True, False)
    assert (one(answer, 3)["lost"], one(answer, 3)["winner"], one(answer, 3)["attempt_kind"]) == (False, True, "hedge")


def test_a_hedge_that_lost_is_not_critical() -> None:
    """The original was waited for from beginning to end."""
    won = attempt(number=2, begins=0, ends=80)
    lost = attempt(number=3, begins=50, ends=80, at=2, hedge="lost", attempt__outcome="cancelled")
    assert [piece[0][-1] for piece in analyse(trace_of(won, lost, call(ends=80)))["critical"]] == ["2"]


def test_segments_come_in_the_order_in_which_things_happen() -> None:
    """Each as long as it says, and the rest as `other`."""
    said = {f"wait__{name}": 0.01 for name in SEGMENTS[:4]} | {f"phase__{name}": 0.01 for name in SEGMENTS[4:]}
    found = one(analyse(trace_of(attempt(ends=100, **said), call())), 2)["segments"]
    assert [s["name"] for s in found] == [*SEGMENTS, "other"]
    assert [s["start_ms"] for s in found] == [10.0 * n for n in range(10)]
    assert {s["duration_ms"] for s in found} == {10.0}


def test_segments_end_with_their_attempt() -> None:
    """However much an attempt claims to have waited."""
    found = one(analyse(trace_of(attempt(ends=100, wait__limiter=0.04, wait__pool=1e300, phase__body=3), call())), 2)
    assert [(s["name"], s["duration_ms"]) for s in found["segments"]] == [("limiter", 40.0), ("pool", 60.0)]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, None),
        ({"wait__backoff": 0}, None),
        ({"wait__backoff": "much"}, None),
        ({"retry": "transparent"}, {"why": "transparent", "seconds": 0.0}),
        ({"retry": "retry_after", "wait__retry_after": 2}, {"why": "retry_after", "seconds": 2}),
        ({"wait__retry_after": 2, "wait__backoff": 1}, {"why": "retry_after", "seconds": 2}),
        ({"retry": "<b>", "wait__backoff": 1}, {"why": "backoff", "seconds": 1}),
    ],
)
def test_the_wait_before_an_attempt(said: dict[str, Any], wanted: object) -> None:
    """Whose it was, by what the attempt says."""
    assert one(analyse(trace_of(attempt(**said), call())), 2)["wait_before"] == wanted


def test_waits_that_no_attempt_explains_are_taken_from_the_call() -> None:
    """A pause that the deadline cut short, and a limiter above the retry."""
    first = attempt(begins=25, ends=50, error__type="reset", retry_stopped="deadline_would_exceed")
    answer = analyse(trace_of(first, call(wait__backoff=0.05, wait__limiter=0.02, outcome="failed")))
    assert answer["shares"] == {"backoff": 0.5, "network": 0.25, "limiter": 0.2, "other": 0.05}
    assert one(answer, 2)["stopped"] == "deadline_would_exceed"


def test_an_attempt_with_no_request_in_it_was_not_on_the_network() -> None:
    """A CLIENT span without phases is all network, an INTERNAL one is not."""
    assert analyse(trace_of(attempt(), call()))["shares"] == {"network": 1.0}
    assert analyse(trace_of(attempt(kind="internal"), call()))["shares"] == {"other": 1.0}


def test_a_call_inside_an_attempt_counts_by_its_own_attempts() -> None:
    """The pause between the inner attempts is backoff, not the outer attempt's own."""
    inner = [
        call(number=4, parent=2, attempts=2),
        attempt(number=5, parent=4, begins=0, ends=20, error__type="reset"),
        attempt(number=6, parent=4, begins=80, ends=100, at=2, wait__backoff=0.06),
    ]
    answer = analyse(trace_of(attempt(number=2, kind="internal"), call(), *inner))
    assert answer["shares"] == {"backoff": 0.6, "network": 0.4}
    assert one(answer, 6)["call"] == "0000000000000004"
    assert one(answer, 2)["winner"]


def test_spans_of_others_are_part_of_the_attempt_around_them() -> None:
    """The time of a foreign span on the path counts as that attempt's segments say."""
    foreign = span(number=9, parent=2, begins=10, ends=90, name="GET", kind="client")
    answer = analyse(trace_of(attempt(phase__first_byte=0.1), foreign, call()))
    assert answer["shares"] == {"network": 1.0}
    assert one(answer, 9)["role"] == "other"
    assert one(answer, 9)["segments"] == []
    assert len(answer["critical"]) == 3


def test_a_trace_without_a_call_is_shown_too() -> None:
    """Spans of other instrumentation: a tree, a path, no sentence."""
    trace = trace_of(span(number=1, ends=10), span(number=2, parent=1, begins=2, ends=5), span(number=3, parent=77))
    answer = analyse(trace)
    assert (answer["why"], sentence(trace)) == ("", "")
    assert [s["parent_id"][-2:] for s in answer["spans"]] == ["", "01", "4d"]
    assert answer["shares"] == {"other": 1.0}
    with pytest.raises(ValueError, match="no span yet"):
        analyse(Trace("0" * 32))
    assert sentence(Trace("0" * 32)) == ""


def test_spans_that_are_each_others_parents_are_shown_once() -> None:
    """A circle opens at its first span; a span that is its own parent is a root."""
    circle = [span(number=1, parent=3), span(number=2, parent=1, begins=0.1), span(number=3, parent=2, begins=0.2)]
    answer = analyse(trace_of(*circle, span(number=4, parent=4, begins=0.5)))
    assert [(s["span_id"][-1], s["parent_id"][-1:]) for s in answer["spans"]] == [
        ("4", ""),
        ("1", ""),
        ("2", "1"),
        ("3", "2"),
    ]


def test_a_very_deep_trace_is_no_recursion() -> None:
    """A thousand spans, each inside the one before."""
    deep = [span(number=n, parent=n - 1 or None, begins=n / 10, ends=300 - n / 10) for n in range(1, 1_001)]
    answer = analyse(trace_of(*deep))
    assert len(answer["spans"]) == 1_000
    assert len(answer["critical"]) == 1_999


def test_the_sentence_is_made_where_the_call_brought_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the attributes of the call and of its attempts by number; what goes wrong there is no sentence."""
    module: Any = types.ModuleType("resilience.telemetry.why")
    module.why = lambda of, attempts, seconds: (
        f"{of['resilience.op']} {[a['resilience.attempt.number'] for a in attempts]} {seconds}"
    )
    monkeypatch.setitem(sys.modules, "resilience.telemetry.why", module)
    trace = trace_of(attempt(number=3, begins=5, at=2), attempt(number=9, begins=8), call())
    assert sentence(trace) == analyse(trace)["summary"]["why"] == "ticker [1, 2] 0.1"
    assert sentence(trace_of(call(why="said"))) == "said"
    module.why = lambda *_: 1 / 0
    assert sentence(trace) == ""


times = st.integers(0, 60)


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """A call and whatever may lie beneath it, times in any order."""
    found = [call(number=1, ends=draw(times), wait__backoff=draw(st.floats(0, 0.1)))]
    for number in range(2, draw(st.integers(2, 9))):
        begins, lasts, parent = draw(times), draw(times), draw(st.integers(1, 9))
        kind = draw(st.sampled_from(["attempt", "lost", "call", "other"]))
        if kind == "call":
            found.append(call(number=number, begins=begins, ends=begins + lasts, parent=parent))
        elif kind == "other":
            found.append(span(number=number, parent=parent, begins=begins, ends=begins + lasts))
        else:
            more = {"hedge": "lost"} if kind == "lost" else {"wait__backoff": draw(st.floats(0, 0.1))}
            found.append(attempt(number=number, parent=parent, begins=begins, ends=begins + lasts, at=number, **more))
    return found


@given(traces())
@settings(max_examples=150, deadline=None)
def test_the_path_covers_the_call_and_shares_sum_to_one(spans: list[Span]) -> None:
    """Without a gap, without an overlap, whatever the spans claim; every span is shown once, after its parent."""
    trace = trace_of(*spans)
    answer = analyse(trace)
    principal = one(answer, int(answer["call"], 16))
    at = principal["start_ms"]
    for _, begins, ends in answer["critical"]:
        assert begins == at
        assert ends > begins
        at = ends
    assert at == pytest.approx(principal["start_ms"] + principal["duration_ms"])
    if principal["duration_ms"]:
        assert sum(answer["shares"].values()) == pytest.approx(1)
        assert min(answer["shares"].values()) > 0
    seen: set[str] = set()
    for each in answer["spans"]:
        known = {s["span_id"] for s in answer["spans"]}
        assert each["parent_id"] in seen or each["parent_id"] not in known
        seen.add(each["span_id"])
    assert len(seen) == len(answer["spans"]) == len(spans)
