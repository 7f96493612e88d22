"""What is different: about some traces among many, and between two of them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .filters import parse
from .pacing import Stride
from .query import within
from .summary import Trace

__all__ = ["bubble", "compare"]

_SAMPLE = 500  # traces of either side whose attributes are compared
_MOST_ROWS = 100


def bubble(
    traces: Iterable[Trace], q: str, since: float | None = None, until: float | None = None, stride: Stride = iter
) -> dict[str, Any]:
    """Which values of which attributes are more, or less, frequent among the traces that fit than among the others.

    The newest 500 of either side are compared. Numbers with a fraction (times) are left out: hardly two are equal.
    """
    every = within(stride(traces), "", since, until)
    fits = parse(q)
    selected: list[tuple[int, str, Trace]] = []
    others: list[tuple[int, str, Trace]] = []
    for entry in stride(every):
        (selected if fits(entry[2]) else others).append(entry)
    mine, theirs = _shares(stride(_newest(selected, stride))), _shares(stride(_newest(others, stride)))
    found: list[dict[str, Any]] = [
        {
            "key": key,
            "value": value,
            "selected_share": mine.get((key, value), 0.0),
            "other_share": theirs.get((key, value), 0.0),
            "difference": mine.get((key, value), 0.0) - theirs.get((key, value), 0.0),
        }
        for key, value in stride(mine.keys() | theirs.keys())
    ]
    found = [row for row in found if row["difference"]]
    found.sort(key=lambda row: (-abs(row["difference"]), row["key"], row["value"]))
    return {"selected": len(selected), "others": len(others), "attributes": found[:_MOST_ROWS]}


def _newest(found: Iterable[tuple[int, str, Trace]], stride: Stride) -> list[Trace]:
    return [trace for *_, trace in heapq.nlargest(_SAMPLE, stride(found))]


def _shares(traces: Iterable[Trace]) -> dict[tuple[str, str], float]:
    counts: Counter[tuple[str, str]] = Counter()
    total = 0
    for trace in traces:
        total += 1
        pairs = {("service", trace.summary.service), ("instance", trace.summary.instance)}
        for span in list(trace.spans.values()):
            for key, value in span.attributes.items():
                kind = type(value)
                if kind is str:
                    pairs.add((key, value))
                elif kind is not float and kind is not list:
                    pairs.add((key, str(value)))
        counts.update(pairs)
    return {pair: count / total for pair, count in counts.items()}


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Two analysed traces (`analysis.analyse`) side by side: what differs, and where the time went in each."""
    facts_a, facts_b = _facts(a), _facts(b)
    keys = sorted(facts_a.keys() | facts_b.keys(), key=_in_order)
    differences = [
        {"key": key, "a": facts_a.get(key), "b": facts_b.get(key)}
        for key in keys
        if facts_a.get(key) != facts_b.get(key)
    ]
    names = sorted(a["shares"].keys() | b["shares"].keys())
    shares = [{"name": name, "a": a["shares"].get(name, 0.0), "b": b["shares"].get(name, 0.0)} for name in names]
    return {"a": a, "b": b, "differences": differences[: 4 * _MOST_ROWS], "shares": shares}


def _facts(trace: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the call and of each attempt, by a name that is the same in both traces."""
    left_out = ("trace_id", "start", "why", "waits")
    facts = {f"call {key}": value for key, value in trace["summary"].items() if key not in left_out}
    for span in trace["spans"]:
        if span["role"] == "attempt" and span["call"] == trace["call"]:
            prefix = f"attempt {span['number']} "
            facts[prefix + "duration_ms"] = span["duration_ms"]
        elif span["span_id"] == trace["call"]:
            prefix = "call "
        else:
            continue
        facts |= {prefix + key: value for key, value in span["attributes"].items()}
    return facts


def _in_order(key: str) -> tuple[int, int, str]:
    """The call first, then its attempts by number."""
    who, _, rest = key.partition(" ")
    digits = rest.partition(" ")[0]
    return (0, 0, key) if who == "call" else (1, int(digits) if digits.isdigit() else 0, key)
