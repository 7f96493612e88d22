"""convert: a node becomes a dataclass, strictly, and every mistake is told with its place and its cure."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import pytest

from resilience import ConfigError
from resilience.config import Document, InvalidConfig, convert
from resilience.config.environment import Environment
from resilience.config.shapes import shape_of
from resilience.retrying.schedule import _FIELDS, Wait
from resilience.units import Seconds, Share


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Hidden:
    """A type that makes itself of a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def from_config(cls, text: str) -> Hidden:
        if text.startswith("bad"):
            raise ValueError(f"{text} is refused")
        return cls(text)


@dataclass(frozen=True, slots=True)
class Part:
    size: int
    name: str = "part"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"Part: size is {self.size}, must be above zero")
        if self.name == "twice":
            raise ConfigError("'twice' is taken")
        if self.name == "odd":
            raise ConfigError("Part: these do not fit together")
        if self.name == "bug":
            raise TypeError("a bug")


@dataclass(frozen=True, slots=True)
class All:
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    text: str = ""
    time: Seconds = 0.0
    maybe: Seconds | None = None
    share: Share = 0.0
    choice: Literal["on", "off", 3, None, True] = "on"
    words: Sequence[str] = ()
    names: list[str] = field(default_factory=list)
    either: str | Sequence[str] | None = None
    times: Mapping[str, Seconds] = field(default_factory=dict)
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    side: Side = Side.BUY
    money: Decimal = Decimal(0)
    hidden: Hidden | None = None
    data: Any = None
    wait: Wait = 0
    call: Callable[[], int] | None = None
    key: str | Callable[[], str] | None = None


def read(text: str, kind: Any = All, **values: str) -> Any:
    return convert(Document.parse(text, "f.yaml", env=Environment(values=values)), kind)


