"""What is wrong with a file: every problem has a position, and all of them are told at once.

A `ConfigError` of one file carries the whole list in `problems`, but its own text stays one line: the first problem,
and how many more there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

__all__ = ["InvalidConfig", "Problem", "Problems"]

_MOST = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. `line` and `col` count from 1; `path` is the place in words of the file's own keys.

    `rule` has low cardinality (``"unknown-key"``, ``"type"``): machines select by it.
    """

    file: str
    line: int
    col: int
    path: str
    text: str
    rule: str = "value"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}: {self.path}: {self.text}"


class InvalidConfig(ConfigError):
    """A file that cannot work. `problems` lists all that was found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line, problem.col))
        super().__init__(self.problems)

    def __str__(self) -> str:
        more = len(self.problems) - 1
        return f"{self.problems[0]}{f' (and {more} more)' if more else ''}"


class Problems:
    """Collects problems while the reading goes on; `finish` raises them."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._known: set[Problem] = set()

    def add(self, problem: Problem) -> None:
        """Remember one; what is inherited may be told twice. Raises `InvalidConfig` when there are too many to read."""
        if problem in self._known:
            return
        self._known.add(problem)
        self.found.append(problem)
        if len(self.found) >= _MOST:
            text = f"gave up after {_MOST} problems; put these right first"
            raise InvalidConfig([*self.found, Problem(problem.file, problem.line, problem.col, "$", text, "too-many")])

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Keep the problems that are raised inside, so that the next section is read too."""
        try:
            yield
        except InvalidConfig as error:
            for problem in error.problems:
                self.add(problem)

    def finish(self) -> Any:
        """Raise `InvalidConfig` if there are any."""
        if self.found:
            raise InvalidConfig(self.found)
