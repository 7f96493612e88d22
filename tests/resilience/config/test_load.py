"""load and check_file: whole files, with all their problems at once, and nothing made of a bad one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import Bulkhead, ConfigError, Pool, RateLimit, Retry, Timeout
from resilience.config import InvalidConfig, Node, Problem, check_file
from resilience.testing import Recorder, Script, virtual

PIPELINES = """\
# pipelines.yaml: resilience alone
version: 1
pipelines:
  market:
    - retry: {attempts: 4, wait: {expo: {base: 2, factor: 1}}, jitter: additive, max_wait: 10s}     # on the sum
    - breaker: {failure_rate: 50%, window: 30s, min_calls: 10, open_for: 5s, probes: 3, key: host}
    - rate_limit: {rate: 600/5s, key: ip}
    - bulkhead: {limit: 30, queue: 256}
    - timeout: {seconds: 15s, per_op: {ticker: 10s, orderbook: 15s, ohlcv: 30s, markets: 20s}}
    - pool: rest                            # supplied by whoever loads the file
"""
EXCHANGES = """\
# exchanges.yaml: the same, and who uses it
version: 1
resources:
  rest: {kind: aiohttp, limit: 100, limit_per_host: 30, dns_ttl: 300s, keepalive: 30s}
pipelines: {market: [retry, pool: rest], trade: [timeout: 5s, pool: rest]}
exchanges:
  bybit:
    adapter: bybit
    environment: mainnet                    # mainnet | testnet | demo | simulator
    base_url: https://api.bybit.com         # optional; overrides the environment's
    category: linear
    credentials: {key: "${env:BYBIT_API_KEY}", secret: "${env:BYBIT_API_SECRET}"}    # optional
    pipeline: market                        # for every operation ...
    operations: {create_order: {pipeline: trade}}      # ... but these