def problems(text: str, kind: Any = All, **values: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        read(text, kind, **values)
    return [str(problem).removeprefix("f.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("whole: 12", 12),
        ("whole: -3", -3),
        ("number: 2", 2.0),
        ("number: -0.25", -0.25),
        ("flag: true", True),
        ("flag: false", False),
        ("text: hello world", "hello world"),
        ("text: no", "no"),
        ("text: '010'", "010"),
        ("text: 12:30:45", "12:30:45"),
        ("text: |\n  two\n  lines\n", "two\nlines\n"),
        ("time: 250ms", 0.25),
        ("time: 10s", 10.0),
        ("time: '1.5m'", 90.0),
        ("time: 1h", 3600.0),
        ("time: 0", 0.0),
        ("maybe: null", None),
        ("maybe: ~", None),
        ("maybe:", None),
        ("maybe: 3s", 3.0),
        ("share: 50%", 0.5),
        ("share: 0.5", 0.5),
        ("share: 1", 1.0),
        ("choice: on", "on"),
        ("choice: 'off'", "off"),
        ("choice: 3", 3),
        ("choice: null", None),
        ("choice: true", True),
        ("words: [a, 'b']", ("a", "b")),
        ("names: [a]", ["a"]),
        ("either: a", "a"),
        ("either: [a, b]", ("a", "b")),
        ("either: null", None),
        ("times: {on: 1s, 010: 2s}", {"on": 1.0, "010": 2.0}),
        ("part: {size: 2}", Part(2)),
        ("parts:\n- size: 1\n- {size: 2, name: x}", (Part(1), Part(2, "x"))),
        ("side: sell", Side.SELL),
        ("money: 1.10", Decimal("1.10")),
        ("data: {a: [1, 0.5, true, null, text, '1', {}], b: ~}",
         {"a": [1, 0.5, True, None, "text", "1", {}], "b": None}),
        ("wait: 1s", 1.0),
        ("wait: 0", 0.0),
        ("wait: {expo: {base: 2, factor: 1}}", {"expo": {"base": 2.0, "factor": 1.0}}),
        ("wait: {expo: {factor: 250ms, max_value: 8s}}", {"expo": {"factor": 0.25, "max_value": 8.0}}),
        ("wait: {fibo: {}}", {"fibo": {}}),
        ("wait: {constant: {interval: [1s, 2s]}}", {"constant": {"interval": (1.0, 2.0)}}),
        ("call: null", None),
        ("key: host", "host"),
    ],
)  # fmt: skip
def test_what_a_field_takes(text: str, expected: Any) -> None:
    """The field's annotation says how its text is read."""
    value = getattr(read(text), text.partition(":")[0])
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("whole: 010", "1:8: whole: found '010', must be a whole number; write it in plain digits"),
        ("whole: 1e3", "1:8: whole: found '1e3', must be a whole number; write it in plain digits"),
        ("whole: 0x10", "1:8: whole: found '0x10', must be a whole number; write it in plain digits"),
        ("whole: 1_000", "1:8: whole: found '1_000', must be a whole number; write it in plain digits"),
        ("whole: +1", "1:8: whole: found '+1', must be a whole number; write it in plain digits"),
        ("whole: 12:30:45", "1:8: whole: found '12:30:45', must be a whole number"),
        ("whole: 1.0", "1:8: whole: found '1.0', must be a whole number"),
        ("whole: '1'", "1:8: whole: found '1' in quotes, must be a whole number"),
        ("whole: true", "1:8: whole: found 'true', must be a whole number"),
        ("whole: 1234567890123456789", "1:8: whole: found '1234567890123456789', must be a whole number; at most 18"),
        ("whole: " + "9" * 5000, f"1:8: whole: found '{'9' * 57}...', must be a whole number; at most 18"),
        ("whole: null", "1:8: whole: found nothing, must be a whole number"),
        ("whole: [1]", "1:8: whole: found a list, must be a whole number"),
        ("whole: {}", "1:8: whole: found an empty mapping, must be a whole number"),
        ("number: .5", "1:9: number: found '.5', must be a number; write it in plain digits"),
        ("number: .inf", "1:9: number: found '.inf', must be a number"),
        ("number: 10s", "1:9: number: found '10s', must be a number"),
        ("flag: no", "1:7: flag: found 'no', must be true or false"),
        ("flag: True", "1:7: flag: found 'True', must be true or false"),
        ("flag: 'true'", "1:7: flag: found 'true' in quotes, must be true or false"),
        ("text: 010", "1:7: text: found '010', must be text; put it in quotes if it is meant as text"),
        ("text: 1e3", "1:7: text: found '1e3', must be text; put it in quotes if it is meant as text"),
        ("text: true", "1:7: text: found 'true', must be text; put it in quotes if it is meant as text"),
        ("text:", "1:6: text: found nothing, must be text"),
        ("text: []", "1:7: text: found an empty list, must be text"),
        ("time: 10", "1:7: time: found '10', must be a time with its unit (ms, s, m, h), such as 250ms or 10s"),
        ("time: 10sec", "1:7: time: found '10sec', must be a time with its unit"),
        ("time: -1s", "1:7: time: found '-1s', must be a time with its unit"),
        ("time: " + "9" * 400 + "s", f"1:7: time: found '{'9' * 57}...', must be a time with its unit"),
        ("time: null", "1:7: time: found nothing, must be a time with its unit"),
        ("maybe: 5", "1:8: maybe: found '5', must be a time with its unit"),
        ("share: 50", "1:8: share: found '50', must be a share, such as 50% or 0.5"),
        ("share: 101%", "1:8: share: found '101%', must be a share, such as 50% or 0.5"),
        ("share: -1", "1:8: share: found '-1', must be a share"),
        ("choice: of", "1:9: choice: found 'of', must be one of on, off, 3, null, true; did you mean off?"),
        ("choice: 1", "1:9: choice: found '1', must be one of on, off, 3, null, true"),
        ("choice: [on]", "1:9: choice: found a list, must be one of on, off, 3, null, true"),
        ("words: a", "1:8: words: found 'a', must be a list of text"),
        ("words: [a, 1]", "1:12: words[1]: found '1', must be text; put it in quotes if it is meant as text"),
        ("either: {a: 1}", "1:9: either: found a mapping, must be text or a list of text or null"),
        ("times: [a]", "1:8: times: found a list, must be a mapping of names to a time with its unit"),
        ("times: {a: 1s, b: 2}", "1:19: times.b: found '2', must be a time with its unit"),
        ("part: 3", "1:7: part: found '3', must be a mapping of size, name"),
        ("part: {}", "1:7: part: the key size is missing"),
        ("part: {size: 1, nam: x}", "1:17: part.nam: unknown key; did you mean name? (allowed: size, name)"),
        ("part: {Size: 1, size: 2}", "1:8: part.Size: unknown key; did you mean size? (allowed: size, name)"),
        ("part: {size: 0}", "1:14: part.size: Part: size is 0, must be above zero"),
        ("part: {size: 1, name: twice}", "1:23: part.name: 'twice' is taken"),
        ("part: {size: 1, name: odd}", "1:7: part: Part: these do not fit together"),
        ("part: {size: 1, name: bug}", "1:7: part: Part cannot be made of this: a bug"),
        ("parts: [{size: 1}, {size: 0}]", "1:27: parts[1].size: Part: size is 0"),
        ("side: long", "1:7: side: found 'long', must be text for Side: Invalid enum value 'long'"),
        ("side: [buy]", "1:7: side: found a list, must be text for Side"),
        ("money: much", "1:8: money: found 'much', must be text for Decimal: Invalid decimal string"),
        ("hidden: bad one", "1:9: hidden: found 'bad one', must be text for Hidden: bad one is refused"),
        ("data: no", "1:7: data: found 'no', which YAML's versions read differently; quote it if it is text, else "
         "write true, false or plain digits"),
        ("data: [1e3]", "1:8: data[0]: found '1e3', which YAML's versions read differently"),
        ("data: {a: 12:30:45}", "1:11: data.a: found '12:30:45', which YAML's versions read differently"),
        ("data: 2024-01-01", "1:7: data: found '2024-01-01', which YAML's versions read differently"),
        ("wait: 1", "1:7: wait: found '1', must be a time with its unit (ms, s, m, h), such as 250ms or 10s or a "
         "mapping of one of expo, fibo, constant"),
        ("wait: {expoo: {}}", "1:8: wait.expoo: unknown key; did you mean expo? (allowed: expo, fibo, constant)"),
        ("wait: {}", "1:7: wait: found an empty mapping, must be a mapping of one of expo, fibo, constant"),
        ("wait: {fibo: {}, expo: {}}", "1:7: wait: found a mapping, must be a mapping of one of expo, fibo, constant"),
        ("wait: {expo: {base: 2s}}", "1:21: wait.expo.base: found '2s', must be a number"),
        ("call: print", "1:7: call: found 'print', but this is something that only Python code can set"),
        ("wohle: 3", "1:1: wohle: unknown key; did you mean whole? (allowed: whole, number, "),
        ("[]", "1:1: $: found an empty list, must be a mapping of whole, number, "),
    ],
)  # fmt: skip
def test_what_a_field_refuses(text: str, expected: str) -> None:
    """The error says where, what was found and what is allowed; nothing is reinterpreted in silence."""
    (found,) = problems(text)
    assert found.startswith(expected)
    assert found.isprintable()


