"""`resilience plan`: what would change, what survives, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resilience import Breaker, Bulkhead, ConfigError, RateLimit, Retry, Timeout, cli
from resilience.reload import differences, plan

OLD = """\
version: 1
pipelines:
  market:
    - retry: {attempts: 3}
    - breaker: {failure_rate: 50%, key: host}
    - bulkhead: 3
    - timeout: 10s
  bulk: [timeout: 30s]
"""


def files(tmp_path: Path, old: str, new: str) -> tuple[str, str]:
    paths = tmp_path / "old.yaml", tmp_path / "new.yaml"
    for path, text in zip(paths, (old, new), strict=True):
        path.write_text(text)
    return str(paths[0]), str(paths[1])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(("plan", *arguments))
    return code, *capsys.readouterr()


def test_another_spelling_of_the_same_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Comments, spellings and written-out defaults: files are compared as the loader understands them."""
    new = OLD.replace("10s", "10000ms  # the same").replace("failure_rate: 50%", "failure_rate: 0.5, open_for: 5s")
    assert not plan(*files(tmp_path, OLD, new))
    assert run(capsys, *files(tmp_path, OLD, new)) == (0, "nothing changes\n", "")
    assert run(capsys, *files(tmp_path, OLD, new), "--detailed-exitcode")[0] == 0


def test_every_change_is_told_with_what_survives_and_what_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words for people, by policy and field; exit 0, or 3 if that is asked for."""
    new = OLD.replace("key: host", "key: account").replace("bulkhead: 3", "bulkhead: 5").replace("bulk:", "slow:")
    paths = files(
        tmp_path, OLD, new.replace("    - timeout: 10s", "    - timeout: 10s\n    - chaos: {rate: 0, latency: 1s}")
    )
    code, out, err = run(capsys, *paths)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "pipeline market",
        "  ~ breaker [1]",
        "      key: host -> account   (its circuits are those of another key)",
        "      lost: circuits: open or closed, since when, until when, and what they have counted: its circuits are "
        "those of another key",
        "  ~ bulkhead [2]",
        "      limit: 3 -> 5   (from the next call on)",
        "      kept: places taken, and calls that wait for one",
        "  + chaos [4]",
        "pipeline slow",
        "  + the whole pipeline",
        "pipeline bulk",
        "  - the whole pipeline",
        "      kept: whoever holds it goes on with it as it was",
        "2 added, 1 removed, 2 changed, 0 moved; 0 other settings",
    ]
    assert run(capsys, *paths, "--detailed-exitcode")[0] == 3


def test_json_is_one_document_with_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For CI."""
    code, out, _ = run(capsys, *files(tmp_path, OLD, OLD.replace("10s", "8s")), "--json")
    made = json.loads(out)
    assert (code, made["valid"], made["problems"], made["shadow"]) == (0, True, [], None)
    (change,) = made["changes"]
    assert (change["pipeline"], change["policy"], change["position"], change["what"]) == (
        "market",
        "timeout",
        3,
        "changed",
    )
    assert change["fields"] == [{"name": "seconds", "before": 10.0, "after": 8.0, "effect": "from the next call on"}]


