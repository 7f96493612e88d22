"""Fault plans are checked strictly, and strike exactly the requests that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exchanges.bybit.simulator import FaultPlan, FaultPlanError, Simulator
from exchanges.bybit.simulator.faults import FaultDice


def plan(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"version": 1, "rules": list(rules), **settings}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "the plan must be a mapping with the keys version, seed, rules, stall_seconds"),
        ({"rules": []}, "version is None, must be 1"),
        ({"version": True, "rules": []}, "version is True, must be 1"),
        (plan(sed=7), "the plan: unknown key 'sed', must be one of version, seed, rules, stall_seconds"),
        (plan(seed="7"), "seed is '7', must be a whole number"),
        (plan(stall_seconds=-1), "stall_seconds is -1, must be a number of seconds from 0 to 86400"),
        (plan(stall_seconds=float("nan")), "stall_seconds is nan, must be a number of seconds from 0 to 86400"),
        ({"version": 1, "rules": {}}, "rules is {}, must be a list"),
        (plan("stall"), "rules[0] must be a mapping with the keys"),  # type: ignore[arg-type]
        (plan({"fault": "stal", "rate": 1}), "rules[0]: fault is 'stal', must be one of reset_before_read, "),
        (plan({"fault": ["stall"], "rate": 1}), "rules[0]: fault is ['stall'], must be one of "),
        (plan({"fault": "stall", "rat": 1}), "rules[0]: unknown key 'rat'"),
        (plan({"fault": "stall"}), "rules[0]: needs rate, nth or reused_only"),
        (plan({"fault": "stall", "rate": 1.5}), "rules[0]: rate is 1.5, must be a share from 0 to 1"),
        (plan({"fault": "stall", "rate": -0.1}), "rules[0]: rate is -0.1, must be a share from 0 to 1"),
        (plan({"fault": "stall", "rate": "5"}), "rules[0]: rate is '5', must be a share from 0 to 1"),
        (plan({"fault": "stall", "rate": "101%"}), "rules[0]: rate is '101%', must be a share from 0 to 1"),
        (plan({"fault": "stall", "rate": True}), "rules[0]: rate is True, must be a share from 0 to 1"),
        (plan({"fault": "stall", "rate": 1, "nth": [1]}), "rules[0]: has both rate and nth"),
        (plan({"fault": "stall", "nth": 3}), "rules[0]: nth is 3, must be a list of request numbers from 1"),
        (plan({"fault": "stall", "nth": []}), "rules[0]: nth is [], must be a list of request numbers from 1"),
        (plan({"fault": "stall", "nth": [0]}), "rules[0]: nth is [0], must be a list of request numbers from 1"),
        (
            plan({"fault": "stall", "rate": 1, "reused_only": 1.5}),
            "rules[0]: reused_only is 1.5, must be true or false",
        ),
        (plan({"fault": "stall", "rate": 1, "operations": ["tickers"]}), "rules[0]: unknown operation 'tickers'"),
        (plan({"fault": "stall", "rate": 1, "operations": []}), "rules[0]: operations is [], must be a list of names"),
        (plan({"fault": "stall", "rate": 1, "operations": [["a"]]}), "rules[0]: unknown operation ['a']"),
        (
            plan({"fault": "stall", "rate": 1, "operations": ["funding_rate"]}),
            "rules[0]: unknown operation 'funding_rate' (the current rate is part of the ticker)",
        ),
        (plan({"fault": "html_500", "rate": 1, "seconds": 1}), "rules[0]: seconds means nothing to html_500"),
        (plan({"fault": "html_500", "rate": 1, "retry_after": 1}), "rules[0]: retry_after means nothing to html_500"),
        (plan({"fault": "http_429", "rate": 1, "retry_after": "1\r\nX: y"}), "rules[0]: retry_after is '1\\r\\nX: y'"),
        (
            plan({"fault": "stall", "rate": 0.7}, {"fault": "html_500", "rate": 0.4, "operations": ["ticker"]}),
            "the rates for ticker add up to 1.1, must be at most 1",
        ),
    ],
)
def test_a_wrong_plan_is_one_clear_line(data: Any, text: str) -> None:
    """The error names the place, what stands there and what should; it is a single line."""
    with pytest.raises(FaultPlanError) as caught:
        Simulator(faults=data)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("plan.json", '{"version": 1, "version": 1}', "has the key 'version' twice in one object"),
        ("plan.json", '{"version":\n x}', "line 2: is not JSON: "),
        ("plan.yaml", "version: 1\nversion: 1\n", "line 1: has the same key twice"),
        ("plan.yaml", "version: 1\nrules: [\n", "is not YAML: "),
        ("plan.yaml", "version: 1\nrules: [&a {fault: stall, rate: 0.1}, *a]\n", "holds a YAML alias"),
        ("plan.yaml", "version: !!python/name:os.system\n", "is not YAML: could not determine a constructor"),
        ("plan.yaml", "[" * 2000, "is nested too deeply"),
        ("plan.yaml", "version: 2\nrules: []\n", "version is 2, must be 1"),
        ("plan.yaml", "", "the plan must be a mapping"),
        ("plan.json", "\udcff", "is not UTF-8 text (byte 0)"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, name: str, content: str, text: str) -> None:
    """Whatever is wrong with a plan's file, the error is one line that begins with the file's name."""
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FaultPlanError) as caught:
        FaultPlan.load(path)
    message = str(caught.value)
    assert message.startswith(f"fault plan {path}: ")
    assert text in message
    assert "\n" not in message


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """A plan that is not there is named, with the reason of the operating system."""
    with pytest.raises(FaultPlanError, match=r"^fault plan .*absent\.yaml: No such file or directory$"):
        Simulator(faults=tmp_path / "absent.yaml")


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    """The same plan can be written as JSON, as YAML and as a mapping, and a rate as a percentage."""
    json_file, yaml_file = tmp_path / "plan.json", tmp_path / "plan.yaml"
    json_file.write_text('{"version": 1, "seed": 7, "rules": [{"fault": "stall", "rate": 0.05, "seconds": 2}]}')
    yaml_file.write_text("version: 1\nseed: 7\nstall_seconds: 2\nrules:\n  - {fault: stall, rate: 5%}\n")
    mapping = FaultPlan.parse(plan({"fault": "stall", "rate": 0.05, "seconds": 2.0}, seed=7))
    assert FaultPlan.load(json_file) == FaultPlan.load(yaml_file) == mapping


def test_scripted_rules_strike_by_number_and_before_rates() -> None:
    """`nth` counts all requests from 1, `operations` narrows it, and the first rule of several wins."""
    dice = FaultDice(
        FaultPlan.parse(
            plan(
                {"fault": "html_502", "rate": 1},
                {"fault": "stall", "nth": [2, 3], "operations": ["ticker"]},
                {"fault": "html_500", "nth": [2, 3]},
            )
        ),
        seed=0,
    )
    drawn = [
        dice.draw(number, operation, reused=False) for number, operation in enumerate(["ticker"] * 2 + ["time"], 1)
    ]
    assert [rule and rule.fault for rule in drawn] == ["html_502", "stall", "html_500"]


def test_rates_are_shares_of_the_requests_they_concern() -> None:
    """Over 20,000 requests each rule strikes the share it names within a percent, also beside other rules."""
    rules = plan(
        {"fault": "stall", "rate": 0.1},
        {"fault": "html_500", "rate": 0.2, "operations": ["ticker"]},
        {"fault": "reset_on_reuse", "rate": 0.3},
        seed=3,
    )
    dice = FaultDice(FaultPlan.parse(rules), seed=0)
    counts: dict[tuple[str, str | None], int] = {}
    for number in range(20_000):
        operation, reused = ("ticker", "time")[number % 2], number % 4 > 1
        rule = dice.draw(number, operation, reused)
        key = operation, rule.fault if rule else None
        counts[key] = counts.get(key, 0) + 1
    shares = {key: round(count / 10_000, 2) for key, count in counts.items()}
    assert shares[("ticker", "stall")] == pytest.approx(0.1, abs=0.011)
    assert shares[("time", "stall")] == pytest.approx(0.1, abs=0.011)
    assert shares[("ticker", "html_500")] == pytest.approx(0.2, abs=0.011)
    assert ("time", "html_500") not in shares
    assert shares[("ticker", "reset_on_reuse")] == pytest.approx(0.15, abs=0.011)  # half of the requests were fresh


def test_the_same_seed_gives_the_same_faults() -> None:
    """A plan's own seed decides, the simulator's only where the plan has none."""
    rules = {"fault": "stall", "rate": 0.5}

    def faults(data: dict[str, Any], seed: int) -> list[bool]:
        dice = FaultDice(FaultPlan.parse(data), seed)
        return [dice.draw(number, "time", reused=False) is not None for number in range(64)]

    assert faults(plan(rules, seed=7), 1) == faults(plan(rules, seed=7), 2)
    assert faults(plan(rules), 1) == faults(plan(rules), 1)
    assert faults(plan(rules), 1) != faults(plan(rules), 2)
