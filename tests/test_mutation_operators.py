"""What the mutation tester changes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.operators import Module

BEFORE = '''
"""A text for people."""
from __future__ import annotations

_MOST = 3


class Gate:
    limit: int = 2

    def __init__(self, limit: int) -> None:
        self.busy = limit

    @property
    def full(self) -> bool:
        """Another."""
        return busy >= limit and not open

    def leave(self, why: str = "left") -> None:
        if why == "left":
            self.busy -= 1
        _log.debug("left")
        try:
            self.wake(quick=True)
        except Exception:
            raise ValueError(f"not {why}") from None
'''


@pytest.fixture
def mutants(tmp_path: Path) -> list[str]:
    path = tmp_path / "gate.py"
    path.write_text(BEFORE)
    return [mutant.key for mutant in Module(path).mutants]


def test_every_change_is_named_by_what_it_says(mutants: list[str]) -> None:
    """In the order of the text; annotations, documentation, logs and messages are never among them."""
    assert mutants == [
        "<module>: _MOST = 3 -> _MOST = 4",
        "Gate: limit: int = 2 -> limit: int = 3",
        "Gate.__init__: self.busy = limit -> self.busy = None",
        "Gate.full: return busy >= limit and (not open) -> return None",
        "Gate.full: return busy >= limit and (not open) -> return busy >= limit or not open",
        "Gate.full: return busy >= limit and (not open) -> return busy > limit and (not open)",
        "Gate.full: return busy >= limit and (not open) -> return busy < limit and (not open)",
        "Gate.full: return busy >= limit and (not open) -> return busy >= limit and open",
        "Gate.leave: def leave(self, why: str='left') -> def leave(self, why: str='left_x')",
        "Gate.leave: if why == 'left': -> if why != 'left':",
        "Gate.leave: if why == 'left': -> if why == 'left_x':",
        "Gate.leave: self.busy -= 1 -> (left out)",
        "Gate.leave: self.busy -= 1 -> self.busy += 1",
        "Gate.leave: self.busy -= 1 -> self.busy -= 2",
        "Gate.leave: self.wake(quick=True) -> (left out)",
        "Gate.leave: self.wake(quick=True) -> self.wake()",
        "Gate.leave: self.wake(quick=True) -> self.wake(quick=False)",
        "Gate.leave: try: except Exception -> try: except BaseException",
        "Gate.leave: raise ValueError(f'not {why}') from None -> (left out)",
    ]


def test_the_tree_is_left_as_it_was(tmp_path: Path) -> None:
    """Collecting changes changes nothing; making one changes one thing."""
    import ast

    path = tmp_path / "gate.py"
    path.write_text(BEFORE)
    module = Module(path)
    assert ast.unparse(module.tree) == ast.unparse(ast.parse(BEFORE))
    changed = ast.unparse(module.mutants[0].tree())
    assert changed == ast.unparse(ast.parse(BEFORE.replace("_MOST = 3", "_MOST = 4")))
