"""The reading of a stream, disturbed at every turn of the event loop and in every way: nothing is left behind.

Among the disturbances is an error of the stream, which a retry with `resume` mends; the consumer leaves early in some.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resilience import Bulkhead, Kind, Op, Pipeline, Retry, Timeout, Verdict
from resilience.testing import DISTURBANCES, Feed, Injected, Scene, after, sweep

WRITE = Op("write")


class Sick(Exception):
    """Not executed; something broke on the way."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind.FAILED if isinstance(exc, (Sick, Injected)) else Kind.REJECTED, type(exc).__name__)


def scene(*policies: Any, feed: tuple[Any, ...] = ((after(0.1, 1), 2, after(0.1, 3)),), **more: Any) -> Scene:
    pipeline = Pipeline(*policies, classify=classify, seed=1)
    return Scene(pipeline, Feed(*feed), raises=(Sick,), **more)


def retry(**fields: Any) -> Retry:
    return Retry(**{"wait": 0.1, "jitter": "none", "resume": True, **fields})


BREAKS = ((after(0.1, 1), after(0.1, Sick())), (after(0.1, Sick()),), (after(0.1, 2), after(0.1, 3)))
SICK = ((after(0.1, Sick()),),)

SCENES: dict[str, Callable[[], Scene]] = {
    "nothing": scene,
    "nothing, left early": lambda: scene(take=2),
    "timeout": lambda: scene(Timeout(1), rivals=2),
    "timeout, late": lambda: scene(Timeout(0.15), feed=((after(0.1, 1), after(0.2, 2)),), rivals=1),
    "timeout, in the tick of the item": lambda: scene(Timeout(0.1), rivals=1),
    "timeout, left early": lambda: scene(Timeout(1), take=1),
    "retry": lambda: scene(retry(), feed=BREAKS),
    "retry, given up": lambda: scene(retry(attempts=2), feed=SICK),
    "retry, without resume": lambda: scene(retry(resume=None), feed=BREAKS),
    "retry, of a write": lambda: scene(retry(), feed=BREAKS, op=WRITE),
    "bulkhead": lambda: scene(Bulkhead(2), rivals=1),
    "bulkhead, full": lambda: scene(Bulkhead(1), rivals=1),
    "bulkhead, queue": lambda: scene(Bulkhead(1, queue=4), rivals=2),
    "bulkhead, queue, left early": lambda: scene(Bulkhead(1, queue=4), rivals=2, take=1),
    "bulkhead, queue, late in the tick of the turn": lambda: scene(Bulkhead(1, queue=4, max_wait=0.2), rivals=1),
    "all three": lambda: scene(retry(), Bulkhead(1, queue=4), Timeout(1), feed=BREAKS, rivals=2),
    "all three, left early": lambda: scene(retry(), Bulkhead(1, queue=4), Timeout(0.15), feed=BREAKS, rivals=1, take=2),
    "a place for the whole": lambda: scene(Bulkhead(1, queue=4), retry(), Timeout(1), feed=BREAKS, rivals=1),
    "time over all": lambda: scene(
        Timeout(0.25), Bulkhead(2), Timeout(0.25), retry(), Timeout(0.1), feed=BREAKS, rivals=1
    ),
}


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # odd orders leave nothing behind either
@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_left_behind(name: str) -> None:
    """No place, task, timer or open generator; and a cancelled consumer is cancelled, no other."""
    done = sweep(SCENES[name])
    assert done.runs == 1 + done.turns * len(DISTURBANCES)
    assert done.outcomes["CancelledError"] == 3 * done.turns  # once, twice, and in the tick of the item


def test_a_stream_that_is_not_closed_is_found() -> None:
    """The sweep counts the generators that are still open."""

    class Leaky(Pipeline):
        def stream(self, fn: Any, /, *args: Any, op: Op | None = None, **kwargs: Any) -> Any:
            async def read() -> Any:
                async for item in kept(fn()):
                    yield item

            return read()

    left: list[Any] = []

    def kept(items: Any) -> Any:
        left.append(items)
        return items

    with pytest.raises(AssertionError, match="1 calls of the target run on"):
        sweep(lambda: Scene(Leaky(), Feed((1, 2)), take=1))
