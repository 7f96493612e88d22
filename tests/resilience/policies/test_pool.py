"""Pool: lent first, opened once, renewed once per break, closed when nobody holds it any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import ConfigError, Op, Pipeline, Pool, PoolExhausted, Retry, TimedOut, Timeout, within
from resilience.testing import Recorder, VirtualLoop, virtual

READ = Op("read", idempotent=True)


class Broken(Exception):
    """The resource itself is of no more use."""


class Session:
    """A resource that knows whether it was closed, and how often sessions were made."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = type(self).made
        self.closed = False

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)
        self.closed = True

    def status(self) -> dict[str, Any]:
        return {"limit": 100}


def sessions(delay: float = 0.0) -> tuple[list[Session], Any]:
    opened: list[Session] = []

    async def open_session() -> Session:
        await asyncio.sleep(delay)
        opened.append(Session())
        return opened[-1]

    return opened, open_session


@virtual
async def test_the_resource_is_the_first_argument() -> None:
    """Decorated with a pool, a function is called without the argument that the pool supplies."""
    pool = Pool(Session, name="rest")

    @pool
    async def fetch(session: Session, symbol: str, *, depth: int = 1) -> tuple[bool, str, int]:
        return session.closed, symbol, depth

    assert await fetch("BTC", depth=2) == (False, "BTC", 2)
    assert await Pipeline(Timeout(1), pool).run(fetch.__wrapped__, "ETH") == (False, "ETH", 1)  # type: ignore[attr-defined]


@virtual
async def test_it_is_opened_once_for_everybody() -> None:
    """Fifty that come while it is being opened wait for the same one."""
    opened, open_session = sessions(delay=1)
    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session) -> int:
        return id(session)

    ids = await asyncio.gather(*(pipeline.run(use) for _ in range(50)))
    assert len(set(ids)) == len(opened) == 1
    assert pipeline.status()["pool:rest"] == {
        "active": 0, "waiting": 0, "opened": 1, "renewed": 0, "requests": 50, "limit": 100,
    }  # fmt: skip
    await pipeline.aclose()
    assert opened[0].closed


@virtual
async def test_fifty_simultaneous_failures_renew_it_once() -> None:
    """The generation fences: only the first condemns, the old one closes when its last holder has returned it."""
    opened, open_session = sessions(delay=0.5)
    recorder = Recorder()
    pipeline = Pipeline(Retry(on=Broken, wait=0), Pool(open_session, name="rest", broken=Broken), observers=(recorder,))

    async def use(session: Session, number: int) -> str:
        await asyncio.sleep(1 + number / 100)
        assert not session.closed
        if session is opened[0]:
            raise Broken
        return "ok"

    assert await asyncio.gather(*(pipeline.run(use, n) for n in range(50))) == ["ok"] * 50
    await asyncio.sleep(1)
    assert [session.closed for session in opened] == [True, False]
    assert pipeline.status()["pool:rest"]["renewed"] == 1
    assert [(change.kind, change.key, change.cause) for change in recorder.changes] == [("pool", "rest", "Broken")]
    await pipeline.aclose()


@virtual
async def test_an_ordinary_error_renews_nothing() -> None:
    """Only what `broken` names condemns the resource; by default that is a ConnectionError."""
    opened, open_session = sessions()
    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session, error: Exception) -> None:
        raise error

    for error, count in ((ValueError(), 1), (TimeoutError(), 1), (ConnectionResetError(), 1), (ValueError(), 2)):
        with pytest.raises(type(error)):
            await pipeline.run(use, error)
        assert len(opened) == count
    await pipeline.aclose()


@virtual
async def test_a_late_failure_on_the_old_one_does_not_condemn_the_new_one() -> None:
    """It was about a resource that is gone."""
    opened, open_session = sessions()
    pipeline = Pipeline(Pool(open_session, name="rest", broken=Broken))

    async def use(session: Session, delay: float) -> str:
        await asyncio.sleep(delay)
        if session is opened[0]:
            raise Broken
        return "ok"

    late = asyncio.ensure_future(pipeline.run(use, 5))
    with pytest.raises(Broken):
        await pipeline.run(use, 1)
    assert await pipeline.run(use, 1) == "ok"
    with pytest.raises(Broken):
        await late
    assert await pipeline.run(use, 0) == "ok"
    assert len(opened) == 2
    await pipeline.aclose()


