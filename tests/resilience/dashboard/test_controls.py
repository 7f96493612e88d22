"""What can be changed from the page: nothing unless it was enabled, and then three things with a circuit and chaos."""

from __future__ import annotations

from typing import Any

import pytest
from served import ask, on_sockets, served

from resilience import Breaker, Chaos, CircuitOpen, Op, Pipeline
from resilience.dashboard.controls import ControlError, control
from resilience.dashboard.live import Live
from resilience.testing import Script, virtual

READ = Op("read", idempotent=True)


def wish(**fields: Any) -> bytes:
    import json

    return json.dumps(fields).encode()


def isolate(key: str = "default", pipeline: str = "market") -> bytes:
    return wish(action="isolate", pipeline=pipeline, key=key)


@virtual
async def test_an_isolated_circuit_stays_so_until_somebody_closes_it() -> None:
    """It refuses all calls, does not probe, is not forgotten, and its history says who did it."""
    market = Pipeline(Breaker(key=lambda call: call.op.name, open_for=1, forget_after=10), name="market")
    live = Live([market])
    await market.run(Script("ok"), op=READ)
    control(isolate("read"), live.tallies)
    control(isolate("read"), live.tallies)
    import asyncio

    for _ in range(3):
        await asyncio.sleep(20)
        with pytest.raises(CircuitOpen):
            await market.run(Script("ok"), op=READ)
    (row,) = live.snapshot()["breakers"]
    assert row["state"] == "forced open"
    assert [(change["new"], change["cause"]) for change in row["history"]] == [("forced open", "from the dashboard")]
    assert await market.run(Script("ok"), op=Op("other")) == "ok"
    control(wish(action="close", pipeline="market", key="read"), live.tallies)
    assert await market.run(Script("ok"), op=READ) == "ok"
    states = {row["key"]: row["state"] for row in live.snapshot()["breakers"]}
    assert states == {"read": "closed", "other": "closed"}


@virtual
async def test_an_open_circuit_can_be_probed_at_once() -> None:
    """half_open admits a probe now, whose success closes it."""
    market = Pipeline(Breaker(open_for=3600, probes=1), name="market")
    live = Live([market])
    await market.run(Script("ok"), op=READ)
    market.states["breaker"]["default"].open()
    with pytest.raises(CircuitOpen):
        await market.run(Script("ok"), op=READ)
    control(wish(action="half_open", pipeline="market", key="default"), live.tallies)
    assert await market.run(Script("ok"), op=READ) == "ok"
    (row,) = live.snapshot()["breakers"]
    assert (row["state"], [change["new"] for change in row["history"]]) == ("closed", ["open", "half-open", "closed"])


@virtual
async def test_chaos_goes_on_and_off() -> None:
    """Its rate too; a rate that is none is refused and changes nothing."""
    market = Pipeline(Chaos(rate=0.25, latency=0.1), name="market")
    live = Live([market])
    await market.run(Script("ok"), op=READ)
    switch = market.states["chaos"]
    control(wish(action="chaos", pipeline="market", enabled=True, rate=1), live.tallies)
    assert (switch.enabled, switch.rate) == (True, 1)
    control(wish(action="chaos", pipeline="market", enabled=False), live.tallies)
    assert (switch.enabled, switch.rate) == (False, 1)
    with pytest.raises(ControlError, match="rate") as caught:
        control(wish(action="chaos", pipeline="market", enabled=True, rate=2), live.tallies)
    assert (caught.value.status, switch.enabled) == (400, False)


@virtual
async def test_nothing_is_made_by_asking() -> None:
    """What is not there is not found, and every wish is read strictly."""
    market = Pipeline(Breaker(), name="market")
    live = Live([market, Pipeline(name="bare")])
    await market.run(Script("ok"), op=READ)
    for body, status in (
        (isolate(pipeline="nobody"), 404),
        (isolate(key="nobody"), 404),
        (isolate(pipeline="bare"), 404),
        (wish(action="chaos", pipeline="market", enabled=True), 404),
        (wish(action="destroy", pipeline="market", key="default"), 400),
        (wish(action="isolate", pipeline="market"), 400),
        (wish(action="isolate", pipeline="market", key="default", more=1), 400),
        (wish(action="chaos", pipeline="market", enabled="yes"), 400),
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 4_000, 400),
    ):
        with pytest.raises(ControlError) as caught:
            control(body, live.tallies)
        assert (caught.value.status, "\n" in str(caught.value)) == (status, False), body
    assert [row["key"] for row in live.snapshot()["breakers"]] == ["default"]


@on_sockets
async def test_controls_need_to_be_enabled_and_the_pages_own_word() -> None:
    """403 without either; the word is told only where it is of use."""
    market = Pipeline(Breaker(), name="market")
    json = {"action": "isolate", "pipeline": "market", "key": "default"}
    async with served(market) as dashboard:
        await market.run(Script("ok"), op=READ)
        shown = (await ask(dashboard, "/api/snapshot")).json
        assert (shown["controls"], shown["csrf"]) == (False, None)
        word = dashboard.live.csrf
        assert (await ask(dashboard, "/api/controls", "POST", json=json, headers={"X-CSRF-Token": word})).status == 403
    async with served(market, controls=True) as dashboard:
        await market.run(Script("ok"), op=READ)
        shown = (await ask(dashboard, "/api/snapshot")).json
        assert shown["controls"] is True
        right = {"X-CSRF-Token": shown["csrf"]}
        for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": word}):
            assert (await ask(dashboard, "/api/controls", "POST", json=json, headers=headers)).status == 403
        assert (
            await ask(dashboard, "/api/controls", "POST", data=b"{}", headers={**right, "Content-Type": "text/plain"})
        ).status == 415
        assert (await ask(dashboard, "/api/controls", headers=right)).status == 405
        assert await market.run(Script("ok"), op=READ) == "ok"
        done = await ask(dashboard, "/api/controls", "POST", json=json, headers=right)
        assert (done.status, done.json) == (200, {"ok": True})
        with pytest.raises(CircuitOpen):
            await market.run(Script("ok"), op=READ)
        missing = await ask(dashboard, "/api/controls", "POST", json={**json, "key": "<b>"}, headers=right)
        assert (missing.status, list(missing.json)) == (404, ["error"])
