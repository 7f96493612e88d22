"""Calls for which no attempt began: answered from memory or by another's flight. Their span says so."""

from __future__ import annotations

import asyncio
from typing import Any

from resilience import Cache, Coalesce, Op, Pipeline, Timeout
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)


@virtual
async def test_a_hit_tells_that_it_was_one_and_how_old(traced: Any) -> None:
    """On the call's own span, since there is no other."""
    pipeline = Pipeline(Cache(60), Timeout(1), observers=(traced.tracer("always"),))
    script = Script("answer")
    await pipeline.run(script, op=READ)
    await asyncio.sleep(2)
    await pipeline.run(script, op=READ)
    asked, hit = (traced.of(span) for span in traced.calls)
    assert len(traced.attempts(traced.calls[0])) == asked["resilience.attempts"] == 1
    assert "resilience.cache" not in asked
    assert (hit["resilience.attempts"], hit["resilience.cache"], hit["resilience.cache.age"]) == (0, "hit", 2)
    assert traced.beneath(traced.calls[1]) == []


@virtual
async def test_a_renewal_is_a_trace_of_its_own(traced: Any) -> None:
    """Not beneath the call that caused it, which had ended long before."""
    pipeline = Pipeline(Cache(1, stale_while_revalidate=60), observers=(traced.tracer("always"),))
    script = Script("first", after(5, "second"))
    await pipeline.run(script, op=READ)
    await asyncio.sleep(2)
    await pipeline.run(script, op=READ)
    await asyncio.sleep(9)
    asked, stale, renewal = traced.calls
    assert traced.of(stale)["resilience.cache"] == "stale-while-revalidate"
    assert renewal.parent is None
    assert len({span.context.trace_id for span in (asked, stale, renewal)}) == 3
    assert len(traced.attempts(renewal)) == 1


@virtual
async def test_who_came_along_on_a_flight_says_so(traced: Any) -> None:
    """The attempts hang beneath the first caller."""
    pipeline = Pipeline(Coalesce(), Timeout(5), observers=(traced.tracer("always"),))
    script = Script(after(1, "answer"))
    await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(3)))
    assert [traced.of(span).get("resilience.coalesced") for span in traced.calls] == [None, True, True]
    assert [len(traced.attempts(span)) for span in traced.calls] == [1, 0, 0]


@virtual
async def test_a_first_caller_that_left_leaves_a_whole_trace(traced: Any) -> None:
    """What its flight does afterwards belongs to no span, and disturbs none."""
    pipeline = Pipeline(Coalesce(), Timeout(5), observers=(traced.tracer("always"),))
    script = Script(after(2, "answer"))
    first, second = (asyncio.ensure_future(pipeline.run(script, op=READ)) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == "answer"
    outcomes = [traced.of(span)["resilience.outcome"] for span in traced.calls]
    assert outcomes == ["cancelled", "ok"]
    after_all = Script("next")
    assert await pipeline.run(after_all, op=READ) == "next"
    assert len(traced.attempts(traced.calls[-1])) == 1
