"""The linter in code: what it takes, how it is silenced, what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import Breaker, ConfigError, Deadline, Hedge, Op, Pipeline, Retry, Timeout, cli
from resilience.config import InvalidConfig
from resilience.lint import LintSettings, lint, lint_file
from resilience.lint.report import as_line, as_sarif


def rules(*arguments: object, **what: object) -> list[str]:
    return [finding.rule for finding in lint(*arguments, **what)]  # type: ignore[arg-type]


SOUND = (Deadline(30), Retry(), Timeout(5))


def test_a_pipeline_a_list_and_a_guarded_function_are_linted() -> None:
    """Anything else is told that it is none of these."""

    @Pipeline(Retry(on=OSError), name="orders").guard(Op("rebalance"))
    async def rebalance() -> None: ...

    assert rules(Pipeline(*SOUND)) == []
    assert rules(list(SOUND)) == []
    assert rules(rebalance) == ["no-timeout", "retry-of-unsafe-operation"]
    assert lint(rebalance)[0].pipeline == "orders"
    with pytest.raises(ConfigError, match="nothing that can be linted"):
        lint(3)  # type: ignore[arg-type]


def test_a_rule_is_silenced_with_a_reason_and_not_without() -> None:
    """A reason that covers nothing is told, and a name that is none gets a guess."""
    hasty = [Deadline(20), Retry(4), Timeout(9)]
    assert rules(hasty) == ["worst-case-above-deadline"]
    assert rules(hasty, allow={"worst-case-above-deadline": "errors come at once here"}) == []
    with pytest.raises(ConfigError, match="worst-case-above-deadline has no reason"):
        lint(hasty, allow={"worst-case-above-deadline": " "})
    (useless,) = lint(SOUND, allow={"no-timeuot": "why not"})
    assert useless.rule == "useless-allow"
    assert useless.message.endswith("there is no rule of that name; did you mean no-timeout?")


def test_an_operation_that_was_stated_is_not_guessed_at() -> None:
    """A guess by the name warns, a statement is an error, and a statement that it may be repeated is believed."""
    retry = [Deadline(30), Retry(on=TimeoutError), Timeout(5, per_op={"create_order": 4})]
    (guessed,) = lint(retry)
    assert (guessed.rule, guessed.severity) == ("retry-of-unsafe-operation", "warning")
    (stated,) = lint(retry, ops=[Op("create_order")])
    assert stated.severity == "error"
    assert rules(retry, ops=[Op("create_order", idempotent=True)]) == []


def test_what_the_settings_say_counts() -> None:
    """How many requests a call may become, and how often it is called."""
    hedged = [Deadline(60), Retry(3), Hedge(0.5), Timeout(5)]
    assert rules(hedged) == []
    assert rules(hedged, settings=LintSettings(most_sends=5)) == ["amplification"]
    quiet = [Deadline(60), Retry(), Breaker(), Timeout(5)]
    assert rules(quiet, settings=LintSettings(calls_per_second=0.05)) == ["breaker-minimum-unreachable"]


def test_a_finding_names_the_worst_of_several_operations() -> None:
    """And says how many more there are."""
    (finding,) = lint([Deadline(10), Retry(2), Timeout(6, per_op={"a": 9, "b": 1})])
    assert "a whose attempts all fail at the last moment needs up to 18.25 s" in finding.message
    assert "(1 more operations too)" in finding.message


SECRET = "q7Xk29PzLmT4vRw8BdYhAA"  # noqa: S105 (it is to be found)


def test_a_secret_is_found_and_never_told(tmp_path: Path) -> None:
    """Not in lines, not in JSON, not in SARIF; and what comes from the environment is none."""
    path = tmp_path / "file.yaml"
    path.write_text(f"version: 1\npipelines: {{a: [timeout: 5s]}}\ndashboard: {{token: {SECRET}}}\n")
    linted = lint_file(path)
    assert [finding.rule for finding in linted.findings] == ["plain-text-secret"]
    told = as_line(linted.findings[0]) + json.dumps(as_sarif(str(path), linted.findings, [])) + repr(linted.findings)
    assert SECRET not in told
    assert f"{path}:3:20: dashboard.token: error: token stands here in plain text" in told


def test_a_secret_from_the_environment_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the cure."""
    monkeypatch.setenv("RESILIENCE_TOKEN", SECRET)
    path = tmp_path / "file.yaml"
    path.write_text('version: 1\npipelines: {a: [timeout: 5s]}\ndashboard: {token: "${env:RESILIENCE_TOKEN}"}\n')
    assert lint_file(path).findings == []


