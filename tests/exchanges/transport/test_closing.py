"""Closing: every connection is really gone afterwards, whatever was going on, and nothing warns."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.rest import Rest, RestSettings, broken
from resilience.call import Attempt
from resilience.verdict import Kind


@pytest.fixture
def quiet() -> Any:
    """No "Unclosed ..." and no other warning, not even from the garbage."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def hold(peer: Any) -> None:
    """Reads requests and answers none, until the client hangs up."""
    while got := await peer.request():
        if got.target == "/answered":
            await peer.reply()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_closing_with_idle_busy_and_cancelled_connections_leaves_none(
    run: Any, serve: Any, certificates: Any, quiet: None, tls: bool
) -> None:
    """Idle, waiting for an answer, just cancelled: after `aclose` the server has seen every connection end."""

    async def main() -> None:
        context = certificates.context("localhost") if tls else None
        async with serve(hold, context, "localhost") as server:
            rest = await Rest.open(RestSettings(ca_file=certificates.ca_file))
            await asyncio.gather(*(rest.request(Attempt(), "GET", server.url + "/answered") for _ in range(3)))
            tasks = [asyncio.create_task(rest.request(Attempt(), "GET", server.url + "/held")) for _ in range(6)]
            while len(server.requests) < 9:
                await asyncio.sleep(0.001)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.sleep(0)
            await rest.aclose()
            assert rest.status()["open"] == 0
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes[:3]] == [asyncio.CancelledError] * 3
            for outcome in outcomes[3:]:
                assert isinstance(outcome, TransportError)
                assert (outcome.verdict.kind, outcome.reason) == (Kind.UNKNOWN, "session_closed")
                assert broken(outcome)
            while server.open:
                await asyncio.sleep(0.001)
            await rest.aclose()

    run(main())


def test_a_closed_session_says_so_and_is_condemned(run: Any, serve: Any, answer: Any, quiet: None) -> None:
    """A request on a closed session was not sent, and its error asks the pool for a new session."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            await rest.aclose()
            attempt = Attempt()
            with pytest.raises(TransportError) as caught:
                await rest.request(attempt, "POST", server.url, body=b"{}")
            assert (caught.value.verdict.kind, caught.value.reason) == (Kind.FAILED, "session_closed")
            assert broken(caught.value)
            assert not attempt.sent

    run(main())


def test_closing_fails_those_who_wait_for_a_connection_and_cancels_nobody(run: Any, serve: Any, quiet: None) -> None:
    """aiohttp cancels whoever waits in its pool when it closes; who was not cancelled himself gets an error instead."""

    async def main() -> None:
        async with serve(hold) as server:
            rest = await Rest.open(RestSettings(limit_per_host=1))
            busy = asyncio.create_task(rest.request(Attempt(), "GET", server.url))
            while not server.requests:
                await asyncio.sleep(0.001)
            waiting = asyncio.create_task(rest.request(attempt := Attempt(), "POST", server.url, body=b"{}"))
            await asyncio.sleep(0.01)
            await rest.aclose()
            first, second = await asyncio.gather(busy, waiting, return_exceptions=True)
            assert isinstance(first, TransportError)
            assert isinstance(second, TransportError)
            assert first.verdict.kind is Kind.UNKNOWN
            assert second.verdict.kind is Kind.FAILED
            assert not attempt.sent
            assert attempt.notes["wait.connection"] > 0

    run(main())


def test_a_handshake_that_was_given_up_leaves_nothing_open(
    run: Any, serve: Any, certificates: Any, quiet: None
) -> None:
    """A request cancelled in the middle of its TLS handshake, and the session closed at once."""

    async def main() -> None:
        async def silent(peer: Any) -> None:
            await peer.gone()

        async with serve(silent, None, "localhost") as server:
            rest = await Rest.open(RestSettings(ca_file=certificates.ca_file))
            task = asyncio.create_task(rest.request(Attempt(), "GET", f"https://localhost:{server.port}"))
            while not server.accepted:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await rest.aclose()
            while server.open:
                await asyncio.sleep(0.001)

    run(main())


def test_a_server_that_ignores_the_farewell_does_not_hold_up_closing(
    run: Any, serve: Any, certificates: Any, quiet: None
) -> None:
    """A given-up TLS connection says goodbye and waits half a minute for the reply; closing cuts it instead."""

    async def main() -> None:
        async def deaf(peer: Any) -> None:
            await peer.request()
            peer.writer.transport.pause_reading()
            try:
                await asyncio.Event().wait()
            finally:
                peer.writer.transport.abort()

        async with serve(deaf, certificates.context("localhost"), "localhost") as server:
            rest = await Rest.open(RestSettings(ca_file=certificates.ca_file))
            task = asyncio.create_task(rest.request(Attempt(), "GET", server.url))
            while not server.requests:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert rest.status()["open"] == 1
            await rest.aclose()
            assert rest.status()["open"] == 0

    run(main())


def test_cancelling_at_any_point_leaks_no_connection(run: Any, serve: Any, quiet: None) -> None:
    """A request cancelled after any number of turns of the loop gives its place in the pool back."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while await peer.request():
                await asyncio.sleep(0)
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
                await asyncio.sleep(0)
                await peer.send(b"abcd")

        async with serve(handler) as server:
            rest = await Rest.open(RestSettings(limit=1, limit_per_host=1))
            cancelled = 0
            for turns in range(60):
                for body in (None, b"{}"):
                    task = asyncio.create_task(rest.request(Attempt(), "POST", server.url, body=body))
                    for _ in range(turns % 30):
                        await asyncio.sleep(0)
                    task.cancel()
                    try:
                        assert (await task).body == b"abcd"
                    except asyncio.CancelledError:
                        cancelled += 1
            assert cancelled
            assert (await rest.request(Attempt(), "GET", server.url)).body == b"abcd"
            assert rest.status()["idle"] == 1
            await rest.aclose()

    run(main())
