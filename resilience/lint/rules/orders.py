"""The rules about the order of policies: those that a pipeline warns of when it is built, by the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...orders import RULES as ORDERS
from ..subject import Found, Rule, Subject

__all__ = ["RULES"]


def _as_rule(find: Callable[[Any], Iterator[tuple[int, str]]]) -> Rule:
    def found(subject: Subject) -> Iterator[Found]:
        return (Found(position, message) for position, message in find(subject.policies))

    return Rule("warning", found)


RULES: dict[str, Rule] = {name: _as_rule(find) for name, find in ORDERS.items()}
