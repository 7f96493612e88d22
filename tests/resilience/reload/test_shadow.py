"""Shadow: what other policies would have decided, live and on recorded traces; and nothing is sent for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import resilience
from resilience import ConfigError, Op, Pipeline, Policy, cli
from resilience.dashboard.otlp_json import export
from resilience.dashboard.rows import from_readable
from resilience.dashboard.store import Store
from resilience.recorded.traces import read_spans
from resilience.reload.shadow import Report, Shadow
from resilience.reload.traces import shadow_of
from resilience.telemetry import Tracer
from resilience.testing import Script, VirtualLoop, after

READ = Op("read", idempotent=True)
NOTHING: dict[Any, Any] = {}


class Traffic:
    """Calls through old policies, beside which new ones look on; `found` by policy and kind: count and seconds."""

    def __init__(self, old: tuple[Policy, ...], new: tuple[Policy, ...]) -> None:
        self.pipeline = Pipeline(*old, name="p")
        self.shadow = Shadow({"p": self.pipeline}, {"p": new})

    async def call(self, *steps: Any, op: Op = READ) -> Any:
        try:
            return await self.pipeline.run(Script(*steps), op=op)
        except Exception as error:
            return error

    @property
    def report(self) -> Report:
        return self.shadow.report()

    @property
    def found(self) -> dict[tuple[str, str], tuple[float, float]]:
        return {(one.policy, one.what): (one.count, one.seconds) for one in self.report.findings}


def play(traffic: Any) -> None:
    VirtualLoop().run(traffic())


r = resilience


def test_the_same_policies_decide_the_same() -> None:
    """Over retries, refusals, waits and timeouts, with nothing that would be otherwise; and nothing is sent twice."""

    async def main() -> None:
        stack = (
            r.Deadline(60), r.Retry(attempts=3, wait=0.1), r.Breaker(consecutive=3, open_for=5),
            r.RateLimit("5/1s", key="ip"), r.Bulkhead(2, queue=9), r.Timeout(3),
        )  # fmt: skip
        traffic = Traffic(stack, stack)
        script = Script(*([OSError()] * 7), "well")
        for _ in range(4):
            with pytest.raises((OSError, r.CircuitOpen)):
                await traffic.pipeline.run(script, op=READ)
        sent = script.count
        await asyncio.sleep(20)
        calls = [traffic.call(after(0.5, 1)) for _ in range(6)]
        await asyncio.gather(*calls, traffic.call(after(9, 1), after(0.1, 2)))
        assert traffic.found == NOTHING
        assert script.count == sent
        assert traffic.report.calls == 11

    play(main)


def test_a_breaker_would_have_refused_or_would_not() -> None:
    """It opens by its own rules; of whom it would have refused it learns nothing."""

    async def main() -> None:
        traffic = Traffic((r.Breaker(consecutive=5, open_for=5),), (r.Breaker(consecutive=2, open_for=100),))
        for _ in range(5):
            await traffic.call(OSError())
        assert traffic.found == {("breaker", "refuses"): (3, 0)}
        assert isinstance(await traffic.call(1), r.CircuitOpen)
        assert traffic.found == {("breaker", "refuses"): (3, 0)}
        kind = traffic.pipeline.states["breaker"]["default"]._state.label
        await asyncio.sleep(10)
        assert await traffic.call(1) == 1
        assert kind == "open"
        other = Traffic((r.Breaker(consecutive=1),), (r.Breaker(mode="disabled"),))
        await other.call(OSError())
        await other.call(1)
        assert other.found == {("breaker", "admits"): (1, 0)}
        forced = Traffic((r.Breaker(),), (r.Breaker(mode="forced_open"),))
        await forced.call(1)
        assert forced.found == {("breaker", "refuses"): (1, 0)}
        picky = Traffic((r.Breaker(consecutive=1, on=KeyError),), (r.Breaker(consecutive=1, on=OSError),))
        for error in (OSError(), KeyError(), KeyError()):
            await picky.call(error)
        assert picky.found == {("breaker", "refuses"): (1, 0)}  # the last one was refused by both

    play(main)


def test_a_limit_would_have_waited_or_refused() -> None:
    """Calls that would have waited count as sent later, so that the next one would have waited longer."""

    async def main() -> None:
        traffic = Traffic((r.RateLimit("9/1s"),), (r.RateLimit("1/10s", max_wait=15),))
        for _ in range(3):
            await traffic.call(1)
        found = traffic.found
        assert found["rate_limit", "refuses"] == (1, 0)
        assert found["rate_limit", "waits"] == (1, pytest.approx(10.4, rel=0.01))
        other = Traffic((r.RateLimit("1/10s", max_wait=15),), (r.RateLimit("9/1s"),))
        await asyncio.gather(*(other.call(1) for _ in range(3)))
        assert other.found["rate_limit", "admits"] == (1, 0)
        assert other.found["rate_limit", "waits_less"] == (1, pytest.approx(10.4, rel=0.01))

    play(main)


def test_a_bulkhead_would_have_queued_or_refused() -> None:
    """By key and weight, with the time that each would have waited."""

    async def main() -> None:
        traffic = Traffic((r.Bulkhead(9),), (r.Bulkhead(1, queue=1),))
        await asyncio.gather(traffic.call(after(2, 1)), traffic.call(after(5, 1)), traffic.call(after(6, 1)))
        assert traffic.found == {("bulkhead", "refuses"): (1, 0), ("bulkhead", "waits"): (1, 2)}
        other = Traffic((r.Bulkhead(1, queue=1),), (r.Bulkhead(9, key="op", weight="cost"),))
        await asyncio.gather(*(other.call(after(2, 1)) for _ in range(3)))
        assert other.found == {("bulkhead", "admits"): (1, 0), ("bulkhead", "waits_less"): (1, 2)}
        late = Traffic((r.Bulkhead(9),), (r.Bulkhead(1, queue=1, max_wait=1, order="lifo"),))
        await asyncio.gather(late.call(after(2, 1)), late.call(after(1, 1)))
        assert late.found == {("bulkhead", "waits"): (1, 1)}
        await asyncio.gather(late.call(after(2, 1)), late.call(after(5, 1)))
        assert late.found == {("bulkhead", "waits"): (1, 1), ("bulkhead", "refuses"): (1, 0)}

    play(main)


def test_times_would_have_been_cut_or_granted() -> None:
    """Of an attempt without its waits in our queues, and of a whole call."""

    async def main() -> None:
        traffic = Traffic((r.Timeout(10),), (r.Timeout(3, per_op={"slow": 30}),))
        await traffic.call(after(5, 1))
        await traffic.call(after(4, OSError()))
        await traffic.call(after(99, 1), op=Op("slow"))
        assert traffic.found == {
            ("timeout", "cuts"): (1, 2), ("timeout", "gives_up_sooner"): (1, 1), ("timeout", "gives_up_later"): (1, 20),
        }  # fmt: skip
        calls = Traffic((r.Deadline(10),), (r.Deadline(5),))
        await calls.call(after(7, 1))
        await calls.call(after(6, OSError()))
        assert calls.found == {("deadline", "cuts"): (1, 2), ("deadline", "gives_up_sooner"): (1, 1)}
        longer = Traffic((r.Deadline(10),), (r.Deadline(15),))
        await longer.call(after(20, 1))
        assert longer.found == {("deadline", "gives_up_later"): (1, 5)}
        queued = Traffic((r.Bulkhead(1, queue=3),), (r.Bulkhead(1, queue=3), r.Timeout(2.5)))
        await asyncio.gather(queued.call(after(2, 1)), queued.call(after(2, 1)))
        assert queued.found == NOTHING
        moving = Traffic((r.Timeout(10),), (r.Timeout(8, adaptive=r.Adaptive(quantile=0.5, factor=1)),))
        for _ in range(20):
            await moving.call(after(1, 1))
        await moving.call(after(5, 1))
        assert moving.found["timeout", "cuts"] == (1, pytest.approx(3.9, abs=0.2))

    play(main)


def test_what_would_have_been_tried_again() -> None:
    """By verdict, by `on`, by attempts, by what the server ordered and by the budget: compared with what followed."""

    async def main() -> None:
        fewer = Traffic((r.Retry(attempts=4, wait=0),), (r.Retry(attempts=2, wait=0),))
        await fewer.call(*[OSError()] * 3, 1)
        assert fewer.found == {("retry", "retries_not"): (2, 0)}
        more = Traffic((r.Retry(attempts=2, wait=0),), (r.Retry(attempts=3, wait=0),))
        await more.call(OSError())
        await more.call(OSError(), op=Op("write"))  # unknown, and not to be repeated
        await more.call(KeyError())
        assert more.found == {("retry", "retries"): (1, 0)}
        named = Traffic((r.Retry(wait=0),), (r.Retry(wait=0, on=KeyError, abort_on=OSError, max_duration=5),))
        await named.call(OSError(), 1)
        await named.call(KeyError())
        await named.call(after(9, KeyError()))
        assert named.found == {("retry", "retries_not"): (1, 0), ("retry", "retries"): (1, 0)}
        budget = r.RetryBudget(ratio=0, per_second=0.01, window=100)
        bounded = Traffic((r.Retry(attempts=2, wait=0, budget=None),), (r.Retry(attempts=2, wait=0, budget=budget),))
        for _ in range(30):
            await bounded.call(OSError(), 1)
        count, _ = bounded.found["retry", "retries_not"]
        assert 15 <= count <= 29
        results = Traffic((r.Retry(),), (r.Retry(result=lambda value: value is None),))
        assert results.report.unjudged == ("p.retry[0].result (a shadow sees no results)",)

    play(main)


def test_what_would_have_been_asked_once_more() -> None:
    """After a fixed delay or a quantile, in calls that are not hedged now."""

    async def main() -> None:
        traffic = Traffic((r.Timeout(9),), (r.Hedge(2),))
        for seconds in (1, 3):
            await traffic.call(after(seconds, 1))
        await traffic.call(after(3, 1), op=Op("write"))
        assert traffic.found == {("hedge", "hedges"): (1, 0)}
        quantile = Traffic((r.Timeout(9),), (r.Hedge("p50", initial=5),))
        for _ in range(20):
            await quantile.call(after(1, 1))
        await quantile.call(after(2, 1))
        assert quantile.found == {("hedge", "hedges"): (pytest.approx(1, abs=4), 0)}
        hedged = Traffic((r.Hedge(1),), (r.Hedge(2),))
        await hedged.call(after(5, 1), after(5, 2))
        assert hedged.found == NOTHING

    play(main)


def test_what_would_have_been_shed_is_an_expectation() -> None:
    """Dice are not thrown: the probabilities are added up."""

    async def main() -> None:
        traffic = Traffic((r.Timeout(9),), (r.Shed(k=1),))
        for _ in range(20):
            await traffic.call(OSError())
        count, _ = traffic.found["shed", "sheds"]
        assert 5 < count <= 10
        ranked = Traffic((r.Shed(),), (r.Shed(k=1, k_critical=2, priority="critical"),))
        for _ in range(20):
            await ranked.call(OSError(), op=Op("x", priority="sheddable"))
        assert ("shed", "sheds") in ranked.found

    play(main)


def test_what_nobody_can_know_is_said() -> None:
    """Policies with no judge, those that stand above what repeats, and pipelines that the new file has not."""

    async def main() -> None:
        traffic = Traffic((r.Timeout(9),), (r.Cache(3), r.Bulkhead(3), r.Retry(), r.Coalesce(), r.AdaptiveLimit()))
        assert traffic.report.unjudged == (
            "p.cache[0] (it stands above what repeats)",
            "p.bulkhead[1] (it stands above what repeats)",
            "p.coalesce[3] (it stands above what repeats)",
            "p.adaptive_limit[4]",
        )
        begun = asyncio.create_task(traffic.call(after(1, 1)))
        await asyncio.sleep(0)
        other = Shadow({"p": traffic.pipeline, "q": traffic.pipeline}, {"p": (r.Timeout(0.5),)})
        await begun
        assert other.report().unjudged == ("q (it is not in the new file)",)
        assert other.stop().calls == 0
        text = str(other.report())
        assert "it would have decided the same" in text
        assert "not judged: q" in text
        assert "note: what it would have refused was sent" in text
        before = traffic.pipeline.observers
        traffic.shadow.stop()
        assert len(traffic.pipeline.observers) == len(before) - 1

    play(main)


def test_a_live_file_is_shadowed_by_another(tmp_path: Path) -> None:
    """With the same resources; the block ends the looking."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("version: 1\npipelines: {a: [timeout: 9s, pool: x]}\n")
    new.write_text("version: 1\npipelines: {a: [timeout: 2s, pool: x]}\n")
    live = resilience.watch(old, resources={"x": lambda: "lent"})

    async def main() -> None:
        with live.shadow(new) as shadow:
            assert await live["a"].run(Script(after(5, "well")), op=READ) == "well"
        await live["a"].run(Script(after(5, "well")), op=READ)
        (finding,) = shadow.report().findings
        assert str(finding) == "a.timeout[0] read: 1 succeeded, and would have been cut off, 3 s in all"
        json.dumps(shadow.report().as_dict())

    play(main)
    new.write_text("version: 1\n")
    with pytest.raises(ConfigError):
        live.shadow(new)


