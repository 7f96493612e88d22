"""The text that scrapers read: both formats, checked against what they allow, and by promtool where it is installed."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from typing import Any

import pytest

from resilience import Breaker, Op, Pipeline, RateLimit, Retry
from resilience.telemetry import Metrics
from resilience.telemetry.catalogue import CATALOGUE, Spec, prometheus_label, prometheus_name
from resilience.telemetry.prometheus import OPENMETRICS, TEXT, _help, _number, accepts, render
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)
LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
LABELS = rf"\{{{LABEL}(?:,{LABEL})*\}}"
NUMBER = r"(?:[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf|NaN)"
SAMPLE = re.compile(rf"[a-z_]+(?:{LABELS})? {NUMBER}(?: # {LABELS} {NUMBER} {NUMBER})?")
COMMENT = re.compile(r"# (?:HELP [a-z_]+ .+|TYPE [a-z_]+ (?:counter|gauge|histogram)|UNIT [a-z_]+ [a-z]+|EOF)")


async def served(*observers: Any, name: str = "market") -> tuple[Metrics, Pipeline]:
    """Metrics with something in most of them, one call of it retried."""
    metrics = Metrics()
    pipeline = Pipeline(
        Retry(wait=0), Breaker(), RateLimit("10/1s"), name=name, observers=(metrics, *observers)
    )  # fmt: skip
    await pipeline.run(Script(ConnectionRefusedError(), after(0.3)), op=READ)
    await asyncio.gather(pipeline.run(Script(ValueError()), op=READ), return_exceptions=True)
    return metrics, pipeline


@pytest.mark.parametrize("openmetrics", [False, True])
@virtual
async def test_every_line_is_well_formed(traced: Any, openmetrics: bool) -> None:
    """A sample or a comment; only OpenMetrics has units, exemplars and an end."""
    metrics, _held = await served(traced.tracer())
    text = render(metrics, openmetrics)
    assert text.endswith("\n")
    lines = text.splitlines()
    assert [line for line in lines if not (SAMPLE.fullmatch(line) or COMMENT.fullmatch(line))] == []
    assert ("# EOF" in text) == ("# UNIT" in text) == (" # {" in text) == openmetrics
    assert lines[-1] == "# EOF" or not openmetrics
    assert text.count("# EOF") == openmetrics


@pytest.mark.parametrize("openmetrics", [False, True])
@virtual
async def test_no_family_and_no_series_comes_twice(openmetrics: bool) -> None:
    """Either makes a scraper refuse all of it; families do not interleave."""
    metrics, _held = await served()
    seen: list[str] = []
    for line in render(metrics, openmetrics).splitlines():
        if line.startswith("# TYPE"):
            seen.append(line.split()[2])
        elif not line.startswith("#"):
            assert line.startswith(seen[-1]), line
    assert len(seen) == len(set(seen))
    series = [line.rpartition(" ")[0] for line in render(metrics).splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


@virtual
async def test_the_two_formats_name_counters_differently() -> None:
    """In OpenMetrics the family has no `_total`; the samples have it in both."""
    metrics, _held = await served()
    text, openmetrics = render(metrics), render(metrics, openmetrics=True)
    labels = 'resilience_pipeline="market",resilience_op="read",resilience_outcome="ok",error_type=""'
    sample = f"resilience_calls_total{{{labels}}} 1\n"
    assert sample in text
    assert sample in openmetrics
    assert "# TYPE resilience_calls_total counter\n" in text
    assert "# TYPE resilience_calls counter\n" in openmetrics
    assert "# HELP resilience_calls Calls that ended.\n" in openmetrics


@virtual
async def test_buckets_are_cumulative_and_end_in_their_count() -> None:
    """With the bounds of the conventions, and +Inf."""
    metrics, _held = await served()
    text = render(metrics)
    found = re.findall(
        r'^resilience_call_duration_seconds_bucket\{.*outcome="ok",le="(.+)"\} (\d+)$', text, re.MULTILINE
    )
    assert found[:8] == [
        *((le, "0") for le in ("0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25")), ("0.5", "1"),
    ]  # fmt: skip
    assert found[-2:] == [("10.0", "1"), ("+Inf", "1")]
    assert len(found) == 15
    assert re.search(r'^resilience_call_duration_seconds_sum\{.*outcome="ok"\} 0\.3$', text, re.MULTILINE)
    assert re.search(r'^resilience_call_duration_seconds_count\{.*outcome="ok"\} 1$', text, re.MULTILINE)


@virtual
async def test_an_exemplar_carries_the_ids_of_the_trace(traced: Any) -> None:
    """Trace, span, seconds and the time, on the bucket that they fall into."""
    metrics, _held = await served(traced.tracer())
    text = render(metrics, openmetrics=True)
    kept = traced.calls[0].context
    (line,) = [line for line in text.splitlines() if f"{kept.trace_id:032x}" in line]
    assert 'le="0.5"} 1 # {' in line
    assert re.search(
        rf' # \{{trace_id="{kept.trace_id:032x}",span_id="{kept.span_id:016x}"\}} 0\.3\d* \d+\.\d{{3}}$', line
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("a\\nb", r"a\\nb"), ("ü\t{},=#", "ü\t{},=#"),
        ("\ud800", "?"), ("", ""),
    ],
)  # fmt: skip
@virtual
async def test_a_name_cannot_break_out_of_its_label(name: str, shown: str) -> None:
    """Quotes, backslashes and line breaks are escaped, once; what UTF-8 cannot write is replaced."""
    metrics, _held = await served(name=name)
    text = render(metrics)
    assert f'resilience_calls_active{{resilience_pipeline="{shown}",resilience_op="read"}} 0\n' in text
    text.encode()
    assert [line for line in text.split("\n") if line and not (SAMPLE.fullmatch(line) or COMMENT.fullmatch(line))] == []


def test_numbers_that_are_none_are_written_as_prometheus_reads_them() -> None:
    """A resource of the user's may tell anything."""
    assert [_number(value) for value in (1, 0.5, float("nan"), float("inf"), float("-inf"))] == [
        "1", "0.5", "NaN", "+Inf", "-Inf",
    ]  # fmt: skip