@virtual
async def test_the_others_still_get_it_when_the_opener_is_cancelled() -> None:
    """Opening belongs to nobody's task."""
    opened, open_session = sessions(delay=1)
    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session) -> str:
        return "ok"

    first, second = (asyncio.ensure_future(pipeline.run(use)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == "ok"
    assert first.cancelled()
    assert len(opened) == 1
    await pipeline.aclose()


@virtual
async def test_an_opening_that_fails_is_everybodys_error_and_tried_again() -> None:
    """The opener's own error reaches the caller; the next call opens anew."""
    answers = [OSError("no route"), Session()]

    async def open_session() -> Session:
        await asyncio.sleep(1)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session) -> str:
        return "ok"

    results = await asyncio.gather(*(pipeline.run(use) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no route"] * 3
    assert await pipeline.run(use) == "ok"
    await pipeline.aclose()


@virtual
async def test_an_opening_that_is_cancelled_from_outside_cancels_nobody() -> None:
    """It is a refusal for each who waits, and the next call opens anew."""
    opened, open_session = sessions(delay=1)
    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session) -> str:
        return "ok"

    before = asyncio.all_tasks()
    waiting = [asyncio.ensure_future(pipeline.run(use)) for _ in range(2)]
    await asyncio.sleep(0.5)
    (opening,) = asyncio.all_tasks() - before - set(waiting)
    opening.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(result) for result in results] == ["refused by the pool: the opening of 'rest' was cancelled"] * 2
    assert await pipeline.run(use) == "ok"
    assert len(opened) == 1
    await pipeline.aclose()


@virtual
async def test_an_opening_that_fails_unseen_is_no_stray_warning() -> None:
    """Everybody who waited was cancelled; the error has nobody to go to."""

    async def open_session() -> Session:
        await asyncio.sleep(1)
        raise OSError

    task = asyncio.ensure_future(Pipeline(Pool(open_session, name="rest")).run(lambda session: session))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.sleep(2)
    assert task.cancelled()


@virtual
async def test_max_wait_and_the_deadline_bound_the_opening() -> None:
    """PoolExhausted after max_wait, TimedOut (nothing sent) at the deadline."""

    async def open_session() -> Session:
        await asyncio.sleep(60)
        raise AssertionError

    async def use(session: Session) -> None: ...

    with pytest.raises(PoolExhausted, match="'rest' was not open within 1 s"):
        await Pipeline(Pool(open_session, name="rest", max_wait=1)).run(use)
    with within(2), pytest.raises(TimedOut) as caught:
        await Pipeline(Pool(open_session, name="rest", max_wait=9)).run(use)
    assert not caught.value.sent
    assert asyncio.get_running_loop().time() == 3


@virtual
async def test_resources_are_closed_by_their_own_way() -> None:
    """A given close, aclose(), close(), or nothing; an error while closing is logged, not raised."""
    closed: list[str] = []

    class Plain:
        def close(self) -> None:
            closed.append("plain")

    for pool in (
        Pool(lambda: "text", name="a", close=closed.append),
        Pool(Plain, name="b"),
        Pool(lambda: 3, name="c"),
    ):
        pipeline = Pipeline(pool)

        async def use(resource: Any) -> None: ...

        async with pipeline:
            await pipeline.run(use)
    assert closed == ["text", "plain"]


@virtual
async def test_an_error_while_closing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for an old resource; its failure must not be lost."""

    def close(resource: object) -> None:
        raise OSError("stuck")

    pipeline = Pipeline(Pool(object, name="rest", close=close))

    async def use(resource: object) -> None: ...

    await pipeline.run(use)
    await pipeline.aclose()
    assert "closing a resource of pool 'rest' failed" in caplog.text


@virtual
async def test_closing_waits_for_an_opening_in_progress() -> None:
    """What is being opened while everything closes is closed too."""
    opened, open_session = sessions(delay=2)
    pipeline = Pipeline(Pool(open_session, name="rest"))
    task = asyncio.ensure_future(pipeline.run(never_returns))
    await asyncio.sleep(1)
    task.cancel()
    await pipeline.aclose()
    assert [session.closed for session in opened] == [True]


async def never_returns(session: Session) -> None:
    await asyncio.get_running_loop().create_future()


@virtual
async def test_pipelines_of_one_load_share_the_resource() -> None:
    """Two pipelines that name the same pool lend the same session."""
    opened, open_session = sessions()
    shared: dict[str, Any] = {}
    pools = [Pipeline(Pool(open_session, name="rest"), shared=shared) for _ in range(2)]

    async def use(session: Session) -> None: ...

    for pipeline in pools:
        await pipeline.run(use)
    assert len(opened) == 1
    assert pools[0].states["pool:rest"] is pools[1].states["pool:rest"]
    await pools[0].aclose()


def test_a_new_event_loop_gets_a_new_resource() -> None:
    """What was opened in a loop that is gone cannot be used in another."""
    opened, open_session = sessions()
    pipeline = Pipeline(Pool(open_session, name="rest"))

    async def use(session: Session) -> None: ...

    for count in (1, 2):
        VirtualLoop().run(pipeline.run(use))
        assert len(opened) == count


@virtual
async def test_a_timeout_and_a_cancellation_give_it_back() -> None:
    """The count of holders is right however an attempt ends."""
    pipeline = Pipeline(Timeout(1), Pool(Session, name="rest"))
    with pytest.raises(TimedOut):
        await pipeline.run(never_returns)
    task = asyncio.ensure_future(pipeline.run(never_returns))
    await asyncio.sleep(0.5)
    assert pipeline.status()["pool:rest"]["active"] == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pipeline.status()["pool:rest"]["active"] == 0
    await pipeline.aclose()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pool(3, name="x"),  # type: ignore[arg-type]
        lambda: Pool(Session, name=""),
        lambda: Pool(Session, name="x", broken=3),  # type: ignore[arg-type]
        lambda: Pool(Session, name="x", max_wait=-1),
    ],
)
def test_wrong_settings_are_named(make: Any) -> None:
    """open is a function, the name is not empty."""
    with pytest.raises(ConfigError, match="Pool: "):
        make()