telemetry: {traces: tail, sample: 1%, parenting: on, otlp: null}
dashboard: {port: 8787}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def python(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: a process has one tracer provider, and only once."""
    arguments = [sys.executable, "-c", code]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 (our own text)


@virtual
async def _run(pipeline: resilience.Pipeline) -> Any:
    return await pipeline.run(Script(lambda session, symbol: (session, symbol)), "BTCUSDT")


def test_the_example_of_the_design_loads_and_runs(tmp_path: Path) -> None:
    """Its policies are those that the file names, in its order, and the pool lends what was supplied."""
    recorder = Recorder()
    resources = {"rest": lambda: "session"}
    pipelines = resilience.load(write(tmp_path, PIPELINES), resources=resources, observers=(recorder,))
    assert list(pipelines) == ["market"]
    retry, _breaker, rate_limit, bulkhead, timeout, pool = pipelines["market"].policies
    wait = {"expo": {"base": 2, "factor": 1}}
    assert retry == Retry(attempts=4, wait=wait, jitter="additive", max_wait=10)
    assert rate_limit == RateLimit("600/5s", key="ip")
    assert bulkhead == Bulkhead(30, queue=256)
    assert timeout == Timeout(15, per_op={"ticker": 10, "orderbook": 15, "ohlcv": 30, "markets": 20})
    assert pool == Pool(resources["rest"], name="rest")
    assert _run(pipelines["market"]) == ("session", "BTCUSDT")
    assert recorder.balanced()
    assert len(recorder.calls) == 1


def test_a_path_may_be_text_or_a_path(tmp_path: Path) -> None:
    """As everywhere in Python."""
    path = write(tmp_path, "version: 1\npipelines: {a: [retry]}\n")
    assert list(resilience.load(str(path))) == list(resilience.load(path)) == ["a"]


BAD = """\
version: 2
pipelines:
  a:
    - retry: {attempts: 0, attempts: 3}
    - timeout: 10
    - pool: missing
telemetry: {traces: tial, console: no}
telemtry: {}
exchanges: {}
x: *nothing
"""


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Whatever section it stands in, and what is wrong with the text as such beside what is wrong with its meaning."""
    path = write(tmp_path, BAD)
    with pytest.raises(InvalidConfig) as caught:
        resilience.load(path, resources={"rest": list})
    lines = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert [(line.split(": ")[0], line.split(": ")[1]) for line in lines] == [
        ("1:10", "version"),
        ("4:25", "pipelines.a[0].retry.attempts"),
        ("4:28", "pipelines.a[0].retry.attempts"),
        ("5:16", "pipelines.a[1].timeout"),
        ("6:13", "pipelines.a[2].pool"),
        ("7:21", "telemetry.traces"),
        ("7:36", "telemetry.console"),
        ("8:1", "telemtry"),
        ("9:1", "exchanges"),
        ("10:1", "x"),
        ("10:4", "x"),
    ]
    assert lines[7].endswith(
        "unknown key; did you mean telemetry? (allowed: version, pipelines, telemetry, dashboard, lint)"
    )
    assert "resilience.load reads none of it" in lines[8]
    assert str(caught.value) == f"{path}:{lines[0]} (and 10 more)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pipelines: {}", "1:1: $: the key version is missing; write version: 1"),
        ("version: 1", "1:1: $: the key pipelines is missing"),
        ("version: '1'\npipelines: {}", "1:10: version: found '1' in quotes, must be 1, the only version that this "),
        ("version: 1.0\npipelines: {}", "1:10: version: found '1.0', must be 1"),
        ("version: 1\npipelines: []", "2:12: pipelines: found an empty list, must be a mapping of names to lists of "),
        ("version: 1\npipelines:", "2:11: pipelines: found nothing, must be a mapping"),
        ("version: 1\npipelines: {}\ntelemetry: on", "3:12: telemetry: found 'on', must be a mapping of traces, "),
        ("version: 1\npipelines: {}\ntelemetry: {sample: 2}", "3:21: telemetry.sample: found '2', must be a share"),
        ("version: 1\npipelines: {}\ntelemetry: {otlp: ftp://x}", "3:19: telemetry.otlp: telemetry: otlp is "),
        ("[]", "1:1: $: found an empty list, must be a mapping of version, pipelines, telemetry"),
        ("retry", "1:1: $: found 'retry', must be a mapping of version"),
    ],
)  # fmt: skip
def test_what_a_file_must_have(text: str, expected: str, tmp_path: Path) -> None:
    """A version, pipelines, and settings that can work."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        resilience.load(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_environment_prefixes_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default only names that begin with BYBIT_ may be asked for."""
    monkeypatch.setenv("ACME_LIMIT", "7")
    path = write(tmp_path, "version: 1\npipelines: {a: [bulkhead: '${env:ACME_LIMIT}']}\n")
    with pytest.raises(ConfigError, match="must begin with BYBIT_"):
        resilience.load(path)
    assert resilience.load(path, env_prefixes=("ACME_",))["a"].policies == (Bulkhead(7),)


def test_telemetry_in_a_pipelines_file_starts_tracing(tmp_path: Path) -> None:
    """In a fresh process: the section makes a provider, and a call's spans reach it."""
    path = write(tmp_path, "version: 1\npipelines: {a: [retry]}\ntelemetry: {traces: always, console: true}\n")
    code = (
        "import sys, asyncio, resilience\n"
        f"pipeline = resilience.load({str(path)!r})['a']\n"
        "async def hello(): return 1\n"
        "asyncio.run(pipeline.run(hello, op=resilience.Op('hello')))\n"
    )
    done = python(code)
    assert '"name": "hello"' in done.stderr
    assert done.stdout == ""


def test_telemetry_that_cannot_start_names_its_place(tmp_path: Path) -> None:
    """OTLP without its package: one line with the file and the position."""
    path = write(tmp_path, "version: 1\npipelines: {a: [retry]}\ntelemetry: {otlp: 'http://127.0.0.1:4318'}\n")
    code = (
        "import sys, resilience\n"
        "sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
        f"try: resilience.load({str(path)!r})\n"
        "except resilience.ConfigError as error: print(error)\n"
    )
    done = python(code)
    assert done.stdout.startswith(f"{path}:3:12: telemetry: telemetry: otlp needs a package that is missing")