def test_an_empty_reason_makes_a_file_invalid(tmp_path: Path) -> None:
    """With its place, like any other mistake."""
    path = tmp_path / "file.yaml"
    path.write_text("version: 1\npipelines: {a: [retry]}\nlint: {allow: {no-timeout: ''}}\n")
    with pytest.raises(InvalidConfig, match=r"3:\d+: lint.allow: lint: allow: no-timeout has no reason"):
        lint_file(path)


def test_a_path_silences_one_place(tmp_path: Path) -> None:
    """One pipeline by its name, a policy by its path; the others are still told."""
    path = tmp_path / "file.yaml"
    text = "version: 1\npipelines: {a: [retry, timeout: 5s, chaos: {rate: 1%, latency: 1s, enabled: true}],"
    text += " b: [retry, timeout: 5s, chaos: {rate: 1%, latency: 1s, enabled: true}]}\n"
    for key, left in (("a.chaos-enabled", ["b"]), ("pipelines.b.chaos-enabled", ["a"]), ("chaos-enabled", [])):
        path.write_text(f"{text}lint: {{allow: {{{key}: a rehearsal}}}}\n")
        assert [finding.pipeline for finding in lint_file(path).findings] == left


# -- the command lines ----------------------------------------------------------------------------------------

FILE = "version: 1\npipelines:\n  market:\n    - deadline: 20s\n    - retry: {attempts: 4}\n    - timeout: 9s\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out


def test_check_exits_1_for_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, at the place of the setting; the same as JSON, with the page of the rule."""
    path = tmp_path / "file.yaml"
    path.write_text(FILE)
    code, out = run(capsys, "check", str(path))
    assert code == 1
    assert out.startswith(f"{path}:4:7: pipelines.market[0]: warning: a call whose attempts")
    assert out.endswith(" [worst-case-above-deadline]\n")
    code, out = run(capsys, "check", str(path), "--json")
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["rule"] == "worst-case-above-deadline"
    assert (finding["line"], finding["path"]) == (4, "pipelines.market[0]")
    assert finding["page"] == "docs/rules.md#worst-case-above-deadline"


def test_notes_fail_no_check_and_are_told_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is silenced, and why."""
    path = tmp_path / "file.yaml"
    silenced = "lint: {allow: {retry-without-jitter: one client only}}\n"
    path.write_text(f"version: 1\npipelines: {{a: [retry: {{wait: 1s, jitter: none}}, timeout: 5s]}}\n{silenced}")
    assert run(capsys, "check", str(path)) == (0, "")
    code, out = run(capsys, "check", str(path), "--notes")
    assert code == 0
    assert "note: no deadline: a call can take 17 s" in out
    assert "(silenced: one client only)" in out
    code, out = run(capsys, "check", str(path), "--notes", "--json")
    document = json.loads(out)
    assert (code, document["findings"]) == (0, [])
    assert [note["rule"] for note in document["notes"]] == ["no-deadline"]
    assert [one["reason"] for one in document["silenced"]] == ["one client only"]


def test_sarif_has_what_code_scanning_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Version 2.1.0, one run, every result with a known rule and a place; a silenced one is suppressed."""
    path = tmp_path / "file.yaml"
    path.write_text(FILE + "lint: {allow: {worst-case-above-deadline: errors come at once, no-timeout: none}}\n")
    code, out = run(capsys, "check", str(path), "--sarif")
    document = json.loads(out)
    assert (code, document["version"]) == (1, "2.1.0")
    (only,) = document["runs"]
    known = {rule["id"] for rule in only["tool"]["driver"]["rules"]}
    useless, silenced = only["results"]
    assert {useless["ruleId"], silenced["ruleId"]} == {"useless-allow", "worst-case-above-deadline"} <= known
    assert silenced["suppressions"] == [{"kind": "inSource", "justification": "errors come at once"}]
    place = useless["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == str(path)
    assert place["region"]["startLine"] == 7


def test_sarif_of_an_invalid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its problems are results as well, and the exit code says 2."""
    path = tmp_path / "file.yaml"
    path.write_text("version: 1\npipelines: {a: [retyr]}\n")
    code, out = run(capsys, "check", str(path), "--sarif")
    (result,) = json.loads(out)["runs"][0]["results"]
    assert (code, result["ruleId"], result["level"]) == (2, "unknown-policy", "error")


