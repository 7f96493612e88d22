"""The overview's numbers: exact where calls are made here, weighted where they come from a sample."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from resilience import (
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Hedge,
    Op,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
)
from resilience.call import Call, LimitReport, takes_call
from resilience.dashboard.distant import Distant
from resilience.dashboard.live import Live
from resilience.dashboard.rows import Span
from resilience.dashboard.shown import AT_ONCE
from resilience.dashboard.standing import MOST_KEYS
from resilience.dashboard.store import Store
from resilience.dashboard.tally import Row, Tally
from resilience.events import StateChanged
from resilience.telemetry import Metrics
from resilience.telemetry.histograms import BOUNDS, quantiles
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)


def one(live: Live, op: str = "read") -> dict[str, Any]:
    (row,) = [row for row in live.snapshot()["ops"] if row["op"] == op]
    return dict(row)


@virtual
async def test_calls_and_attempts_are_counted_exactly() -> None:
    """By outcome, kind and second; a call saved by a retry is a success, its first attempt is not."""
    market = Pipeline(Retry(attempts=3, wait=1, jitter="none", on=OSError), name="market")
    live = Live([market])
    await market.run(Script("at once"), op=READ)
    await market.run(Script(OSError(), after(0.5, "second")), op=READ)
    with pytest.raises(OSError, match="for ever"):
        await market.run(Script(OSError("for ever")), op=READ)
    with pytest.raises(ValueError, match="no"):
        await market.run(Script(ValueError("no")), op=READ)
    gone = asyncio.ensure_future(market.run(Script(never), op=READ))
    await asyncio.sleep(1)
    gone.cancel()
    await asyncio.wait((gone,))
    row = one(live)
    assert (row["pipeline"], row["calls"], row["ok"]) == ("market", 5, 2)
    outcomes = {name: count for name, count in row["outcomes"].items() if count}
    assert outcomes == {"ok": 2, "unknown": 1, "rejected": 1, "cancelled": 1}
    assert row["attempts"] == {"original": 5, "retry": 3, "hedge": 0, "probe": 0}
    assert (row["effective"], row["actual"]) == (2 / 4, 2 / 7)
    headline = live.snapshot()["headline"]
    assert (headline["calls"], headline["attempts_per_call"], headline["rate"]) == (5, 8 / 5, 5 / 60)
    assert headline["backoff_share"] == pytest.approx(3 / (1.5 + 2 + 1), abs=0.01)
    assert (sum(row["rate"]), sum(row["errors"]), len(row["rate"]), len(row["errors"])) == (5, 2, 60, 60)


@virtual
async def test_the_window_is_a_minute() -> None:
    """What was longer ago shows in the totals alone; the newest second is the last."""
    market = Pipeline(name="market")
    live = Live([market])
    for _ in range(3):
        await market.run(Script("ok"), op=READ)
    assert one(live)["rate"][-1] == 3
    await asyncio.sleep(10)
    await market.run(Script(after(2, "slow")), op=READ)
    row = one(live)
    assert (row["rate"][-1], row["rate"][-13], sum(row["rate"])) == (1, 3, 4)
    await asyncio.sleep(55)
    row = one(live)
    assert (sum(row["rate"]), row["calls"]) == (1, 4)
    await asyncio.sleep(60)
    row = one(live)
    assert (sum(row["rate"]), row["calls"], row["effective"], row["p50_ms"]) == (0, 4, None, None)


@virtual
async def test_refused_and_cancelled_attempts_say_nothing_of_the_other_side() -> None:
    """Nor does a hedge's loser. They still count as attempts."""
    market = Pipeline(Hedge(delay=1), name="market")
    live = Live([market])
    await market.run(Script(never, after(0.5, "second")), op=READ)
    row = one(live)
    assert row["attempts"] == {"original": 1, "retry": 0, "hedge": 1, "probe": 0}
    assert (row["effective"], row["actual"]) == (1, 1)
    shut = Pipeline(Breaker(mode="forced_open"), name="shut")
    live = Live([shut])
    with pytest.raises(Exception, match="circuit"):
        await shut.run(Script("ok"), op=READ)
    row = one(live)
    assert (row["attempts"]["original"], row["actual"], row["effective"], row["outcomes"]["refused"]) == (1, None, 0, 1)


