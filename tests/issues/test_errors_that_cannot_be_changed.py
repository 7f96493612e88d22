"""An error that refuses attributes, or its own text, is raised as it is: the history is a courtesy, not a condition."""

from __future__ import annotations

import dataclasses

import pytest

from resilience import Pipeline, Retry
from resilience.testing import Script, virtual


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@virtual
async def test_a_frozen_dataclass() -> None:
    """It cannot take the notes, and is the caller's all the same."""
    script = Script(Frozen(1), Frozen(2), Frozen(3))
    with pytest.raises(Frozen) as caught:
        await Pipeline(Retry(on=Frozen, wait=0)).run(script)
    assert (caught.value.code, script.count) == (3, 3)


@virtual
async def test_an_error_without_words() -> None:
    """Its class has to do."""
    with pytest.raises(Mute) as caught:
        await Pipeline(Retry(on=Mute, wait=0, attempts=2)).run(Script(Mute()))
    assert caught.value.__notes__ == ["attempt 1: Mute; retried after 0 s"]
