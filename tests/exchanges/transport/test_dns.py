"""Name look-ups: one at a time for a name, bounded, and the last good answer when the name server is out."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from exchanges.transport.dns import Resolver
from resilience.testing import Script, VirtualLoop, after, never

HERE = ResolveResult(hostname="h", host="127.0.0.1", port=443, family=socket.AF_INET, proto=0, flags=0)


class Scripted(AbstractResolver):
    """A name server that plays a script."""

    def __init__(self, *steps: Any) -> None:
        self.script = Script(*steps)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = await self.script(host)
        return found

    async def close(self) -> None:
        pass


def test_simultaneous_look_ups_of_one_name_are_one() -> None:
    """Twenty requests ask once, and all get the answer."""

    async def main() -> None:
        server = Scripted(after(1.0, [HERE]))
        resolver = Resolver(5.0, server)
        answers = await asyncio.gather(*(resolver.resolve("h", 443) for _ in range(20)))
        assert answers == [[HERE]] * 20
        assert server.script.count == 1
        await resolver.close()

    VirtualLoop().run(main())


def test_a_hanging_name_server_is_waited_for_no_longer_than_the_timeout_and_asked_only_once() -> None:
    """D2: every caller gets an error in time, and the hanging look-up is not joined by a second one."""

    async def main() -> None:
        server = Scripted(never)
        resolver = Resolver(5.0, server)
        loop = asyncio.get_running_loop()
        for attempt in range(1, 4):
            with pytest.raises(OSError, match="did not answer within 5 s"):
                await resolver.resolve("h", 443)
            assert loop.time() == attempt * 5.0
        assert server.script.count == 1
        await resolver.close()
        assert server.script.cancelled == 1

    VirtualLoop().run(main())


@pytest.mark.parametrize("outage", [OSError(None, "out of order"), [[]], never], ids=["error", "empty", "silence"])
def test_the_last_good_answer_serves_through_an_outage(outage: Any) -> None:
    """D2, D3: a name that was found once is still found when the name server fails, is empty or hangs."""

    async def main() -> None:
        resolver = Resolver(5.0, Scripted([HERE], outage[0] if isinstance(outage, list) else outage))
        assert await resolver.resolve("h", 443) == [HERE]
        assert await resolver.resolve("h", 443) == [HERE]
        await resolver.close()

    VirtualLoop().run(main())


def test_a_name_that_was_never_found_is_an_error_with_the_name_servers_words() -> None:
    """D1: nothing to fall back on."""

    async def main() -> None:
        resolver = Resolver(5.0, Scripted(socket.gaierror(-2, "Name or service not known"), []))
        with pytest.raises(OSError, match="Name or service not known"):
            await resolver.resolve("h", 443)
        with pytest.raises(OSError, match="there is no such name"):
            await resolver.resolve("h", 443)
        await resolver.close()

    VirtualLoop().run(main())


def test_a_caller_who_is_cancelled_takes_nobodys_look_up_away() -> None:
    """The look-up goes on for the others."""

    async def main() -> None:
        server = Scripted(after(1.0, [HERE]))
        resolver = Resolver(5.0, server)
        first = asyncio.create_task(resolver.resolve("h", 443))
        second = asyncio.create_task(resolver.resolve("h", 443))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second == [HERE]
        with pytest.raises(asyncio.CancelledError):
            await first
        assert server.script.count == 1
        await resolver.close()

    VirtualLoop().run(main())
