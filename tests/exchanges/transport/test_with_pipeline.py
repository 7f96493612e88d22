"""The transport under the policies that it was made for: `Pool` lends the session, `Retry` repeats what may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.rest import Reply, Rest, broken
from resilience.call import Call, Op, takes_call
from resilience.pipeline import Pipeline
from resilience.policies.pool import Pool
from resilience.policies.retry import Retry
from resilience.testing import Recorder
from resilience.verdict import Kind, Verdict

READ, WRITE = Op("ticker", idempotent=True), Op("create_order")


def classify(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, TransportError) else Verdict(Kind.REJECTED)


async def open_rest() -> Rest:
    return await Rest.open()


@takes_call
async def send(call: Call, rest: Rest, method: str, url: str, body: bytes | None = None) -> Reply:
    return await rest.request(call.attempt, method, url, body=body)


async def resets_reused(peer: Any) -> None:
    """Answers the first request on a connection, and hangs up on the second, unanswered."""
    await peer.request()
    await peer.reply()
    await peer.request()
    peer.reset()


def test_a_server_that_resets_every_reused_connection_fails_no_read(run: Any, serve: Any) -> None:
    """Every call succeeds by a transparent retry; requests seen = attempts marked as sent; the session stays."""

    async def main() -> None:
        async with serve(resets_reused) as server:
            seen = Recorder()
            pool: Pool[Rest] = Pool(open_rest, name="rest", broken=broken)
            async with Pipeline(Retry(attempts=1), pool, classify=classify, observers=(seen,)) as pipeline:
                for _ in range(10):
                    reply = await pipeline.run(send, "GET", server.url, op=READ)
                    assert reply.status == 200
                attempts = [event.attempt for event in seen.attempts]
                assert len(server.requests) == sum(attempt.sent for attempt in attempts) == len(attempts)
                again = [attempt for attempt in attempts if attempt.notes.get("retry") == "transparent"]
                assert again
                assert all(attempt.notes["connection"] == "new" for attempt in again)
                assert pipeline.status()["pool:rest"]["renewed"] == 0
            assert seen.balanced()

    run(main())


def test_a_write_in_the_same_place_is_unknown_and_not_repeated(run: Any, serve: Any) -> None:
    """The order may stand in the book: one request, one UNKNOWN error."""

    async def main() -> None:
        async with serve(resets_reused) as server:
            pool: Pool[Rest] = Pool(open_rest, name="rest", broken=broken)
            async with Pipeline(Retry(attempts=4, wait=0), pool, classify=classify) as pipeline:
                await pipeline.run(send, "POST", server.url, b"1", op=WRITE)
                with pytest.raises(TransportError) as caught:
                    await pipeline.run(send, "POST", server.url, b"2", op=WRITE)
                assert caught.value.verdict.kind is Kind.UNKNOWN
                assert [got.body for got in server.requests] == [b"1", b"2"]

    run(main())


def test_a_closed_session_is_renewed_once_for_all_who_meet_it(run: Any, serve: Any, answer: Any) -> None:
    """Twenty calls find the session closed under them; one new one is opened, and every write succeeds on it."""

    async def main() -> None:
        async with serve(answer) as server:
            opened: list[Rest] = []

            async def open_() -> Rest:
                opened.append(await Rest.open())
                return opened[-1]

            pool: Pool[Rest] = Pool(open_, name="rest", broken=broken)
            async with Pipeline(Retry(attempts=2, wait=0), pool, classify=classify) as pipeline:
                await pipeline.run(send, "POST", server.url, b"0", op=WRITE)
                await opened[0].aclose()
                await asyncio.gather(*(pipeline.run(send, "POST", server.url, b"1", op=WRITE) for _ in range(20)))
                assert len(opened) == 2
                assert pipeline.status()["pool:rest"]["renewed"] == 1
                assert len(server.requests) == 21

    run(main())
