"""A pause by the server outlived the event loop on whose clock it was told, and its bounds were no numbers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from resilience import Call, Kind, Op, Pipeline, RateLimit, RateLimited, Verdict
from resilience.limiting.limits import Limits
from resilience.testing import Script, VirtualLoop, virtual


class Throttled(OSError):
    """The server names the seconds to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def reading(scope: str) -> Pipeline:
    def read(error: Exception, op: Op) -> Verdict:
        assert isinstance(error, Throttled)
        return Verdict(Kind.THROTTLED, "too_many", retry_after=error.seconds, scope=scope)

    return Pipeline(RateLimit("100/s", "op" if scope == "ip" else None, max_wait=0.5), classify=read)


@pytest.mark.parametrize(("scope", "op"), [("op", "order"), ("ip", "order"), ("ip", "cancel")])
def test_a_clock_that_begins_anew_knows_no_pause(scope: str, op: str) -> None:
    """Nor does a key that is new: the pause would end in a day of the new clock."""
    pipeline = reading(scope)

    async def throttled() -> None:
        await asyncio.sleep(86_400)
        with suppress(Throttled):
            await pipeline.run(Script(Throttled(10)), op=Op("order"))
        with pytest.raises(RateLimited):
            await pipeline.run(Script("placed"), op=Op(op))

    async def placed() -> float:
        await pipeline.run(Script("placed"), op=Op(op))
        return asyncio.get_running_loop().time()

    VirtualLoop().run(throttled())
    assert VirtualLoop().run(placed()) == 0


@pytest.mark.parametrize("throttled", [False, True])
@pytest.mark.parametrize(("now", "room"), [(1000.1, False), (0.0, True)])
def test_what_a_reload_has_taken_over_ends_with_its_clock(now: float, room: bool, throttled: bool) -> None:
    """Sends and pauses under the key that there was before count on the clock on which they happened."""
    old, new = Limits("10/s", "op"), Limits("10/s", "host")
    if throttled:
        call = Call(Op("order"), asyncio.sleep)
        old.throttled(call, "order", Verdict(Kind.THROTTLED, retry_after=1.0, scope="ip"), 1000.0)
    else:
        assert old.line("order").take(1.0, 1000.0)
    new.follow(old)
    new.link(now)
    assert new.line("api.bybit.com").take(10.0, now) is room
    new.link(now + 0.1)  # once more, in the same loop: what has happened since counts
    assert not new.line("api.bybit.com").take(1.0 if room else 10.0, now + 0.1)


@virtual
async def test_who_waits_behind_others_for_a_second_pause_is_not_refused() -> None:
    """Those who passed when the first was over were thought to bar the way for a second."""
    pipeline, order = reading("op"), Op("order")
    script = Script(*[Throttled(0.3)] * 4, "placed")
    await asyncio.gather(pipeline.run(script, op=order), return_exceptions=True)
    waiting = [pipeline.run(script, op=order) for _ in range(3)]
    assert all(isinstance(error, Throttled) for error in await asyncio.gather(*waiting, return_exceptions=True))
    assert await asyncio.gather(*(pipeline.run(script, op=order) for _ in range(3))) == ["placed"] * 3
    assert asyncio.get_running_loop().time() == pytest.approx(0.6)