def test_all_problems_of_a_section_are_told_at_once() -> None:
    """One reading finds every mistake, in the order of the file."""
    text = "whole: x\npart: {sise: 1}\nparts: [{size: 1}, 3]\ntime: 5\n"
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["1:8", "whole"],
        ["2:7", "part"],
        ["2:8", "part.sise"],
        ["3:20", "parts[1]"],
        ["4:7", "time"],
    ]


def test_values_from_the_environment_are_read_by_the_field_and_never_shown() -> None:
    """Text is text whatever it looks like, a number must be a number, and no error quotes the value."""
    assert read("text: ${env:BYBIT_X}", BYBIT_X="010").text == "010"
    assert read("hidden: ${env:BYBIT_X}", BYBIT_X="12345").hidden.text == "12345"
    assert read("whole: ${env:BYBIT_X}", BYBIT_X="12").whole == 12
    assert read("data: ${env:BYBIT_X}", BYBIT_X="12").data == "12"
    texts = [
        *problems("whole: ${env:BYBIT_X}", BYBIT_X="canary"),
        *problems("choice: ${env:BYBIT_X}", BYBIT_X="canary"),
        *problems("side: ${env:BYBIT_X}", BYBIT_X="canary"),
        *problems("hidden: ${env:BYBIT_X}", BYBIT_X="bad canary"),
        *problems("hidden: ${env:BYBIT_X}", BYBIT_X="bad " + "canary" * 100),
    ]
    assert not [text for text in texts if "canary" in text]
    assert texts[0] == "1:8: whole: found the value of ${env:BYBIT_X}, must be a whole number"


def test_a_broken_node_is_never_handed_out() -> None:
    """Where problems are collected, converting what is useless raises its problem again."""
    from resilience.config import Problems

    found = Problems()
    root = Document.parse("part: {size: *x}\n", "f.yaml", problems=found)
    with pytest.raises(InvalidConfig) as caught:
        convert(root, All)
    assert caught.value.problems == found.found


def test_a_file_can_say_every_wait_but_a_function() -> None:
    """The keys of `wait` are those of the schedule; `runtime` takes a function, so only code can say it."""
    spelled: Any = shape_of(Wait)
    keys = {name: set(keys.shapes) for name, keys in spelled.shapes[1].shapes.items()}
    assert keys == {name: names for name, names in _FIELDS.items() if name != "runtime"}


def test_the_error_survives_pickling() -> None:
    """As errors must that cross a process's border."""
    import pickle

    with pytest.raises(InvalidConfig) as caught:
        read("whole: x\nnumber: y")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own bytes)
    assert str(copy) == str(caught.value)
    assert re.fullmatch(r"f.yaml:1:8: whole: .* \(and 1 more\)", str(copy))
