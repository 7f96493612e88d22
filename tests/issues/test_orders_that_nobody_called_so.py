"""whatif repeated and hedged an order whose model did not say ``idempotent: false``, and tune proposed to hedge it.

And both did so with what ``lint.not_idempotent`` names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_market import Market, as_json, lognormal

from resilience import Deadline, Hedge, Retry, Timeout, cli
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


MARKET = "version: 1\npipelines:\n  market: [deadline: 10s, retry: {attempts: 3}, timeout: 1s]\n"
SAID = MARKET + "lint: {not_idempotent: [rebalance]}\n"
MODEL = """\
version: 1
operations: {rebalance: {rate: 50/s, latency: 50ms}, rebalance_again: {rate: 50/s, latency: 50ms, idempotent: true}}
faults: [{kind: reset, rate: 10%}]
seconds: 4s
"""


def test_a_file_may_say_what_is_never_hedged() -> None:
    """tune proposes no hedge for what its file names; of the same traffic without that, it does."""
    spans = Market({"rebalance": lognormal(0.05, 1.0)}, resets=0.1).record([Deadline(10), Retry(attempts=3)], 600)
    recording = recording_of(spans, "traces")

    def hedges(text: str) -> int:
        return sum(one.policy == "hedge" for one in tune("c.yaml", text, recording).proposals["market"])

    assert (hedges(MARKET), hedges(SAID)) == (1, 0)


@pytest.mark.parametrize("source", ["--model", "--traffic"])
def test_a_candidate_may_say_what_is_sent_once(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the candidates' files is enough, for all meet the same calls; a model that says otherwise is believed."""
    monkeypatch.chdir(tmp_path)
    Path("plain.yaml").write_text(MARKET)
    Path("said.yaml").write_text(SAID)
    Path("m.yaml").write_text(MODEL)
    policies = [Deadline(10), Retry(attempts=3), Timeout(1)]
    as_json(Market({"rebalance": lognormal(0.05, 0.5)}, resets=0.1).record(policies, 200), Path("t.json"))

    def loads(*configs: str) -> list[float]:
        file = "m.yaml" if source == "--model" else "t.json"
        assert cli.main(["whatif", *configs, source, file, "--runs", "2", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["candidates"]
        return [candidate["requests_per_call"]["value"] for candidate in found]

    (guessed,) = loads("plain.yaml")
    said = loads("plain.yaml", "said.yaml")
    assert guessed > 1.05
    assert said[0] == said[1]
    if source == "--model":
        assert 1.02 < said[0] < guessed - 0.02  # half of the calls are still repeated
    else:
        assert said[0] == 1.0


def test_reads_are_no_orders() -> None:
    """By their names."""
    assert not any(map(looks_unsafe, ("orderbook", "orders", "order_status", "fetch_order", "ticker", "get_positions")))
