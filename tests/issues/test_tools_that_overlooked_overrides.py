"""plan, its shadow, whatif and tune judged the pipelines of a file, not what an exchange makes of them.

An exchange and its operations may override single policies, and files may be included. `check` and `explain` knew; the
others simulated, compared and tuned timeouts that no call would have had.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from recorded_market import Market, as_json, lognormal

from resilience import Bulkhead, Deadline, Op, Pipeline, Retry, Timeout, cli
from resilience.dashboard.rows import Span
from resilience.explain import explain_file
from resilience.recorded.calls import recording_of
from resilience.reload import plan
from resilience.reload.shadow import Shadow
from resilience.reload.traces import replay
from resilience.testing import Script, VirtualLoop, after
from resilience.tune import tune
from resilience.whatif import read_candidates

SHARED = """\
version: 1
pipelines:
  base:
    - deadline: 60s
    - retry: {attempts: 3}
    - breaker: {key: host}
    - rate_limit: {rate: 600/5s, key: ip}
    - bulkhead: {limit: 60, queue: 100, max_wait: 1s}
    - timeout: 10s
    - pool: rest
"""
FILE = """\
version: 1
include: [./shared.yaml]
pipelines:
  market: {extends: base, deadline: 90s}
exchanges:
  bybit:
    adapter: bybit
    pipeline: market
    operations:
      ticker: {timeout: 3s}     # by hand
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "shared.yaml").write_text(SHARED)
    (tmp_path / "old.yaml").write_text(FILE)
    return tmp_path / "old.yaml"


def changed(file: Path, before: str, now: str) -> Path:
    new = file.with_name("new.yaml")
    text = file.read_text()
    assert before in text
    new.write_text(text.replace(before, now))
    return new


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    """Of a market whose tickers take 50 ms (p99: 160 ms)."""
    policies = [Deadline(90), Retry(attempts=3), Bulkhead(30, queue=100), Timeout(3)]
    found = Market({"ticker": lognormal(0.05, 0.5)}).record(policies, 800)
    return [_renamed(span, "bybit.market") for span in found]


def test_a_plan_tells_what_becomes_of_the_pipelines_that_exchanges_use(file: Path) -> None:
    """By the names of the running program: the exception of one operation, and a pipeline of its own for another."""
    made = plan(file, changed(file, "{timeout: 3s}", "{timeout: 2s}\n      ohlcv: {retry: {attempts: 2}}"))
    assert [str(change) for change in made.changes] == [
        "bybit.market: changed timeout (per_op {ticker: 3} -> {ticker: 2})",
        "bybit.market/ohlcv: added pipeline",
    ]
    assert [(one.path, one.before, one.after) for one in made.settings] == [
        ("exchanges.bybit.operations.ohlcv.pipeline", "bybit.market", "bybit.market/ohlcv")
    ]
    assert not plan(file, changed(file, "{timeout: 3s}", "{timeout: 3000ms}"))


def test_a_shadow_of_traces_judges_what_an_operation_would_go_through(file: Path, spans: list[Span]) -> None:
    """Its own timeout, and the pipeline that the new file routes it to."""
    own = replay(changed(file, "{timeout: 3s}", "{timeout: 10ms}"), spans)
    assert [(one.policy, one.pipeline) for one in own.findings] == [("timeout", "bybit.market")]
    routed = replay(
        changed(file, "{timeout: 3s}", "{timeout: 10ms, retry: {attempts: 2}, bulkhead: {limit: 9}}"), spans
    )
    assert {one.pipeline for one in routed.findings} == {"bybit.market/ticker"}


def test_a_live_shadow_follows_the_new_routes() -> None:
    """What another pipeline would guard is judged by that one."""
    market = Pipeline(Timeout(10), name="market")
    policies = {"market": [Timeout(10)], "quick": [Timeout(1)]}

    async def main() -> None:
        with Shadow({"market": market}, policies, {("market", "ticker"): "quick"}) as shadow:
            await market.run(Script(after(5, "slow"), after(5, "slow")), op=Op("ticker"))
            await market.run(Script(after(5, "slow")), op=Op("book"))
        (finding,) = shadow.report().findings
        assert str(finding).startswith("quick.timeout[0] ticker: 1 succeeded, and would have been cut off")

    VirtualLoop().run(main())


def test_whatif_tries_what_an_operation_would_go_through(file: Path) -> None:
    """Its own timeout, however the pipeline is called."""
    for name in ("market", "bybit.market"):
        (candidate,) = read_candidates(str(file), [name])
        assert candidate.name == f"{file}:market"
        assert next(p for p in candidate.policies if isinstance(p, Timeout)).per_op == {"ticker": 3}
        assert candidate.connections == 30


def test_explain_takes_the_name_of_the_running_program(file: Path) -> None:
    """Which is what the dashboard and the log say."""
    (chapter,) = explain_file(file, "bybit.market")
    assert chapter.name == "market"


def test_tune_changes_what_is_in_force(file: Path, spans: list[Span], capsys: pytest.CaptureFixture[str]) -> None:
    """Through `include` and `extends`: the exception of the operation where it stands, the rest in the pipeline."""
    traces = as_json(spans, file.with_name("traces.json"))
    assert cli.main(["tune", str(file), "--traces", traces]) == 0
    out = capsys.readouterr().out
    assert "# market: timeout.per_op.ticker: 3s -> " in out
    assert "-      ticker: {timeout: 3s}     # by hand" in out
    assert "+      ticker: {timeout: 1" in out
    assert "+  market: {extends: base, deadline: 90s, bulkhead: {limit: 16}}" in out


def test_tune_leaves_alone_what_stands_in_another_file(file: Path, spans: list[Span]) -> None:
    """The pipeline of an included file is judged, and told."""
    text = FILE.replace("  market: {extends: base, deadline: 90s}\n", "  other: [timeout: 1s]\n")
    text = text.replace("pipeline: market", "pipeline: base").replace("ticker: {timeout: 3s}", "ohlcv: {timeout: 20s}")
    found = tune(str(file), text, recording_of([_renamed(span, "bybit.base") for span in spans]))
    assert found.after == text
    assert any("stands in another file" in one.evidence for one in found.proposals["base"] if one.policy == "timeout")


def _renamed(span: Span, name: str) -> Span:
    if "resilience.pipeline" not in span.attributes:
        return span
    renamed = deepcopy(span)
    renamed.attributes["resilience.pipeline"] = name
    return renamed


def test_tune_writes_into_a_pipeline_that_extends_a_preset(spans: list[Span]) -> None:
    """The exception is added to what is inherited; a pipeline that extends this one changes as well, and is told."""
    text = (
        "version: 1\npipelines:\n  market: {extends: market-data, rate_limit: 600/5s}\n"
        "  patient: {extends: market, deadline: 2m}\n"
    )
    found = tune("c.yaml", text, recording_of(spans, "traces.json"))
    (timeout,) = [one for one in found.proposals["market"] if one.policy == "timeout"]
    assert timeout.value is not None
    assert "It changes patient as well." in timeout.evidence
    assert f"timeout: {{per_op: {{ticker: {timeout.value}}}}}" in found.after


def test_tune_says_where_a_change_would_do_nothing(file: Path, spans: list[Span]) -> None:
    """An exchange's own word stands before the pipeline's."""
    text = FILE.replace("    pipeline: market\n", "    pipeline: market\n    bulkhead: {limit: 60}\n")
    found = tune(str(file), text, recording_of(spans, "traces.json"))
    (places,) = [one for one in found.proposals["market"] if one.policy == "bulkhead"]
    assert places.value is None
    assert "the file says it otherwise in another place" in places.evidence
