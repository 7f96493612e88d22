"""Candidates through real pipelines: the same seed, the same bytes; nothing sleeps; storms are storms."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from retry_storm import Storm, naive

from resilience import (
    Breaker,
    Bulkhead,
    Cache,
    ConfigError,
    Deadline,
    Fallback,
    Hedge,
    Pool,
    RateLimit,
    Retry,
    Timeout,
)
from resilience.whatif import Candidate, Comparison, Modelled, compare, read_candidates
from resilience.whatif.dice import Dice
from resilience.whatif.faults import Fault
from resilience.whatif.latency import Latency
from resilience.whatif.measure import measure
from resilience.whatif.model import Model, Operation, Outage, Server
from resilience.whatif.page import as_page
from resilience.whatif.play import play
from resilience.whatif.report import as_data, as_text

LATENCY = Latency(median=0.05, sigma=0.5)
ONCE = Candidate("once", [Timeout(1)])
TWICE = Candidate("twice", [Retry(attempts=2, wait=0.1, budget=None), Timeout(1)])


def world(seconds: float = 5.0, *, rate: str = "100/s", keys: int | None = None, **more: Any) -> Modelled:
    return Modelled(Model(version=1, operations={"a": Operation(rate, LATENCY, keys=keys)}, **more), seconds=seconds)


def tried(*candidates: Candidate, runs: int = 3, **more: Any) -> Comparison:
    return compare(candidates, world(**more), seed=1, replications=runs)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Text, data and page; another seed another result."""
    faults = (Fault("reset", 0.05), Fault("hang", 0.01), Fault("throttled", 0.02, retry_after=0.2))
    policies = [
        Deadline(3),
        Retry(attempts=3),
        Hedge("p95"),
        Breaker(),
        RateLimit("600/5s"),
        Bulkhead(50),
        Timeout(0.5),
    ]

    def all_(seed: int) -> tuple[str, str, str]:
        found = compare([Candidate("a", policies)], world(faults=faults), seed=seed, replications=2)
        return as_text(found), json.dumps(as_data(found)), as_page(found)

    assert all_(4) == all_(4)
    assert all(a != b for a, b in zip(all_(4), all_(5), strict=True))


def test_a_simulated_call_never_sleeps() -> None:
    """Two hours of hangs and backoffs take seconds: the clock jumps."""
    faults = (Fault("hang", 0.5, after=60.0),)
    begun = time.monotonic()
    run = play(Candidate("patient", [Retry(attempts=5, wait=30)]), world(7_200, rate="4/60s", faults=faults), Dice(1))
    assert sum(run.seconds) > 7_200
    assert time.monotonic() - begun < 30


def test_what_is_known_in_advance_is_predicted() -> None:
    """A tenth of attempts fail at once: 90 % succeed, 99 % with a second attempt, which sends 1.1 requests a call."""
    faults = (Fault("server_error", 0.1),)
    found = tried(ONCE, TWICE, faults=faults, seconds=10.0, runs=4)
    once, twice = found.results
    assert once.success.mean.low <= 0.90 <= once.success.mean.high
    assert twice.success.mean.low <= 0.99 <= twice.success.mean.high
    assert twice.load.mean.value == pytest.approx(1.1, abs=0.02)
    assert once.load.mean.value == 1.0
    assert once.failed == {"http_503": pytest.approx(0.1, abs=0.02)}
    p50 = once.latency["p50"]
    assert p50 is not None
    assert p50.mean.low <= 0.05 <= p50.mean.high
    # More success for more load and a longer tail: neither dominates.
    assert [result.dominated_by for result in found.results] == [None, None]


def test_a_dominated_candidate_is_told() -> None:
    """One that waits longer for the same: worse in p99, better in nothing. A tie dominates nobody."""
    slow = Candidate("slow", [Retry(attempts=2, wait=0.8, budget=None), Timeout(1)])
    same = Candidate("same", [Retry(attempts=2, wait=0.1, budget=None), Timeout(1)])
    found = tried(TWICE, slow, same, faults=(Fault("server_error", 0.1),), runs=4, seconds=6.0)
    assert [result.dominated_by for result in found.results] == [None, "twice", None]
    assert as_data(found)["pareto"] == ["twice", "same"]


def test_a_run_without_a_failure_is_no_certainty() -> None:
    """The interval of a share is at least the binomial one, and that of one run wider than that of the mean."""
    (result,) = tried(ONCE).results
    assert (result.success.mean.value, result.success.mean.high) == (1.0, 1.0)
    assert 0.99 < result.success.mean.low < 1.0
    assert result.success.one_run.low < result.success.mean.low


def test_a_naive_client_never_recovers_and_the_default_pipeline_does() -> None:
    """The storm of tests/resilience/test_storm.py, stated as a model: the same collapse, the same recovery."""
    storm = Storm(load=40.0, capacity=50.0)
    model = Model(
        version=1,
        operations={"stormy": Operation(rate=f"{storm.load:g}/s", latency=0.0)},
        server=Server(capacity=f"{storm.capacity:g}/s", queue=int(storm.capacity * storm.patience), full="refused"),
        outages=(Outage(at=storm.calm, lasts=storm.outage, capacity=storm.left),),
        seconds=45.0,
    )
    wait = {"expo": {"base": 2, "factor": 0.5}}
    candidates = [
        Candidate("naive", [Retry(attempts=4, wait=wait, budget=None), Timeout(1)]),
        Candidate("default", [Deadline(10), Retry(attempts=4), Breaker(), Bulkhead(2000), Timeout(1)]),
    ]
    found = compare(candidates, Modelled(model), replications=2)
    unwise, wise = found.results
    assert replace(storm, after=15).play(naive()).recovery == math.inf
    assert (unwise.recovery, unwise.unrecovered) == (math.inf, 2)
    assert wise.recovery is not None
    assert wise.recovery <= 30
    assert unwise.load.mean.value > 2 > 1.25 > wise.load.mean.value
    assert unwise.dominated_by == "default"
    assert "never" in as_text(found)
    assert as_data(found)["candidates"][0]["recovery_seconds"] == "never"


