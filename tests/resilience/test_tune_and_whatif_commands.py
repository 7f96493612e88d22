"""The commands `resilience tune` and `resilience whatif`: what they print, and how they fail."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from recorded_market import Market, as_json, as_store, lognormal

from resilience import Deadline, Retry, Timeout, cli
from resilience.config import check_file

CONFIG = """\
version: 1
pipelines:
  market:
    - deadline: 10s
    - retry: {attempts: 3}   # three
    - timeout: 2s            # of one
"""
MODEL = """\
version: 1
operations: {ticker: {rate: 50/s, latency: {percentiles: {p50: 40ms, p99: 200ms}}}}
faults: [{kind: reset, rate: 2%}, {kind: hang, rate: 1%}]
seconds: 5s
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same traffic as OTLP JSON and as a store."""
    folder = tmp_path_factory.mktemp("recorded")
    policies = [Deadline(10), Retry(attempts=3), Timeout(2)]
    spans = Market({"ticker": lognormal(0.05, 0.5)}, resets=0.02).record(policies, 800)
    as_json(spans, folder / "t.json")
    as_store(spans, folder / "t.sqlite")
    return folder


@pytest.fixture
def files(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text(MODEL)
    (tmp_path / "bare.yaml").write_text(MODEL.replace("50/s", "50"))
    (tmp_path / "none-at-all.yaml").write_text("version: 1\npipelines: {}\n")
    for name in ("t.json", "t.sqlite"):
        shutil.copy(recorded / name, tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    return code, *capsys.readouterr()


def test_tune_prints_a_diff_that_patch_takes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The evidence as comments above; the patched file is sound, and keeps its comments."""
    code, out, err = run(capsys, "tune", "c.yaml", "--traces", "t.sqlite")
    assert (code, err) == (0, "")
    assert out.startswith("# market: timeout.per_op.ticker: 2s -> ")
    assert "interval" in out
    subprocess.run(["git", "init", "-q"], check=True)  # noqa: S607
    subprocess.run(["git", "apply", "-p0", "-"], input=out, text=True, check=True)  # noqa: S607
    patched = Path("c.yaml").read_text()
    assert "# of one" in patched
    assert "per_op: {ticker: " in patched
    assert check_file("c.yaml") == []
    _, again, _ = run(capsys, "tune", "c.yaml", "--traces", "t.json")
    assert again.endswith("# Nothing to change.\n")