# -- recorded ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The spans of some calls through a pipeline `market` of an exchange, in virtual time all through."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer, loop = Tracer(provider, "always"), VirtualLoop()
    monkeypatch.setattr("resilience.telemetry.records.time_ns", lambda: int(loop.time() * 1e9) + 1)

    async def main() -> None:
        pipeline = Pipeline(
            r.Retry(attempts=3, wait=0), r.Breaker(consecutive=9), r.Bulkhead(1, queue=9), r.Timeout(9),
            name="bybit.market", observers=(tracer,),
        )  # fmt: skip
        for steps in ([after(5, 1)], [OSError(), 1], [ConnectionRefusedError()] * 3, [KeyError()]):
            try:
                await pipeline.run(Script(*steps), op=READ)
            except Exception as error:
                assert error is steps[-1]  # noqa: PT017
            await asyncio.sleep(1)
        await asyncio.gather(*(pipeline.run(Script(after(1, 1)), op=READ) for _ in range(3)))

    loop.run(main())
    return [from_readable(span) for span in exporter.get_finished_spans()]


def test_recorded_traces_are_judged_like_live_traffic(spans: list[Any]) -> None:
    """Timeouts, retries, breakers and places, by the attributes of their spans."""
    new = [r.Retry(attempts=2, wait=0), r.Breaker(consecutive=2, open_for=100), r.Bulkhead(1), r.Timeout(2)]
    report = shadow_of({"market": new}, spans)
    found = {(one.policy, one.what): (one.count, one.seconds) for one in report.findings}
    assert (report.calls, report.attempts) == (7, 10)
    assert found["timeout", "cuts"] == (1, pytest.approx(3))
    assert found["retry", "retries_not"] == (1, 0)
    assert found["bulkhead", "refuses"] == (2, 0)
    assert found["breaker", "refuses"][0] == 5
    same = [r.Retry(attempts=3, wait=0), r.Breaker(consecutive=9), r.Bulkhead(1, queue=9), r.Timeout(9)]
    assert shadow_of({"bybit.market": same}, spans).findings == ()
    assert shadow_of({"x": new}, spans).unjudged == ("bybit.market (it is not in the new file)",)