def test_refusals_and_fallbacks_are_counted_by_reason() -> None:
    """What our own policies refuse, apart from what the target fails at; an answer that stood in counts as one."""
    full = Candidate("full", [Bulkhead(1), Timeout(1)])
    kind = Candidate("kind", [Fallback(value=None), Bulkhead(1), Timeout(1)])
    first, second = tried(full, kind).results
    assert list(first.refused) == ["bulkhead_full"]
    assert first.success.mean.value + first.refused["bulkhead_full"] == pytest.approx(1.0)
    assert second.success.mean.value == 1.0
    assert second.stood_in == pytest.approx(first.refused["bulkhead_full"])


def test_a_cache_helps_only_where_the_same_is_asked_again() -> None:
    """`keys` says how many things there are to ask about."""
    cached = Candidate("cached", [Cache(ttl=60), Timeout(1)])
    (never,), (often,) = tried(cached).results, tried(cached, keys=5).results
    assert never.load.mean.value == 1.0
    assert often.load.mean.value < 0.1


def test_connections_are_a_limit_of_the_transport() -> None:
    """Requests beyond it wait within their timeout: two places for six at once, and most come too late."""
    narrow, wide = (Candidate(f"{places}", [Timeout(0.3)], connections=places) for places in (2, 50))
    found = tried(narrow, wide).results
    assert list(found[0].failed) == ["timeout"]
    assert found[0].success.mean.value < 0.5 < 0.99 < found[1].success.mean.value


def test_recovery_waits_for_the_last_relapse() -> None:
    """A circuit that stays open for eight seconds is eight seconds of outage more."""
    model = {"outages": (Outage(at=5.0, lasts=3.0, kind="refused"),), "seconds": 30.0}
    lasting = Candidate("lasting", [Breaker(consecutive=5, open_for=8.0), Timeout(1)])
    quick, slow = tried(ONCE, lasting, runs=2, **model).results
    assert quick.recovery == 0.0
    assert slow.recovery is not None
    assert 4 <= slow.recovery <= 12
    assert slow.refused["circuit_open"] > 0.1


def test_a_pool_lends_and_is_closed() -> None:
    """Candidates from files for exchanges have one."""
    closed: list[object] = []
    pool = Candidate("pool", [Timeout(1), Pool(object, name="rest", close=closed.append)])
    (result,) = tried(pool, runs=2).results
    assert result.success.mean.value == 1.0
    assert len(closed) == 2


def test_a_page_has_no_script_and_hides_nothing_in_a_name() -> None:
    """Self-contained: no address, no script; names are text."""
    evil = Candidate('<script>alert("x")</script>', [Timeout(1)])
    page = as_page(tried(evil, ONCE))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http_503", "")
    assert page.count("<circle") == 2


def test_too_few_successes_have_no_p99() -> None:
    """No latency is told, no picture drawn, and whoever has one is better."""
    dead = Candidate("dead", [Timeout(0.001)])
    found = tried(dead, ONCE, seconds=2.0)
    assert found.results[0].latency["p99"] is None
    assert found.results[0].dominated_by == "once"
    assert "Too few calls" in as_page(tried(dead, seconds=2.0))
    assert "  -" in as_text(found)


def test_candidates_come_from_files(tmp_path: Path) -> None:
    """Every pipeline is one, or those that are named; connections from the resource that the pool lends."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "version: 1\nresources: {rest: {kind: aiohttp, limit_per_host: 7}}\n"
        "pipelines: {a: [timeout: 1s, pool: rest], b: [timeout: 2s]}\n"
        "exchanges: {bybit: {adapter: bybit, pipeline: a}}\n"
    )
    a, b = read_candidates(str(path))
    assert (a.name, a.connections, b.name, b.connections) == (f"{path}:a", 7, f"{path}:b", None)
    assert [c.name for c in read_candidates(str(path), ["b"])] == [f"{path}:b"]
    with pytest.raises(ConfigError, match="no pipeline is named 'c'"):
        read_candidates(str(path), ["c"])
    path.write_text("version: 1\n")
    with pytest.raises(ConfigError, match="pipelines is missing"):
        read_candidates(str(path))


@pytest.mark.parametrize(
    ("candidates", "said"), [([ONCE, ONCE], "one name"), ([ONCE], "no call arrives")], ids=["twice", "nothing"]
)
def test_nothing_to_compare_is_an_error(candidates: Iterable[Candidate], said: str) -> None:
    """In words."""
    with pytest.raises(ConfigError, match=said):
        compare(list(candidates), world(seconds=0.0001), replications=2)


def test_a_policys_own_bug_is_not_hidden() -> None:
    """What a policy raises that is no failure of a call ends the comparison."""

    class Broken:
        def bind(self, next: Any, kit: Any) -> Any:
            async def run(call: Any) -> Any:
                raise KeyboardInterrupt

            return run

    with pytest.raises(KeyboardInterrupt):
        play(Candidate("broken", [Broken()]), world(1.0), Dice(1))


def test_measures_of_a_run() -> None:
    """Peak: the fullest second, wherever it begins."""
    run = play(ONCE, world(10.0), Dice(1))
    found = measure(run, ())
    assert found.recovery is None
    assert 100 < found.peak < 150
    assert found.calls == len(run.sent)
