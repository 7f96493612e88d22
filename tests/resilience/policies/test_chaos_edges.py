"""Chaos at its edges: the dice, a strike that takes no time, and a fault that ends the program."""

from __future__ import annotations

import random

import pytest

from resilience import Chaos, Op, Pipeline
from resilience.policies.chaos import Fault
from resilience.testing import Script, virtual

OP = Op("op")


@virtual
async def test_the_share_is_of_the_numbers_below_it() -> None:
    """A die that shows the share itself strikes nobody: there are numbers from 0 up to, and without, 1."""
    share = random.Random(1).random()
    assert await Pipeline(Chaos(share, enabled=True, result="struck"), seed=1).run(Script("well"), op=OP) == "well"
    more = Chaos(share * 1.001, enabled=True, result="struck")
    assert await Pipeline(more, seed=1).run(Script("well"), op=OP) == "struck"


@virtual
async def test_a_strike_without_latency_gives_the_loop_no_turn() -> None:
    """The error is there before anybody else runs."""
    running = Pipeline(Chaos(1.0, enabled=True, fault=Fault("OSError"))).run(Script("never"), op=OP)
    with pytest.raises(OSError, match="injected by chaos"):
        running.send(None)


def test_a_fault_whose_making_ends_the_program_ends_it() -> None:
    """It is not taken for one that cannot be made without arguments."""

    class Exits(Exception):
        def __init__(self) -> None:
            raise SystemExit

    with pytest.raises(SystemExit):
        Chaos(0.1, fault=Exits)
