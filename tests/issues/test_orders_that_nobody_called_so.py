"""whatif repeated and hedged an order whose model did not say ``idempotent: false``, and tune proposed to hedge it."""

from __future__ import annotations

import pytest
from recorded_market import Market, lognormal

from resilience import Deadline, Hedge, Retry, Timeout
from resilience.lint.facts import looks_unsafe
from resilience.recorded.calls import recording_of
from resilience.tune import tune
from resilience.whatif import Candidate, Modelled, Replay, compare
from resilience.whatif.faults import Fault
from resilience.whatif.model import Model, Operation

HASTY = Candidate("hasty", [Deadline(60), Retry(attempts=3, budget=None), Hedge(0.1, budget=None), Timeout(1)])


@pytest.mark.parametrize("name", ["place_order", "create_order", "edit_order", "withdraw", "order"])
def test_what_is_called_like_an_order_is_sent_once(name: str) -> None:
    """Of ten answers one is lost, and each call sends one request all the same; what is called otherwise sends more."""
    faults = (Fault(kind="hang", rate=0.1),)

    def load(operation: str, idempotent: bool | None = None) -> float:
        operations = {operation: Operation(rate="50/s", latency=0.05, idempotent=idempotent)}
        model = Model(version=1, operations=operations, faults=faults, seconds=4.0)
        return compare([HASTY], Modelled(model), replications=2).results[0].load.mean.value

    assert load(name) == 1.0
    assert load(name, idempotent=True) > 1.05
    assert load("orderbook") > 1.05


def test_recorded_orders_are_neither_repeated_nor_hedged() -> None:
    """By whatif, and by what tune proposes."""
    policies = [Deadline(10), Retry(attempts=3), Timeout(2)]
    spans = Market({"create_order": lognormal(0.05, 1.0)}, resets=0.1).record(policies, 600)
    recording = recording_of(spans, "traces")
    assert compare([HASTY], Replay(recording), replications=2).results[0].load.mean.value == 1.0
    text = "version: 1\npipelines:\n  market: [deadline: 10s, retry: {attempts: 3}, timeout: 2s]\n"
    assert [one for one in tune("c.yaml", text, recording).proposals["market"] if one.policy == "hedge"] == []


def test_reads_are_no_orders() -> None:
    """By their names."""
    assert not any(map(looks_unsafe, ("orderbook", "orders", "order_status", "fetch_order", "ticker", "get_positions")))