def test_an_invalid_new_file_is_told_with_all_its_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2; nothing would change."""
    old, new = files(tmp_path, OLD, OLD.replace("retry", "rety").replace("10s", "10"))
    code, out, err = run(capsys, old, new)
    assert (code, err) == (2, "")
    assert len(out.splitlines()) == 3
    assert out.splitlines()[2] == f"{new} is invalid: loading it changes nothing"
    code, out, _ = run(capsys, old, new, "--json")
    assert (code, json.loads(out)["valid"], len(json.loads(out)["problems"])) == (2, False, 2)
    code, out, err = run(capsys, new, old)
    assert (code, out) == (2, "")
    assert "in the old file" in err
    with pytest.raises(ConfigError, match="cannot be read"):
        plan(tmp_path / "none", old)


def test_what_stands_beside_the_pipelines_is_compared_and_secrets_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resources, exchanges and the sections that observe; what comes from the environment is named by its variable."""
    monkeypatch.setenv("BYBIT_KEY", "canary")
    monkeypatch.setenv("BYBIT_SECRET", "canary")
    old = (
        "version: 1\nresources: {rest: {kind: aiohttp, limit: 10}}\npipelines: {market: [timeout: 1s, pool: rest]}\n"
        "exchanges: {bybit: {adapter: bybit, pipeline: market, environment: testnet,\n"
        "  credentials: {key: '${env:BYBIT_KEY}', secret: '${env:BYBIT_KEY}'}}}\n"
        "dashboard: {token: canary-canary-canary}\ntelemetry: {sample: 1%}\n"
    )
    old = old.replace("'${env:BYBIT_KEY}'", '"${env:BYBIT_KEY}"')
    new = old.replace("limit: 10", "limit: 20").replace("token: canary-", "token: canaries-").replace("testnet", "demo")
    new = new.replace(', secret: "${env:BYBIT_KEY}"', ', secret: "${env:BYBIT_SECRET}"').replace(
        "telemetry: {sample: 1%}\n", ""
    )
    made = plan(*files(tmp_path, old, new))
    assert made
    assert not made.changes
    assert {setting.path: (setting.before, setting.after) for setting in made.settings} == {
        "resources.rest.limit": ("10", "20"),
        "exchanges.bybit.environment": ("testnet", "demo"),
        "dashboard.token": ("(hidden)", "(hidden)"),
        "telemetry.sample": ("1%", None),
    }
    assert "canar" not in str(made)
    assert "a new session is opened" in str(made)
    assert "telemetry.sample: 1% -> nothing   (takes effect at the next start)" in str(made)


def test_policies_are_matched_as_their_states_are() -> None:
    """Equal ones first, then in their order from the inside; what stands in another order has moved."""
    old = (Retry(attempts=3), Breaker(), Bulkhead(3), Timeout(5))
    moved = differences("p", old, (Retry(attempts=3), Bulkhead(3), Breaker(), Timeout(5)))
    assert [str(change) for change in moved] == ["p: moved breaker"] or [str(c) for c in moved] == ["p: moved bulkhead"]
    one_more = differences("p", old, (*old, Bulkhead(4)))
    assert [(change.what, change.position) for change in one_more] == [("added", 4)]
    assert differences("p", old, old) == []
    (gone,) = differences("p", old, old[:2] + old[3:])
    assert (gone.what, gone.position, gone.lost) == (
        "removed", 2, "places taken, and calls that wait for one: the policy is gone",
    )  # fmt: skip
    (part,) = differences("p", (RateLimit("5/1s", key="ip"),), (RateLimit("5/1s", key="op"),))
    assert part.kept.startswith("what was sent")
    assert part.lost.startswith("all that was sent in the last window counts")

    class Odd:
        def bind(self, next: object, kit: object) -> object:
            return next

    (foreign,) = differences("p", (Odd(),), (Odd(),))
    assert (foreign.policy, foreign.what, foreign.kept, foreign.lost) == ("odd", "changed", "", "")
    assert foreign.fields[0].effect == "begins anew"


def test_the_linter_speaks_of_what_is_new(tmp_path: Path) -> None:
    """What it says of the new file and did not say of the old one; that makes no plan invalid."""
    old = "version: 1\npipelines:\n  market: [deadline: 30s, timeout: 5s]\n"
    made = plan(*files(tmp_path, old, old.replace("timeout: 5s", "timeout: 50s")))
    assert not made.problems
    assert any("new.yaml:3" in line and "[timeout-above-deadline]" in line for line in made.warnings), made.warnings
    assert str(made.warnings[0]) in str(made)
    assert not plan(*files(tmp_path, old, old + "# the same\n")).warnings
