"""Recorded traces, read back: from the dashboard's store and from OTLP JSON alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_market import as_json, as_store
from traces import attempt, call, hedged, ids, retried

from resilience import ConfigError
from resilience.dashboard.otlp_json import export
from resilience.recorded import read_traces


def test_both_kinds_of_file_hold_the_same_calls(tmp_path: Path) -> None:
    """A store, one request, and one request a line."""
    spans = [*retried(1), *hedged(2)]
    store = read_traces(as_store(spans, tmp_path / "a.sqlite"))
    whole = read_traces(as_json(spans, tmp_path / "a.json"))
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps(export(part)) + "\n" for part in (spans[:2], spans[2:])))
    assert list(store.calls) == list(whole.calls) == list(read_traces(str(lines)).calls)
    assert store.seconds == whole.seconds == pytest.approx(0.4)


def test_a_call_has_its_attempts(tmp_path: Path) -> None:
    """In their order, with outcomes, kinds, and times from the recording's beginning."""
    (one,) = read_traces(as_json(retried(), tmp_path / "a.json")).calls
    assert (one.op, one.outcome, one.weight, one.seconds) == ("ticker", "ok", 1.0, pytest.approx(0.4))
    first, second = one.attempts
    assert (first.outcome, first.error, first.answered, first.seconds) == ("failed", "reset", False, pytest.approx(0.1))
    assert (second.start, second.answered, second.kind) == (pytest.approx(0.3), True, "retry")


def test_our_own_queues_are_no_part_of_an_attempts_length(tmp_path: Path) -> None:
    """Nor of its beginning: it was sent when it had its place."""
    spans = [attempt(ends=100, wait__queue=0.03, wait__limiter=0.02, wait__pool=0.01), call()]
    ((one,),) = (each.attempts for each in read_traces(as_json(spans, tmp_path / "a.json")).calls)
    assert (one.start, one.seconds, one.queued) == pytest.approx((0.05, 0.05, 0.05))


def test_a_sampled_call_stands_for_others(tmp_path: Path) -> None:
    """Its weight is one over its probability; nonsense counts as one."""
    spans = [call(1, sampling__probability=0.01), call(2, sampling__probability=7.0)]
    recording = read_traces(as_json(spans, tmp_path / "a.json"))
    assert [each.weight for each in recording.calls] == [100.0, 1.0]
    assert recording.sampled


def test_what_the_server_ordered_is_found_on_the_next_attempt(tmp_path: Path) -> None:
    """There the tracer notes the pause."""
    first = attempt(1, 2, ends=10, attempt__outcome="throttled", error__type="http_429")
    second = attempt(1, 3, begins=1_010, ends=1_020, at=2, wait__retry_after=1.0)
    (one,) = read_traces(as_json([first, second, call(ends=1_020)], tmp_path / "a.json")).calls
    assert [each.ordered for each in one.attempts] == [1.0, None]


def test_a_pipeline_is_found_by_its_name_or_its_exchanges(tmp_path: Path) -> None:
    """``market`` is also ``bybit.market``; other programs' spans are left out."""
    spans = [call(1, pipeline="bybit.market"), call(2, pipeline="market"), call(3, pipeline="orders"), *retried(4)[:1]]
    recording = read_traces(as_json(spans, tmp_path / "a.json"))
    assert recording.pipelines == ["bybit.market", "market", "orders"]
    assert len(recording.of("market").calls) == 2
    assert list(recording.by_operation()) == ["ticker"]
    assert ids(4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"{", "neither a store of the dashboard nor OTLP JSON"),
        (b"{}", "holds no call"),
        (b"SQLite format 3\x00 and then nonsense", "is no store of the dashboard"),
        (b'{"resourceSpans": 3}', "resourceSpans"),
    ],
)
def test_another_file_is_one_clear_line(tmp_path: Path, content: bytes, said: str) -> None:
    """With its name, and what it should be."""
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_traces(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_file_is_one_clear_line(tmp_path: Path) -> None:
    """A folder neither."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_traces(str(path))


def test_a_store_is_only_read(tmp_path: Path) -> None:
    """Its bytes stay as they were, while another process may have it open."""
    path = tmp_path / "a.sqlite"
    as_store(retried(), path)
    before = path.read_bytes()
    read_traces(str(path))
    assert path.read_bytes() == before