MODULE = """
from resilience import Deadline, Op, Pipeline, Retry, Timeout

sound = Pipeline(Deadline(30), Retry(), Timeout(5), name="sound")
hasty = Pipeline(Deadline(20), Retry(attempts=4), Timeout(9), name="hasty")

@Retry(on=OSError)
@Timeout(5)
async def create_order(symbol): ...

class Client:
    @hasty.guard(Op("ticker", idempotent=True))
    async def ticker(self): ...

again = hasty
"""


def module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "trading.py").write_text(MODULE)
    command = [sys.executable, "-m", "resilience.lint", *arguments]
    root = str(Path(__file__).parents[3])
    return subprocess.run(  # noqa: S603 (our own text)
        command, cwd=folder, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_module_is_linted_from_the_command_line(tmp_path: Path) -> None:
    """Every pipeline and every guarded function in it, each once, under its dotted name."""
    done = module(tmp_path, "trading")
    assert (done.returncode, done.stderr) == (1, "")
    lines = [line.split(": ") for line in done.stdout.splitlines()]
    assert [(line[0], line[-1].rpartition("[")[2]) for line in lines] == [
        ("trading.hasty", "worst-case-above-deadline]"),
        ("trading.create_order", "retry-of-unsafe-operation]"),
        ("trading.Client.ticker", "worst-case-above-deadline]"),
    ]


def test_one_attribute_of_a_module_is_linted(tmp_path: Path) -> None:
    """As JSON too; with its findings silenced it is clean."""
    assert module(tmp_path, "trading:sound").returncode == 0
    done = module(tmp_path, "trading:Client.ticker", "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["path"], finding["line"]) == ("trading.Client.ticker[0]", None)
    allowed = module(tmp_path, "trading:hasty", "--allow", "worst-case-above-deadline=errors come at once")
    assert (allowed.returncode, allowed.stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("trading:nothing", "trading:nothing: trading has no nothing\n"),
        ("no.such", "no.such: cannot be imported: ModuleNotFoundError: No module named 'no'\n"),
        ("json", "json: there is no pipeline in it, and no function that one guards\n"),
    ],
)
def test_a_module_that_cannot_be_linted_is_one_line(name: str, told: str, tmp_path: Path) -> None:
    """On stderr, with exit 2."""
    done = module(tmp_path, name)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


OVERRIDES = """\
version: 1
resources: {rest: {kind: aiohttp}}
pipelines:
  market: {extends: market-data, rate_limit: {rate: 600/5s, key: ip}}
exchanges:
  bybit:
    adapter: bybit
    pipeline: market
    operations:
      ohlcv: {timeout: 40s}
      markets: {retry: {attempts: 3, wait: 1s, jitter: none}}
"""


def test_an_override_is_linted_where_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an operation of an exchange changes in its pipeline is judged as a part of that pipeline."""
    path = tmp_path / "file.yaml"
    path.write_text(OVERRIDES)
    assert [(finding.rule, finding.node.path) for finding in lint_file(path).findings if finding.node] == [
        ("timeout-above-deadline", "exchanges.bybit.operations.ohlcv.timeout"),
        ("retry-without-jitter", "exchanges.bybit.operations.markets.retry.jitter"),
    ]
    assert cli.main(["explain", str(path), "--json"]) == 0
    operations = json.loads(capsys.readouterr().out)["operations"]
    assert (operations["ticker"]["pipeline"], operations["markets"]["pipeline"]) == ("market", "market/markets")
    assert all("/" not in name for name in operations)