@virtual
async def test_an_answer_without_an_attempt_counts_none() -> None:
    """A call that the cache answers."""
    market = Pipeline(Cache(ttl=10, key=lambda call: call.op.name), Retry(attempts=2), name="market")
    live = Live([market])
    for _ in range(3):
        await market.run(Script("ok", "ok", "ok"), op=READ)
    row = one(live)
    assert (row["calls"], row["attempts"]["original"]) == (3, 1)


def test_quantiles_are_within_a_step() -> None:
    """One step is 9 %; nothing is None; the longest counts as the last step."""
    row = Row("p", "x")
    for number in range(1, 1001):
        row.ended(1.0, number / 1000)
    row.recent.minute(1.5)
    for q, found, wanted in zip((0.5, 0.9, 0.99, 0.999), row.recent.percentiles, (500, 900, 990, 999), strict=True):
        assert found == pytest.approx(wanted, rel=0.05)
        assert quantiles(row.recent.cells, q) == [found]
    assert quantiles([0] * 5, 0.5, 0.9) == [None, None]
    row = Row("p", "x")
    row.ended(1.0, 1e9)
    row.ended(1.0, 0.0)
    low, high = quantiles(row.cells(), 0.5, 1.0)
    assert low == pytest.approx(0.03, rel=0.1)
    assert high == pytest.approx(256_000, rel=0.1)


@virtual
async def test_a_snapshot_works_out_a_few_operations_anew_and_all_in_turn() -> None:
    """New ones at once; of the others those first that were longest not. What did not change is the same row."""
    market = Pipeline(name="market")
    live = Live([market])

    async def calls(seconds: float) -> None:
        for number in range(100):
            await market.run(Script(after(seconds / 100)), op=Op(f"op {number}"))

    await calls(0.1)
    rows = live.snapshot()["ops"]
    assert all((row["calls"], sum(row["rate"]), row["p50_ms"] is None) == (1, 1, False) for row in rows)
    assert all(row is same for row, same in zip(rows, live.snapshot()["ops"], strict=True))
    await calls(3)
    counts = [sum(row["calls"] for row in live.snapshot()["ops"]) for _ in range(5)]
    assert counts == [100 + AT_ONCE, 100 + 2 * AT_ONCE, 100 + 3 * AT_ONCE, 200, 200]
    assert live.snapshot()["headline"]["calls"] == 200
    assert all(row["p99_ms"] == pytest.approx(30, rel=0.05) for row in live.snapshot()["ops"])
    await asyncio.sleep(2)
    assert live.snapshot()["headline"]["p99_ms"] == pytest.approx(30, rel=0.05)
    for _ in range(4):
        live.snapshot()
    assert all((row["rate"][-1], sum(row["rate"])) == (0, 2) for row in live.snapshot()["ops"])
    await asyncio.sleep(80)
    for _ in range(4):
        live.snapshot()
    shown = live.snapshot()
    assert all((row["calls"], sum(row["rate"]), row["p50_ms"]) == (2, 0, None) for row in shown["ops"])
    assert (shown["headline"]["calls"], shown["headline"]["p50_ms"]) == (0, None)