def test_the_diff_of_a_file_without_a_last_line_break(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is one that patch takes, too."""
    Path("c.yaml").write_text("version: 1\npipelines:\n  market: [deadline: 10s, retry: {attempts: 3}, timeout: 2s]")
    _, out, _ = run(capsys, "tune", "c.yaml", "--traces", "t.sqlite")
    subprocess.run(["git", "init", "-q"], check=True)  # noqa: S607
    subprocess.run(["git", "apply", "-p0", "-"], input=out, text=True, check=True)  # noqa: S607
    assert "per_op: {ticker: " in Path("c.yaml").read_text()


def test_tune_as_json_has_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, in which every look has its evidence."""
    code, out, _ = run(capsys, "tune", "c.yaml", "--traces", "t.json", "--json")
    found = json.loads(out)
    assert code == 0
    settings = {p["setting"]: p for p in found["pipelines"]["market"]}
    assert set(settings) == {"retry.attempts", "hedge.delay", "timeout.per_op.ticker"}
    assert settings["timeout.per_op.ticker"]["proposed"] in found["diff"]
    assert settings["retry.attempts"]["proposed"] is None
    assert all(p["evidence"] for p in settings.values())


def test_tune_takes_a_prometheus_range(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its buckets give an interval, and that is said."""
    rows = [("0.1", 9_000), ("0.25", 9_960), ("0.5", 9_999), ("+Inf", 10_000)]
    name = "resilience_attempt_duration_seconds_bucket"
    labels = {"__name__": name, "resilience_op": "ticker", "resilience_pipeline": "bybit.market"}
    result = [{"metric": {**labels, "le": le}, "values": [[0, "0"], [60, str(count)]]} for le, count in rows]
    Path("p.json").write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    code, out, _ = run(capsys, "tune", "c.yaml", "--traces", "p.json")
    assert code == 0
    assert "lies in the bucket from 100 ms to 250 ms" in " ".join(out.split()).replace(" # ", " ")
    assert "+    - timeout: {seconds: 2s, per_op: {ticker: 250ms}}            # of one" in out


def test_whatif_prints_the_same_for_the_same_seed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people; --json one document; --html a page beside it."""
    arguments = ("whatif", "c.yaml", "--model", "m.yaml", "--runs", "3", "--html", "page.html")
    first, second = run(capsys, *arguments), run(capsys, *arguments)
    assert first == second
    assert first[0] == 0
    assert first[1].startswith("candidate  success")
    assert Path("page.html").read_text().startswith("<!doctype html>")
    code, out, err = run(capsys, *arguments, "--json")
    found = json.loads(out)
    assert (code, err, found["pareto"]) == (0, "", ["c.yaml"])
    assert found["calls_per_run"] == pytest.approx(250, abs=40)


def test_whatif_replays_what_was_recorded(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From either kind of file; only some seconds of it; calls of one pipeline."""
    common = ("--runs", "2", "--json")
    _, store, _ = run(capsys, "whatif", "c.yaml", "--traffic", "t.sqlite", *common)
    _, text, _ = run(capsys, "whatif", "c.yaml", "--traffic", "t.json", "--recorded", "market", *common)
    assert json.loads(store)["candidates"] == json.loads(text)["candidates"]
    _, part, _ = run(capsys, "whatif", "c.yaml", "--traffic", "t.json", "--seconds", "4", *common)
    assert json.loads(part)["calls_per_run"] < json.loads(store)["calls_per_run"] == 800


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("whatif", "c.yaml"), "one of the arguments --traffic --model is required"),
        (("whatif", "c.yaml", "--model", "none.yaml"), "none.yaml: cannot be read"),
        (("whatif", "c.yaml", "--model", "c.yaml"), "c.yaml:1:1: $: the key operations is missing (and 1 more)"),
        (("whatif", "c.yaml", "--model", "m.yaml", "--runs", "1"), "--runs is 1, must be a whole number of at least 2"),
        (("whatif", "c.yaml", "--model", "m.yaml", "--confidence", "1%"), "--confidence is 1%"),
        (("whatif", "c.yaml", "--traffic", "t.json", "--writes", "tickr"), "is not recorded; did you mean ticker?"),
        (("whatif", "c.yaml", "--traffic", "t.json", "--calls", "5"), "use --seconds"),
        (("whatif", "c.yaml", "--traffic", "t.json", "--recorded", "x"), "no call of a pipeline named 'x'"),
        (("whatif", "c.yaml", "c.yaml", "--model", "m.yaml"), "two candidates have one name"),
        (
            ("whatif", "c.yaml", "--model", "m.yaml", "--seconds", "1000000"),
            "m.yaml: 5e+07 calls in one run, more than",
        ),
        (
            ("whatif", "c.yaml", "--model", "bare.yaml"),
            "ticker.rate: found '50', must be calls in a time",
        ),
        (("tune", "none-at-all.yaml", "--traces", "t.json"), "none-at-all.yaml: has no pipeline to tune"),
        (("whatif", "m.yaml", "--model", "m.yaml"), "the key pipelines is missing"),
        (("tune", "c.yaml", "--traces", "c.yaml"), "neither a store of the dashboard nor OTLP JSON"),
        (("tune", "none.yaml", "--traces", "t.json"), "none.yaml: cannot be read"),
        (("tune", "m.yaml", "--traces", "t.json"), "the key pipelines is missing"),
        (("tune", "c.yaml", "--traces", "t.json", "--quantile", "99"), "'99' is no quantile"),
        (("tune", "c.yaml", "--traces", "t.json", "--pipeline", "x"), "no pipeline is named 'x'"),
        (("tune", "c.yaml", "--traces", "t.json", "--confidence", "100%"), "--confidence is 100%"),
    ],
)
def test_a_failure_is_one_line(
    files: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr; exit 2, nothing on stdout."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