def test_only_openmetrics_escapes_quotes_in_a_help_text() -> None:
    """Backslashes and line breaks are escaped in both."""
    spec = Spec("resilience.x", "gauge", "", (), 'a "b" \\ \n.')
    assert _help(spec, openmetrics=False) == r'a "b" \\ \n.'
    assert _help(spec, openmetrics=True) == r"a \"b\" \\ \n."


def test_a_scraper_says_which_format_it_wants() -> None:
    """As Prometheus does since 2.5."""
    assert accepts("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4")
    assert not accepts("*/*")
    assert "0.0.4" in TEXT
    assert "1.0.0" in OPENMETRICS


def test_names_follow_the_rules_of_both_worlds() -> None:
    """Dots and no `_total` here, `_total`, units and legal characters there, and no two that collide."""
    names = [prometheus_name(spec) for spec in CATALOGUE.values()]
    assert len(set(names)) == len(names)
    for spec in CATALOGUE.values():
        assert re.fullmatch(r"(?:resilience|http\.client)(?:\.[a-z_]+)+", spec.name)
        assert not spec.name.endswith(("_total", "_seconds", "_ratio"))
        assert re.fullmatch(r"[a-z_]+", prometheus_name(spec))
        assert spec.help.endswith(".")
        assert spec.unit in ("s", "1", "") or re.fullmatch(r"\{[a-z]+\}", spec.unit)
        assert len({prometheus_label(label) for label in spec.labels}) == len(spec.labels)
    assert prometheus_name(CATALOGUE["resilience.call.duration"]) == "resilience_call_duration_seconds"
    assert prometheus_name(CATALOGUE["resilience.limiter.utilization"]) == "resilience_limiter_utilization_ratio"


@virtual
async def test_promtool_finds_nothing_to_say(traced: Any) -> None:
    """It parses the exposition and lints the names."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus): THE EXPOSITION WAS NOT CHECKED")
    metrics, _held = await served(traced.tracer(), name='odd "name"\\')
    done = subprocess.run(  # noqa: S603, ASYNC221 (our own text; a virtual loop has nothing else to do)
        [promtool, "check", "metrics"], input=render(metrics), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
