"""Cache at its edges: what a hit costs, what a renewal is given, and what an observer reads of an answer it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from resilience import Cache, Call, Op, Pipeline, Pool
from resilience.testing import Recorder, Script, virtual

READ = Op("read", idempotent=True)


@virtual
async def test_a_hit_that_nobody_observes_makes_no_record() -> None:
    """Whatever the clock says: only the answer's age counts."""
    calls: list[Call] = []

    def key(call: Call) -> Hashable:
        calls.append(call)
        return "all"

    pipeline = Pipeline(Cache(1, key=key))
    await asyncio.sleep(100)
    script = Script("answer")
    for _ in range(2):
        assert await pipeline.run(script, op=READ) == "answer"
    assert script.count == 1
    assert calls[1].made is None


@virtual
async def test_an_answer_from_memory_refers_to_the_call_that_filled_it() -> None:
    """Fresh or stale; after a renewal to that one, which is a call of its own."""
    recorder = Recorder()
    pipeline = Pipeline(Cache(1, stale_while_revalidate=60), observers=(recorder,))
    script = Script("first", "second")
    for pause in (0, 0.5, 5, 0.5):
        await asyncio.sleep(pause)
        await pipeline.run(script, op=READ)
    filled, hit, stale, renewal, last = (ended.call.attempt for ended in recorder.calls)
    assert None not in (filled.marked, renewal.marked)
    assert hit.link == stale.link == ("filled_by", filled.marked)
    assert last.link == ("filled_by", renewal.marked)
    assert filled.link is renewal.link is None


@virtual
async def test_an_answer_that_was_kept_while_nobody_looked_refers_to_nobody() -> None:
    """Be it the first one or a renewed one: their calls had no records to refer to."""
    pipeline = Pipeline(Cache(1, stale_while_revalidate=60))
    script = Script("first", "second")

    async def look() -> Recorder:
        recorder = Recorder()
        pipeline.observe(recorder)
        await pipeline.run(script, op=READ)
        pipeline.unobserve(recorder)
        return recorder

    await pipeline.run(script, op=READ)
    assert (await look()).calls[0].call.attempt.link is None
    await asyncio.sleep(5)
    await pipeline.run(script, op=READ)
    await asyncio.sleep(0.1)
    assert script.count == 2
    assert (await look()).calls[0].call.attempt.link is None


@virtual
async def test_beneath_a_pool_a_renewal_is_given_what_was_lent_to_the_call() -> None:
    """Else the function would miss an argument. (Better stands the cache above the pool.)"""

    async def opens() -> str:
        return "session"

    pipeline = Pipeline(Pool(opens, name="rest"), Cache(1, stale_while_revalidate=60))
    script = Script("first", "second")
    for pause in (0, 5, 0.5):
        await asyncio.sleep(pause)
        answer = await pipeline.run(script, "BTC", op=READ)
    assert answer == "second"
    assert [arguments for arguments, _ in script.calls] == [("session", "BTC")] * 2
