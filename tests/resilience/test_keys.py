"""Keys: which calls may be answered with one another's answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from resilience import Call, ConfigError, Op
from resilience.keys import hashable, key_function, same_call


async def ticker(symbol: str) -> None: ...


async def book(symbol: str) -> None: ...


def call(*args: Any, op: str = "ticker", fn: Any = ticker, keys: Any = (), **kwargs: Any) -> Call:
    return Call(Op(op), fn, args, kwargs, keys=dict(keys))


def test_the_same_question_has_one_key() -> None:
    """However its named arguments are ordered."""
    assert same_call(call("BTC")) == same_call(call("BTC"))
    assert same_call(call("BTC", depth=1, side="buy")) == same_call(call("BTC", side="buy", depth=1))
    assert same_call(call("BTC", depth=1)) == same_call(call("BTC", depth=1))
    host = {"host": "a"}
    assert same_call(call("BTC", keys=host)) == same_call(call("BTC", keys=host))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (call("BTC"), call("ETH")),
        (call("BTC"), call("BTC", op="mark")),
        (call("BTC"), call("BTC", fn=book)),
        (call("BTC"), call("BTC", "ETH")),
        (call(1), call(True)),
        (call((1,)), call((True,))),
        (call(("BTC", (1,))), call(("BTC", (1.0,)))),
        (call(depths=(1,)), call(depths=(True,))),
        (call((1,), depth=5), call((True,), depth=5)),
        (call(1), call(1.0)),
        (call(1), call(Decimal(1))),
        (call(depth=1), call(depth=True)),
        (call(depth=1), call(depth=2)),
        (call(depth=1), call(width=1)),
        (call(1), call(depth=1)),
        (call("depth", 1), call(depth=1)),
        (call(a=1, b=2), call(a=2, b=1)),
        (call(a=1, b=2), call(a=1, b=2, c=3)),
        (call(a=1, b=2), call(a=1, b=2.0)),
        (call("BTC", keys={"account": "a"}), call("BTC", keys={"account": "b"})),
        (call("BTC", keys={"account": "a"}), call("BTC", keys={"host": "a"})),
        (call("BTC", keys={"account": "a"}), call("BTC")),
    ],
)
def test_another_question_has_another(one: Call, other: Call) -> None:
    """Another operation, function, account or argument, be it only by its type."""
    assert same_call(one) != same_call(other)


def test_what_cannot_be_hashed_has_none() -> None:
    """A list as an argument, by place or by name, and a target that cannot be hashed."""

    class Target:
        __hash__ = None  # type: ignore[assignment]

    for odd in (call(["BTC"]), call(symbols=["BTC"]), call("BTC", fn=Target())):
        assert hashable(same_call(odd)) is None
    assert hashable(same_call(call("BTC"))) == same_call(call("BTC"))


def test_a_key_is_a_function() -> None:
    """The given one, or the default."""
    assert key_function("Cache", None) is same_call
    assert key_function("Cache", repr) is repr
    with pytest.raises(ConfigError, match=r"Cache: key is 'op', must be a function of the call"):
        key_function("Cache", "op")  # type: ignore[arg-type]
