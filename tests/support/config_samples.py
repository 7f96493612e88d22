"""Settings of policies to try on the configuration loader: good ones with the values they mean, and odd ones.

Both walk the shapes that the loader itself is made of (`resilience.config.shapes`), so that a new policy or a new field
is tried without a line here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from resilience.config.containers import Keys, ListOf, MappingOf, OneOf, Plain
from resilience.config.fields import Fields
from resilience.config.quantities import Duration, Pace, Percent, Percentile
from resilience.config.scalars import Choice, Flag, Identifier, Null, Number, Text, Unspeakable, Whole, Word

__all__ = ["ODD", "Draw", "drawn", "fields_drawn", "speakable"]

Draw = Callable[[list[Any]], Any]
"""Picks one of several: `random.Random.choice`, or Hypothesis."""

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 50, 10**6, 0.0, 0.5, 1.5, -0.5, 1.0e-3, "", " ", "a", "a b", "é", "1", "0.5",
    "true", "null", "1s", "0s", "0.0ms", "250ms", " 2m ", "-1s", "1 s", "1sec", "1.5h", "00.5s", ".5s", "1.s",
    "9" * 30 + "s",
    "50%", "0%", "0.0%", "100%", "100.1%", "101%", "007%", "-5%", "99.9%", "99.95%", "99.900000000001%",
    "0.7%", "0100.0%", "100.000000000001%", "1.0000000000001%",
    "p95", "p0", "p99.9", "p99.9999999999999", "p100", "p00.0",
    "95", "600/5s", "10/s", "0/s", "0.5/s", "1.5/s", "1/0s", "1/.5s", "1/0.0s", "6 00/5s", "600 / 5 s", "600 per 5s",
    "1/s/s",
    "none", "full", "host", "ip", "op", "account", "one", "cost", "fifo", "gradient", "shadow", "critical", "OSError",
    "Not.A.Name", "1st", [], ["OSError"], ["OSError", "KeyError"], [1], ["a b"], [None], {}, {"a": "1s"}, {"a": "0s"},
    {"a": 1}, {"a": "1/s"}, {"a": "0/s"}, {"a": None}, {"expo": {}}, {"expo": {"base": -1}}, {"expo": {"base": 3}},
    {"expo": {"factor": "1s"}}, {"expo": {"factor": -1}}, {"expo": {"max_value": 5}}, {"fibo": {"max_value": "1s"}},
    {"fibo": {"base": 1}}, {"constant": {"interval": ["1s", 0]}}, {"constant": {"interval": 1}}, {"runtime": {}},
    {"expo": {}, "fibo": {}}, {"ratio": "10%"}, {"ratio": 2}, {"tokens": 9}, {"tokens": 0}, {"per_second": -1},
    {"key": "host"}, {"key": "ip"}, {"ratio": 1, "tokens": 9}, {"error": "OSError"}, {"error": "KeyError"},
    {"quantile": "95%"}, {"quantile": 0}, {"quantile": "99.9%"},
    {"quantile": "099.90%"}, {"quantile": "99.95%"}, {"quantile": "99.900000000001%"}, {"quantile": 0.9995},
    {"factor": 0.5}, {"floor": "0s"}, {"window": "0s"}, {"rate": "1/s"},
    [{"rate": "1/s"}], [{"rate": "0/s"}], [{"key": "op"}], [{"rate": "1/s", "key": "nobody"}], [["a"]],
]  # fmt: skip
"""Values that JSON can say. Each is good for some setting of some policy, or nearly."""

_TIMES = [("250ms", 0.25), ("9ms", 0.009), ("1.5s", 1.5), ("2s", 2.0), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0)]
_SHARES = [("50%", 0.5), ("0.25", 0.25), ("12.5%", 0.125), ("1%", 0.01), ("100%", 1.0), ("1", 1.0)]
_WORDS = ["ticker", "'no'", '"12"', "a_b", "'a: b'", "'#x'", '"\\u00e9\\t"']
_PLAIN = [
    ("[1, '2', {a: null}]", [1, "2", {"a": None}]),
    ("text", "text"),
    ("null", None),
    ("0.5", 0.5),
    ("true", True),
]


def speakable(fields: Fields) -> list[str]:
    """The fields that a file can set to more than null: all but those that only take what Python code can say."""
    return [name for name, shape in fields.keys.shapes.items() if _says_more(shape)]


def _says_more(shape: Any) -> bool:
    parts = shape.shapes if isinstance(shape, OneOf) else [shape]
    return not all(isinstance(part, (Null, Unspeakable)) for part in parts)


def fields_drawn(fields: Fields, choose: Draw, must: str = "") -> tuple[str, dict[str, Any]]:
    """Settings as a flow mapping, and as arguments; those that are required, `must`, and any of the others."""
    texts, values = [], {}
    for name in speakable(fields):
        if name in fields.required or name == must or choose([True, False, False, False]):
            text, values[name] = drawn(fields.keys.shapes[name], choose)
            texts.append(f"{name}: {text}")
    return "{" + ", ".join(texts) + "}", values


def drawn(shape: Any, choose: Draw) -> tuple[str, Any]:
    """A value that the shape takes: how a file spells it, and what it is."""
    if isinstance(shape, OneOf):
        part = choose([part for part in shape.shapes if not isinstance(part, Unspeakable)])
        rivals = [other for other in shape.shapes if isinstance(other, Fields) and other is not part]
        if isinstance(part, Fields) and rivals:  # which of them is meant shows by a key that the others do not have
            own = [key for key in part.keys.shapes if not any(key in other.keys.shapes for other in rivals)]
            text, values = fields_drawn(part, choose, choose(own))
            return text, part.kind(**values)
        return drawn(part, choose)
    if isinstance(shape, Fields):
        text, values = fields_drawn(shape, choose)
        return text, shape.kind(**values)
    if isinstance(shape, Keys):
        name = choose(list(shape.shapes))
        inner = [
            (key, *drawn(part, choose)) for key, part in shape.shapes[name].shapes.items() if choose([True, False])
        ]
        text = "{" + ", ".join(f"{key}: {text}" for key, text, _ in inner) + "}"
        return f"{{{name}: {text}}}", {name: {key: value for key, _, value in inner}}
    if isinstance(shape, ListOf):
        items = [drawn(shape._element, choose) for _ in range(choose([1, 2]))]
        return "[" + ", ".join(text for text, _ in items) + "]", shape._make([value for _, value in items])
    if isinstance(shape, MappingOf):
        inner = [(key, *drawn(shape._element, choose)) for key in choose([["a"], ["a", "on"], []])]
        return "{" + ", ".join(f"{key}: {text}" for key, text, _ in inner) + "}", {
            key: value for key, _, value in inner
        }
    return _scalar(shape, choose)


def _mapping(entries: list[tuple[str, str, Any]]) -> tuple[str, dict[str, Any]]:
    text = ", ".join(f"{key}: {text}" for key, text, _ in entries)
    return f"{{{text}}}", {key: value for key, _, value in entries}


def _scalar(shape: Any, choose: Draw) -> tuple[str, Any]:
    for kind, pool in _SCALARS:
        if isinstance(shape, kind):
            return choose(pool)  # type: ignore[no-any-return]
    if isinstance(shape, Choice):
        value = choose(list(shape._values))
        return json.dumps(value), value
    if isinstance(shape, Text):
        import yaml

        text = choose(_WORDS)
        return text, yaml.safe_load(text)
    raise AssertionError(f"nothing is known to say for {shape!r}")


_SCALARS: list[tuple[type, list[tuple[str, Any]]]] = [
    (Null, [("null", None), ("~", None)]),
    (Flag, [("true", True), ("false", False)]),
    (Whole, [("1", 1), ("2", 2), ("7", 7), ("1000000", 10**6)]),
    (Number, [("1", 1.0), ("2.5", 2.5), ("3", 3.0), ("0.75", 0.75)]),
    (Duration, _TIMES),
    (Percent, _SHARES),
    (Percentile, [("p95", "p95"), ("p99.9", "p99.9")]),
    (Pace, [(text, text) for text in ("600/5s", "10/s", "1.5/250ms", "7 / 2m")]),
    (Identifier, [("OSError", "OSError"), ("NetworkError", "NetworkError")]),
    (Word, [("host", "host"), ("rest", "rest")]),
    (Plain, _PLAIN),
]