# -- check_file -----------------------------------------------------------------------------------------------


def test_a_sound_file_has_no_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool needs no resource to be checked; in an exchanges file it must be one of its own."""
    monkeypatch.setenv("BYBIT_API_KEY", "key")
    monkeypatch.setenv("BYBIT_API_SECRET", "secret")
    assert check_file(write(tmp_path, PIPELINES)) == []
    assert check_file(write(tmp_path, EXCHANGES), sections={}) == []
    wrong = EXCHANGES.replace("trade: [timeout: 5s, pool: rest]", "trade: [pool: ret]")
    (problem,) = check_file(write(tmp_path, wrong), sections={})
    assert problem.text == "no resource is named 'ret'; did you mean rest? (known: rest)"


def test_check_lists_what_load_raises(tmp_path: Path) -> None:
    """The same problems in the same order, except that a pool is not looked up where nothing names resources."""
    path = write(tmp_path, BAD.replace("exchanges: {}\n", ""))
    with pytest.raises(InvalidConfig) as caught:
        resilience.load(path)
    expected = [str(p).split(" (allowed")[0] for p in caught.value.problems if p.rule != "unknown-resource"]
    assert [str(problem).split(" (allowed")[0] for problem in check_file(path)] == expected


def test_sections_of_others_are_checked_by_them(tmp_path: Path) -> None:
    """Each gets the root, and its problems join the others."""
    seen: list[list[str]] = []

    def exchanges(root: Node) -> None:
        seen.append(root.keys())
        node = root.get("exchanges")
        assert node is not None
        raise node.error("no exchange is named", "exchange")

    path = write(tmp_path, "version: 1\nexchanges: {}\npipelines: {a: [timeout: 1]}\n")
    found = check_file(path, sections={"exchanges": exchanges, "resources": exchanges})
    assert [(problem.line, problem.rule) for problem in found] == [(2, "exchange"), (3, "unit")]
    assert seen == [["version", "exchanges", "pipelines"]]


def test_installed_packages_announce_their_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point of the group resilience.sections, loaded only where the section stands in the file."""
    (tmp_path / "acme_sections.py").write_text(
        "def check(root):\n    raise root.get('exchanges').error('acme was here', 'acme')\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[resilience.sections]\nexchanges = acme_sections:check\nresources = acme_sections:missing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = check_file(write(tmp_path, "version: 1\npipelines: {}\nexchanges: {}\n"))
    assert "acme was here" in [problem.text for problem in found]
    with pytest.raises(ConfigError, match="checks resources cannot be loaded: module 'acme_sections' has no"):
        check_file(write(tmp_path, "version: 1\npipelines: {}\nresources: {}\n"))
    assert check_file(write(tmp_path, "version: 1\npipelines: {}\n")) == []


def test_a_file_of_exchanges_needs_no_pipelines_of_its_own_to_be_checked(tmp_path: Path) -> None:
    """Whether it does is the business of who owns that section."""
    assert check_file(write(tmp_path, "version: 1\nexchanges: {}\n"), sections={}) == []
    (problem,) = check_file(write(tmp_path, "version: 1\n"))
    assert problem.text == "the key pipelines is missing"


def test_checking_gives_up_like_loading_but_returns_its_list(tmp_path: Path) -> None:
    """A file full of problems, and one that is no YAML."""
    found = check_file(write(tmp_path, "a: 1\n" * 2_000))
    assert len(found) == 101
    found = check_file(write(tmp_path, "version: [1\n"))
    assert [(type(problem), problem.rule) for problem in found] == [(Problem, "syntax")]


def test_a_file_that_cannot_be_read_is_no_finding(tmp_path: Path) -> None:
    """It is raised: there is nothing to check."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        check_file(tmp_path / "missing.yaml")