@virtual
async def test_a_snapshot_is_sent_as_it_is_built() -> None:
    """In its JSON form it is the same, also where most operations have been written for an earlier one."""
    markets = [Pipeline(Retry(attempts=2), name=f"market {number}") for number in range(3)]
    live = Live(markets, Store())
    assert json.loads(live.encoded())["ops"] == []
    for round in range(4):
        for number in range(60 // (round + 1)):
            await markets[number % 3].run(Script(after(0.01)), op=Op(f"op {number}"))
        for _ in range(3):  # until all have had their turn
            sent, built = json.loads(live.encoded()), json.loads(msgspec.json.encode(live.snapshot()))
        for moving in ("at", "uptime_s"):
            assert sent.pop(moving) <= built.pop(moving)
        assert sent == built
        assert sum(row["calls"] for row in sent["ops"]) == sent["headline"]["calls"] > 0


@virtual
async def test_the_dashboard_and_a_scrape_read_the_same_counts() -> None:
    """Of the application's own `Metrics` where it has one; two pipelines of one name are one row."""
    metrics = Metrics()
    market, other = Pipeline(name="market", observers=(metrics,)), Pipeline(name="market")
    await market.run(Script("ok"), op=READ)
    live = Live([market, other])
    assert [type(one).__name__ for one in other.observers] == ["Metrics", "Tally"]
    for pipeline in (market, other):
        await pipeline.run(Script("ok"), op=READ)
    assert one(live)["calls"] == 3
    (op,) = metrics.operations
    assert (op.ok.count, sum(one(live)["rate"])) == (3, 2)


@virtual
async def test_a_breaker_shows_its_state_and_what_happened_to_it() -> None:
    """With the cause of each change, newest last, and when it will probe."""
    market = Pipeline(
        Breaker(failure_rate=0.5, min_calls=2, window=10, open_for=5, key=lambda call: call.op.name), name="market"
    )
    live = Live([market])
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await market.run(Script(ConnectionRefusedError()), op=READ)
    await asyncio.sleep(1)
    (row,) = live.snapshot()["breakers"]
    assert (row["pipeline"], row["key"], row["state"], row["opens"], row["since_s"]) == ("market", "read", "open", 1, 1)
    assert 0 < row["next_probe_s"] <= 5
    assert row["generation"] == 2
    (change,) = row["history"]
    assert (change["old"], change["new"], "2 of 2" in change["cause"]) == ("closed", "open", True)
    assert abs(change["at"] - time.time() * 1000) < 60_000
    market.states["breaker"].mode = "shadow"
    (row,) = live.snapshot()["breakers"]
    assert (row["state"], row["next_probe_s"], len(row["history"])) == ("shadow", None, 2)
    assert row["window"] == {"calls": row["calls"], "min_calls": 2, "seconds": 10}


@virtual
async def test_a_history_remembers_twenty_changes_of_a_thousand_things() -> None:
    """Not one more."""
    tally = Tally(Pipeline(), Metrics())
    for number in range(30):
        tally.changed("breaker", "a", "x", str(number), "")
    for number in range(2_000):
        tally.changed("breaker", f"key {number}", "x", "y", "")
    assert len(tally.history) == 1_024
    tally.changed("breaker", "b", "x", "0", "")
    for number in range(30):
        tally.changed("breaker", "b", "x", str(number), "")
    assert [row["new"] for row in tally.history["breaker", "b"]] == [str(n) for n in range(10, 30)]


@virtual
async def test_operations_are_bounded() -> None:
    """Calls of the 201st are counted, together."""
    market = Pipeline(name="market")
    live = Live([market])
    for number in range(300):
        await market.run(Script("ok"), op=Op(f"op {number}"))
    rows = live.snapshot()["ops"]
    assert (len(rows), sum(row["calls"] for row in rows)) == (201, 300)
    assert one(live, "_other")["calls"] == 100


@virtual
async def test_limits_bulkheads_budgets_and_chaos_stand_there() -> None:
    """As their policies say, with what the server said last beside our own limit."""

    async def target(call: Call) -> str:
        call.attempt.limits = LimitReport(limit=50, remaining=40, reset_in=3)
        call.attempt.notes["wait.connection"] = 0.02
        return "ok"

    budget = RetryBudget()
    policies = (Retry(attempts=2, budget=budget), RateLimit("10/5s"), Bulkhead(7), Timeout(1))
    market = Pipeline(*policies, Chaos(rate=0.25, latency=0.1), name="market")
    live = Live([market])
    await market.run(takes_call(target), op=READ)
    await asyncio.sleep(1)
    shown = live.snapshot()
    (limit,) = shown["limits"]
    assert (limit["rate"], limit["used"], limit["limit"], limit["headroom"], limit["waiting"]) == ("10/5s", 1, 10, 9, 0)
    assert limit["server"] == {"limit": 50, "remaining": 40, "reset_in_s": 2, "age_s": 1}
    assert [(row["limit"], row["busy"], row["kind"]) for row in shown["bulkheads"]] == [(7, 0, "bulkhead")]
    assert [(row["spent"], row["refused"], row["balance"], row["limit"]) for row in shown["budgets"]] == [
        (0, 0, 100, 100)
    ]
    assert [(row["enabled"], row["rate"], row["struck"]) for row in shown["chaos"]] == [(False, 0.25, 0)]
    await asyncio.sleep(60)
    assert live.snapshot()["limits"][0]["server"] is None


@virtual
async def test_it_says_when_a_limit_will_be_empty() -> None:
    """At the pace since the last look; not at all while nothing is used."""
    standing = Live().__dict__["_standing"]
    at = 100.0
    import resilience.dashboard.standing as module

    clock = module.time
    try:
        module.time = type("Clock", (), {"monotonic": staticmethod(lambda: at)})  # type: ignore[misc, assignment]
        found = []
        for used in (0, 10, 30, 30, 20):
            found.append(standing._empty_in(("p", "x"), used, 100))
            at += 2
        assert found == [None, 90 / 5, 70 / 10, None, None]
        assert standing._empty_in(("p", "x"), 100, 100) == 0
    finally:
        module.time = clock


@virtual
async def test_of_very_many_keys_those_that_matter_are_listed() -> None:
    """Open circuits and limits that calls wait for, then what was used last."""
    by_host = Breaker(failure_rate=0.5, min_calls=1, key=lambda call: str(call.args[0]))
    market = Pipeline(by_host, RateLimit("1/5s", key=lambda call: str(call.args[0]), max_wait=60), name="market")
    live = Live([market])
    with pytest.raises(ConnectionRefusedError):
        await market.run(Script(ConnectionRefusedError()), 0, op=READ)
    await market.run(Script("ok"), 1, op=READ)
    waiting = asyncio.ensure_future(market.run(Script("ok"), 1, op=READ))
    await asyncio.sleep(0)
    for number in range(2, 500):
        await market.run(Script("ok"), number, op=READ)
    shown = live.snapshot()
    breakers, limits = (
        dict.fromkeys(row[name] for row in shown[where]) for where, name in (("breakers", "key"), ("limits", "name"))
    )
    assert len(breakers) == len(limits) == MOST_KEYS
    assert {"0", *map(str, range(500 - MOST_KEYS + 1, 500))} == set(breakers)
    assert {f"rate_limit {number}" for number in (1, *range(500 - MOST_KEYS + 1, 500))} == set(limits)
    assert len(market.status()["rate_limit"]) == 500
    waiting.cancel()


@virtual
async def test_what_pipelines_share_is_listed_once() -> None:
    """Under the first that has it."""
    shared: dict[str, Any] = {}
    limits = [Pipeline(RateLimit("10/5s", key="ip"), name=name, shared=shared) for name in "ab"]
    live = Live(limits)
    for pipeline in limits:
        await pipeline.run(Script("ok"), op=READ)
    rows = [row for row in live.snapshot()["limits"] if row["used"]]
    assert [(row["pipeline"], row["used"]) for row in rows] == [("a", 2)]


@virtual
async def test_whoever_is_forgotten_is_not_observed() -> None:
    """And one pipeline is watched once."""
    market = Pipeline(name="market")
    live = Live([market, market])
    live.watch(market)
    await market.run(Script("ok"), op=READ)
    assert one(live)["calls"] == 1
    before = live.version
    live.forget(market)
    await market.run(Script("ok"), op=READ)
    assert (live.snapshot()["ops"], live.snapshot()["pipelines"], market.observers) == ([], [], ())
    assert live.version != before


def test_a_snapshot_has_the_fields_of_the_interface_and_is_json() -> None:
    """All of them, whatever there is to show."""
    store = Store()
    shown = json.loads(msgspec.json.encode(Live([Pipeline(Retry(attempts=2), name="market")], store).snapshot(1.5)))
    assert shown["at"] == 1500
    assert [(row["name"], row["describe"][0]["policy"], row["attempt"]) for row in shown["pipelines"]] == [
        ("market", "retry", 1)
    ]
    assert set(shown) == {
        "at", "since", "uptime_s", "version", "controls", "csrf", "processes", "headline", "ops", "breakers", "limits",
        "bulkheads", "budgets", "pools", "chaos", "store", "exporter", "pipelines", "config",
    }  # fmt: skip
    assert (shown["controls"], shown["csrf"], shown["exporter"], shown["headline"]["p50_ms"]) == (
        False,
        None,
        None,
        None,
    )


# -- other processes ------------------------------------------------------------------------------------------------


def span(name: str, number: int, parent: int = 0, milliseconds: float = 10, **attributes: Any) -> Span:
    spelled = {key.replace("__", "."): value for key, value in attributes.items()}
    end = int(1e18 + milliseconds * 1e6)
    above = f"{parent:016x}" if parent else ""
    return Span("1" * 32, f"{number:016x}", above, name, "internal", int(1e18), end, "unset", spelled, (), "bot", "7")


def call(number: int, probability: float = 1.0, **more: Any) -> Span:
    return span(
        "ticker", number, resilience__op="ticker", resilience__pipeline="market", resilience__outcome="ok",
        resilience__sampling__reason="sampled", resilience__sampling__probability=probability, **more,
    )  # fmt: skip


def attempt(number: int, parent: int, **more: Any) -> Span:
    given = {"resilience__attempt__kind": "original", "resilience__attempt__outcome": "ok", **more}
    return span("GET /x", number, parent, resilience__op="ticker", resilience__attempt__number=1, **given)


def test_spans_count_by_the_chance_that_they_were_kept_with() -> None:
    """One call kept of a hundred stands for a hundred, its attempts too; what has no call is left out."""
    distant = Distant(lambda: 5.0)
    failed = attempt(3, 2, resilience__attempt__outcome="failed")
    again = attempt(4, 2, resilience__attempt__kind="retry")
    distant.heard([attempt(9, 8), call(1, 0.01), attempt(5, 1), failed, again, call(2, resilience__wait__backoff=0.5)])
    row = distant.rows["market", "ticker"]
    assert (row.calls, row.outcomes["ok"], row.good, row.bad, row.backoff) == (101, 101, 101, 1, 0.5)
    assert row.kinds == {"original": 101, "retry": 1, "hedge": 0, "probe": 0}
    assert row.seconds == pytest.approx(1.01)


def test_attempts_that_come_in_an_earlier_batch_than_their_call_are_counted_with_it() -> None:
    """A sender's batch may end anywhere. Of attempts whose call never comes a bounded number waits."""
    distant = Distant(lambda: 5.0)
    distant.heard([attempt(2, 1), attempt(3, 1, resilience__attempt__kind="retry")])
    assert distant.rows == {}
    distant.heard([attempt(4, 1, resilience__attempt__kind="retry"), call(1)])
    assert distant.rows["market", "ticker"].kinds == {"original": 1, "retry": 2, "hedge": 0, "probe": 0}
    for number in range(3_000):
        distant.heard([attempt(number, number + 10_000)])
    for number in range(100):
        distant.heard([attempt(number, 7)])
    assert (len(distant._early), max(map(len, distant._early.values()))) == (2_000, 50)


def test_hostile_spans_do_no_harm() -> None:
    """A probability of nothing, an unknown outcome, operations without end."""
    distant = Distant(lambda: 5.0)
    for probability in (0, -1, "x", 1e-300, 7):
        distant.heard([call(1, probability)])  # type: ignore[arg-type]
    assert distant.rows["market", "ticker"].calls == 10_000 * 3 + 1 + 1
    distant.heard([span("x", 1, resilience__sampling__reason="a", resilience__outcome="<b>")])
    assert distant.rows["bot", "x"].outcomes["failed"] == 1
    for number in range(2_500):
        distant.heard([span(f"op {number}", 1, resilience__sampling__reason="a")])
        distant.heard([attempt(2, 1, resilience__breaker__state="open", server__address=f"host {number}")])
    assert (len(distant.rows), len(distant.breakers(0))) == (2_000, 2_000)


def test_the_last_word_on_a_breaker_and_a_limit() -> None:
    """From attempts, by the host; a late arrival of an older span changes nothing."""
    live = Live()
    base = {"server__address": "api", "resilience__breaker__generation": 3}
    limits = {"resilience__server_limit__limit": 50, "resilience__server_limit__remaining": 20}
    newer = attempt(2, 1, milliseconds=20, resilience__breaker__state="half-open", **base, **limits)
    older = attempt(3, 1, milliseconds=10, resilience__breaker__state="closed", **base)
    live.heard([call(1), attempt(4, 1, milliseconds=5, resilience__breaker__state="open", **base), newer, older])
    shown = live.snapshot(1e9 + 1)
    (row,) = shown["breakers"]
    assert (row["pipeline"], row["key"], row["state"], row["generation"]) == ("market", "api", "half-open", 3)
    assert [(change["old"], change["new"]) for change in row["history"]] == [("open", "half-open")]
    assert row["since_s"] == pytest.approx(0.98)
    (limit,) = shown["limits"]
    assert (limit["name"], limit["used"], limit["headroom"], limit["server"]["reset_in_s"]) == ("ticker", 30, 20, None)


@virtual
async def test_a_pool_shows_what_it_lends_and_how_long_attempts_waited() -> None:
    """Reuse is the share of requests that opened nothing."""

    async def fetch(resource: object) -> str:
        return "ok"

    market = Pipeline(Pool(object, name="rest"), name="market")
    live = Live([market])
    for _ in range(4):
        await market.run(fetch, op=READ)
    (row,) = live.snapshot()["pools"]
    assert (row["name"], row["opened"], row["requests"], row["reuse"], row["active"]) == ("rest", 1, 4, 0.75, 0)
    assert [wait["le_ms"] for wait in row["waits"]] == [*(bound * 1000 for bound in BOUNDS), None]


@virtual
async def test_waits_for_a_connection_are_counted_by_length() -> None:
    """By the first edge that is not below."""
    market = Pipeline(Pool(object, name="rest"), name="market")
    live = Live([market])

    async def target(call: Call, resource: object, seconds: float) -> None:
        call.attempt.notes["wait.connection"] = seconds

    for seconds in (0.001, 0.02, 0.025, 100.0):
        await market.run(takes_call(target), seconds, op=READ)
    counts = [wait["count"] for wait in live.snapshot()["pools"][0]["waits"]]
    assert counts == [1, 0, 2, *[0] * 11, 1]


def test_what_the_past_minute_holds_is_found_after_any_pause() -> None:
    """A row that nobody touched for an hour; and one of a single call."""
    row = Row("p", "x")
    row.ended(10.0, 0.1)
    row.ended(3_700.5, 0.1)
    minute = row.recent.minute(3_700.9)
    assert (minute.added.calls, minute.rate[-1], sum(minute.rate), len(minute.rate)) == (1, 1, 1, 60)
    minute = row.recent.minute(3_730.0)
    assert (minute.added.calls, minute.rate[-31], sum(minute.rate), sum(minute.errors)) == (1, 1, 1, 0)


@virtual
async def test_a_reload_is_shown_with_what_the_pipelines_are_now() -> None:
    """The present policies, and the last word on each configuration file."""
    market = Pipeline(Retry(attempts=2), name="market")
    live = Live([market])
    before = live.version
    assert live.snapshot()["config"] == []
    market.become((Retry(attempts=5),), {}, {})
    for observer in market.observers:
        observer(StateChanged("config", "p.yaml", "loaded", "refused", "p.yaml:3:1: no", 0.0))
    (row,) = live.snapshot()["config"]
    assert (row["file"], row["state"], row["cause"]) == ("p.yaml", "refused", "p.yaml:3:1: no")
    assert live.snapshot()["pipelines"][0]["describe"] == [{"policy": "retry", "attempts": 5}]
    assert live.version != before
