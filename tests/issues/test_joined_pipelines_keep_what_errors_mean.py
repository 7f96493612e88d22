"""``policy + pipeline`` forgot the pipeline's name, classify, observers and what it shares; now the sum keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from resilience import Bulkhead, ConfigError, Deadline, Kind, Op, Pipeline, Pool, Retry, Timeout, Verdict
from resilience.testing import Recorder, Script, virtual


class Sick(Exception):
    """Known to one adapter only."""


def classify(error: Exception, op: Op) -> Verdict:
    return Verdict(Kind.FAILED if isinstance(error, Sick) else Kind.REJECTED)


def other(error: Exception, op: Op) -> Verdict:
    return Verdict(Kind.REJECTED)


@virtual
async def test_a_policy_joins_on_either_side() -> None:
    """The pipeline stays what it is: it retries what its adapter says may be."""
    recorder = Recorder()
    market = Pipeline(Retry(wait=0), name="market", classify=classify, observers=(recorder,), shared={}, scope="x")
    for joined in (Deadline(9) + market, market + Timeout(1), market + Pipeline(Timeout(1)), Pipeline() + market):
        assert joined.name == "market"
        assert joined._shared is market._shared
        assert joined._kit.scope == "x"
        assert await joined.run(Script(Sick(), "done")) == "done"
    assert len(recorder.calls) == 4


@virtual
async def test_two_pipelines_join() -> None:
    """What one leaves open the other says; of two names the outer's; each observer is told once."""
    first, second = Recorder(), Recorder()
    outer = Pipeline(Retry(wait=0), name="outer", observers=(first,))
    inner = Pipeline(Bulkhead(1), name="inner", classify=classify, observers=(first, second), seed=7)
    joined = outer + inner
    assert [type(policy).__name__ for policy in joined.policies] == ["Retry", "Bulkhead"]
    assert (joined.name, joined.classify) == ("outer", classify)
    assert joined._kit.rng.random() == Pipeline(seed=7)._kit.rng.random()
    assert await joined.run(Script(Sick(), "done")) == "done"
    assert len(first.calls) == len(second.calls) == 1
    assert (inner + Pipeline(Timeout(1), seed=8))._kit.rng.random() == Pipeline(seed=7)._kit.rng.random()


@virtual
async def test_states_are_made_anew_and_what_is_shared_is_shared() -> None:
    """A bulkhead of the sum is not that of its parts; a pool by name is."""
    shared: dict[str, Any] = {}
    part = Pipeline(Bulkhead(1), Pool(object, name="rest"), shared=shared)
    joined = Timeout(1) + part
    await part.run(Script(1))
    await joined.run(Script(1))
    assert part.states["bulkhead"] is not joined.states["bulkhead"]
    assert part.states["pool:rest"] is joined.states["pool:rest"]


def test_what_contradicts_is_refused() -> None:
    """Silently taking one of two readings of errors, or one of two sets of limits, would break a promise."""
    one, two = Pipeline(name="one", classify=classify), Pipeline(name="two", classify=other)
    with pytest.raises(ConfigError, match=r"'one' and 'two' differ in what errors mean \(classify\); say it in one"):
        one + two
    assert (one + Pipeline(classify=classify)).classify is classify
    with pytest.raises(ConfigError, match="'the outer pipeline' and 'two' share pools and limits with different pipel"):
        Pipeline(shared={}) + Pipeline(shared={}, name="two")
    shared: dict[str, Any] = {}
    assert (Pipeline(shared=shared) + Pipeline(shared=shared))._shared is shared
