"""What stands for a field that was not given, where None is a value like any other."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["NOT_GIVEN"]


class _NotGiven:
    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Final[Any] = _NotGiven()