def test_a_sample_of_traces_says_nothing_about_loads(spans: list[Any]) -> None:
    """Tail sampling keeps the failures: rates and limits would be judged far too harshly, so they are not."""
    new = [r.Retry(attempts=2, wait=0), r.Breaker(consecutive=1), r.Bulkhead(1), r.Hedge("p90"), r.Timeout(2)]
    for span in spans:
        if span.is_call:
            span.attributes["resilience.sampling.probability"] = 0.01
    report = shadow_of({"market": new[:3] + new[4:]}, spans)
    assert {finding.policy for finding in report.findings} == {"retry", "timeout"}
    assert len(report.unjudged) == 2
    assert "sample" in report.caveats[-1]
    assert "market.hedge[0]" in " ".join(shadow_of({"market": new[3:]}, spans).unjudged)


def test_the_command_reads_a_store_and_otlp_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spans: list[Any]
) -> None:
    """One document, one a line, or the dashboard's own file; anything else is one clear line and exit 2."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("version: 1\npipelines: {market: [timeout: 9s]}\n")
    new.write_text("version: 1\npipelines: {market: [timeout: 2s]}\n")
    whole, lines, stored = tmp_path / "t.json", tmp_path / "t.jsonl", tmp_path / "t.db"
    whole.write_text(json.dumps(export(spans), indent=2))
    lines.write_text("\n".join(json.dumps(export([span])) for span in spans))
    store = Store(path=stored)
    store.add(spans)
    store.close()
    for path in (whole, lines, stored):
        assert cli.main(("plan", str(old), str(new), "--shadow", str(path), "--json")) == 0
        shadow = json.loads(capsys.readouterr().out)["shadow"]
        (finding,) = shadow["findings"]
        assert (finding["what"], finding["count"], finding["seconds"]) == ("cuts", 1, 3)
    assert cli.main(("plan", str(old), str(new), "--shadow", str(whole))) == 0
    assert "shadow: 7 calls, 10 attempts" in capsys.readouterr().out
    for text in ("no json", '{"resourceSpans": 3}'):
        whole.write_text(text)
        assert cli.main(("plan", str(old), str(new), "--shadow", str(whole))) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ConfigError, match="cannot be read"):
        read_spans(tmp_path / "none")
