"""Links: what has to do with a call and is not its parent. Only to calls that were kept, since others have no span."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from resilience import Breaker, Cache, CircuitOpen, Coalesce, Fallback, Op, Pipeline, Retry, Timeout
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)
PARENTING = pytest.mark.parametrize("parenting", ["on", "off"])


def links(span: Any) -> list[tuple[str, int]]:
    return [(str(dict(link.attributes)["resilience.link"]), link.context.span_id) for link in span.links]


@virtual
async def test_who_came_along_is_linked_to_the_flights_call(traced: Any) -> None:
    """Each follower, in another trace; the first caller has no link."""
    pipeline = Pipeline(Coalesce(), Retry(wait=1), Timeout(5), observers=(traced.tracer("always"),))
    script = Script(OSError(), after(1, "answer"))
    await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(3)))
    first, *others = traced.calls
    assert links(first) == []
    assert [links(other) for other in others] == [[("coalesced", first.context.span_id)]] * 2
    assert len({call.context.trace_id for call in traced.calls}) == 3


@PARENTING
@virtual
async def test_a_probe_is_linked_to_the_call_that_opened_the_circuit(traced: Any, parenting: str) -> None:
    """And so is a call that the open circuit refused. After that one has closed, nothing is."""
    tracer = traced.tracer("tail", 1.0, parenting=parenting)
    pipeline = Pipeline(Breaker(consecutive=1, open_for=10, probes=1), observers=(tracer,))
    with suppress(OSError):
        await pipeline.run(Script(OSError()), op=READ)
    with suppress(CircuitOpen):
        await pipeline.run(Script("never"), op=READ)
    await asyncio.sleep(30)
    assert await pipeline.run(Script("probe"), op=READ) == "probe"
    assert await pipeline.run(Script("clean"), op=READ) == "clean"
    opener, refused, probe, clean = traced.calls
    (mine,) = traced.attempts(opener)
    assert links(opener) == links(mine) == []
    for call in (refused, probe):
        assert links(traced.attempts(call)[0]) == [("opened_by", opener.context.span_id)]
        assert call.context.trace_id != opener.context.trace_id
    assert links(traced.attempts(clean)[0]) == []


@virtual
async def test_a_circuit_that_opens_again_is_linked_to_the_probe_that_failed(traced: Any) -> None:
    """Always the last to have opened it; opened by hand it is nobody's."""
    pipeline = Pipeline(Breaker(consecutive=1, open_for=10, probes=1), observers=(traced.tracer(),))
    for _ in range(2):
        with suppress(OSError):
            await pipeline.run(Script(OSError()), op=READ)
        await asyncio.sleep(30)
    with suppress(OSError):
        await pipeline.run(Script(OSError()), op=READ)
    first, second, third = traced.calls
    assert links(traced.attempts(second)[0]) == [("opened_by", first.context.span_id)]
    assert links(traced.attempts(third)[0]) == [("opened_by", second.context.span_id)]
    pipeline.states["breaker"]["default"].open()
    with suppress(CircuitOpen):
        await pipeline.run(Script(), op=READ)
    assert links(traced.attempts(traced.calls[-1])[0]) == []


@PARENTING
@virtual
async def test_an_answer_from_memory_is_linked_to_the_call_that_filled_it(traced: Any, parenting: str) -> None:
    """Fresh or stale, from the cache or from a fallback; after a renewal to that one."""
    tracer = traced.tracer("tail", 1.0, parenting=parenting)
    pipeline = Pipeline(Cache(1, stale_while_revalidate=60), observers=(tracer,))
    script = Script("first", "second")
    for pause in (0, 0.5, 5, 0.5):
        await asyncio.sleep(pause)
        await pipeline.run(script, op=READ)
    filled, hit, stale, renewal, last = traced.calls
    assert links(filled) == links(renewal) == []
    assert links(hit) == links(stale) == [("filled_by", filled.context.span_id)]
    assert links(last) == [("filled_by", renewal.context.span_id)]


@PARENTING
@virtual
async def test_a_last_good_answer_is_linked_to_the_call_that_got_it(traced: Any, parenting: str) -> None:
    """On the attempt that it stands in for."""
    tracer = traced.tracer("tail", 1.0, parenting=parenting)
    pipeline = Pipeline(Fallback(last_good=60), Retry(attempts=2, wait=0), Timeout(1), observers=(tracer,))
    script = Script("good", never)
    assert [await pipeline.run(script, op=READ) for _ in range(2)] == ["good", "good"]
    filled, replaced = sorted(traced.calls, key=lambda call: traced.of(call)["resilience.attempts"])
    *others, last = traced.attempts(replaced)
    assert links(last) == [("filled_by", filled.context.span_id)]
    assert not any(map(links, others))


@virtual
async def test_to_a_call_that_was_not_kept_there_is_no_link(traced: Any) -> None:
    """It has no span that a link could lead to."""
    pipeline = Pipeline(Fallback(last_good=60), Retry(attempts=1), observers=(traced.tracer(),))
    script = Script("good", OSError())
    assert [await pipeline.run(script, op=READ) for _ in range(2)] == ["good", "good"]
    assert not any(map(links, traced.spans))
    assert traced.of(traced.attempts()[0])["resilience.fallback"] == "OSError"
