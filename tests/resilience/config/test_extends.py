"""extends: a pipeline that is another one, or a preset, with some policies otherwise."""

from __future__ import annotations

import time

import pytest

from resilience import (
    Adaptive,
    Bulkhead,
    Cache,
    Deadline,
    Hedge,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    Timeout,
)
from resilience.config import Document, InvalidConfig, build_pipelines
from resilience.config.extends import MOST_STEPS

BASE = """\
base:
  - deadline: 60s
  - retry: {attempts: 4, jitter: none}
  - breaker
  - rate_limit: {rate: 600/5s, key: op, max_wait: 2s, per_op: {order: 10/s}}
  - bulkhead: {limit: 30, queue: 9}
  - timeout: {seconds: 15s, per_op: {a: 10s, b: 20s}, adaptive: {floor: 1s}}
"""


def build(text: str) -> dict[str, Pipeline]:
    return build_pipelines(Document.parse(text, "f.yaml"), resources={"rest": list})


def child(text: str) -> Pipeline:
    return build(f"{BASE}child: {{extends: base, {text}}}\n")["child"]


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        build(text)
    return [str(problem).removeprefix("f.yaml:") for problem in caught.value.problems]


def kinds(pipeline: Pipeline) -> list[str]:
    return [type(policy).__name__ for policy in pipeline.policies]


def test_what_is_not_overridden_is_inherited() -> None:
    """Down to the same objects, which are configuration; what happens in one pipeline stays in it."""
    pipelines = build(f"{BASE}child: {{extends: base}}\n")
    assert pipelines["child"].policies == pipelines["base"].policies
    assert all(one is other for one, other in zip(pipelines["child"].policies, pipelines["base"].policies, strict=True))
    assert pipelines["child"].name == "child"


def test_settings_are_replaced_one_by_one() -> None:
    """And those that are not named stay."""
    assert child("retry: {attempts: 2}").policies[1] == Retry(2, jitter="none")
    assert child("bulkhead: {queue: 0}").policies[4] == Bulkhead(30)
    assert child("breaker: {}").policies == build(BASE)["base"].policies


def test_a_value_alone_is_the_one_required_setting() -> None:
    """As in a list; the other settings are inherited."""
    assert child("deadline: 50s").policies[0] == Deadline(50)
    assert child("bulkhead: 3").policies[4] == Bulkhead(3, queue=9)


def test_a_new_value_begins_without_the_inherited_exceptions() -> None:
    """Or `timeout: 40s` would mean something else for the operations that the base made exceptions of."""
    adaptive = Adaptive(floor=1)
    assert child("timeout: 40s").policies[5] == Timeout(40, adaptive=adaptive)
    assert child("timeout: {seconds: 40s}").policies[5] == Timeout(40, adaptive=adaptive)
    assert child("timeout: {seconds: 40s, per_op: {c: 4s}}").policies[5] == Timeout(40, {"c": 4}, adaptive)
    assert child("rate_limit: 5/s").policies[3] == RateLimit("5/s", key="op", max_wait=2)


def test_exceptions_alone_are_merged_by_operation() -> None:
    """One more, and one otherwise."""
    made = child("timeout: {per_op: {b: 5s, c: 4s}}").policies[5]
    assert made == Timeout(15, {"a": 10, "b": 5, "c": 4}, Adaptive(floor=1))


@pytest.mark.parametrize("word", ["off", "null", "~", ""])
def test_null_and_off_take_a_policy_away(word: str) -> None:
    """Also one that the base does not have, so that a base may change."""
    pipeline = build(f"{BASE}child:\n  extends: base\n  breaker: {word}\n  hedge: {word}\n")["child"]
    assert kinds(pipeline) == ["Deadline", "Retry", "RateLimit", "Bulkhead", "Timeout"]


def test_a_resource_that_is_called_off_is_named_at_length() -> None:
    """The word alone, in quotes or not, takes the pool away."""
    node = Document.parse("a: [pool: rest]\nb: {extends: a, pool: {name: off}}\nc: {extends: a, pool: 'off'}\n")
    pipelines = build_pipelines(node, resources={"rest": list, "off": list})
    assert pipelines["b"].policies == (Pool(list, name="off"),)
    assert pipelines["c"].policies == ()


def test_new_policies_stand_where_the_canonical_order_has_them() -> None:
    """Whatever order they are written in."""
    made = child(
        "pool: rest, chaos: {rate: 0, latency: 1s}, hedge: 1s, shed: {}, cache: 1s, coalesce: {}, fallback: {value: 1}"
    )
    assert kinds(made) == [
        "Fallback", "Cache", "Coalesce", "Deadline", "Retry", "Hedge", "Shed", "Breaker", "RateLimit", "Bulkhead",
        "Timeout", "Pool", "Chaos",
    ]  # fmt: skip
    assert (made.policies[1], made.policies[5]) == (Cache(1), Hedge(1))


def test_an_adaptive_limit_stands_where_a_bulkhead_does() -> None:
    """Above the timeout, and beneath the bulkhead if there is one."""
    assert kinds(child("adaptive_limit: {}"))[4:] == ["Bulkhead", "AdaptiveLimit", "Timeout"]
    pipelines = build("a: [adaptive_limit, timeout: 1s]\nb: {extends: a, bulkhead: 3}\n")
    assert kinds(pipelines["b"]) == ["AdaptiveLimit", "Bulkhead", "Timeout"]


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")
def test_in_another_order_a_new_policy_stands_beneath_all_that_belong_outside_it() -> None:
    """The base's own order is not touched."""
    text = "a: [timeout: 1s, retry: {attempts: 2}, coalesce]\nb: {extends: a, breaker: {}, deadline: 9s}\n"
    assert kinds(build(text)["b"]) == ["Timeout", "Retry", "Coalesce", "Deadline", "Breaker"]
    assert kinds(build(text)["a"]) == ["Timeout", "Retry", "Coalesce"]


def test_a_base_may_extend_and_may_stand_anywhere_in_the_file() -> None:
    """Overrides are applied from the root of the family downwards."""
    text = f"c: {{extends: b, deadline: 70s}}\nb: {{extends: base, deadline: 80s, retry: off}}\n{BASE}"
    pipelines = build(text)
    assert list(pipelines) == ["c", "b", "base"]
    assert pipelines["c"].policies[0] == Deadline(70)
    assert kinds(pipelines["c"])[:2] == ["Deadline", "Breaker"]


def test_a_name_means_the_files_own_pipeline_and_else_a_preset() -> None:
    """A pipeline that extends its own name can only mean the preset."""
    pipelines = build("orders: {extends: orders, deadline: 9s}\nmine: {extends: orders, retry: off}\n")
    assert pipelines["orders"].policies[0] == Deadline(9)
    assert pipelines["mine"].policies[0] == Deadline(9)
    assert "Retry" in kinds(pipelines["orders"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {extends: b}\nb: {extends: c}\nc: {extends: a}\n", "3:14: c.extends: extends itself: a -> b -> c"),
        ("a: {extends: a}\n", "1:14: a.extends: a pipeline cannot extend itself, and no pipeline or "),
        ("a: {extends: bsae}\n" + BASE, "1:14: a.extends: 'bsae': no pipeline or preset has this name; did you "),
        ("a: {extends: market_data}\n", "1:14: a.extends: 'market_data': no pipeline or preset "
            "has this name; did you mean market-data? (in this file: none; presets: market-data, orders, "),
        ("a: {extends: [b, c]}\n", "1:14: a.extends: found a list, must be the name of a pipeline of this file"),
        ("a: {extends: }\n", "1:14: a.extends: found nothing, must be the name"),
        ("a: {extends: *b}\n", "1:14: a.extends: the alias *b is not allowed"),
        ("a: {extends: orders, tiemout: 4s}\n", "1:22: a.tiemout: unknown policy 'tiemout'; did you mean timeout?"),
        ("a: {extends: orders, timeout: 4}\n", "1:31: a.timeout: found '4', must be a time with its unit"),
        ("a: {extends: orders, timeout: {secs: 4s}}\n", "1:32: a.timeout.secs: unknown key; did you mean seconds?"),
        ("a: {extends: orders, timeout: {per_op: 4s}}\n", "1:40: a.timeout.per_op: found '4s', must be a mapping"),
        ("a: {extends: orders, retry: 3}\n", "1:29: a.retry: found '3', must be a mapping of attempts"),
        ("a: {extends: orders, retry: {attempts: 0}}\n", "1:40: a.retry.attempts: Retry: attempts is 0, must be"),
        ("a: {extends: orders, hedge: {extra: 1}}\n", "1:29: a.hedge: the key delay is missing"),
        ("a: {extends: orders, pool: main}\n", "1:28: a.pool: no resource is named 'main' (known: rest)"),
        ("a: {retry: {}}\n", "1:4: a: found a mapping, must be a list of policies, "),
        ("b: [timeout: 1s, timeout: 2s]\na: {extends: b, timeout: 4s}\n", "2:17: a.timeout: 2 policies of the "
            "base are a timeout, so which is meant? write this pipeline as a list"),
        ("b: [timeout: 1]\na: {extends: b, timeout: {per_op: {x: 1s}}}\n", "1:14: b[0].timeout: found '1', must be"),
        ("b: 5\na: {extends: b}\n", "1:4: b: found '5', must be a list of policies"),
        ("b: *x\na: {extends: b, timeout: 1s}\n", "1:4: b: the alias *x is not allowed"),
        ("b: [retry: *x]\na: {extends: b, retry: {attempts: 1}}\n", "1:12: b[0].retry: the alias *x is not allowed"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_and_where_it_was_written(text: str, expected: str) -> None:
    """In the base if it is the base's, however many pipelines inherit it."""
    try:
        (found,) = problems(text)
    except InvalidConfig as error:
        raise AssertionError(error.problems) from None
    assert found.startswith(expected)


def test_all_problems_of_a_family_are_told_at_once() -> None:
    """A broken base does not hide an unknown policy in what extends it."""
    found = problems("a: {extends: nobody, tiemout: 3s}\nb: {extends: a, breakr: {}}\nc: {extends: a}\n")
    assert [line.split(": ")[1] for line in found] == ["a.extends", "a.tiemout", "b.breakr"]


def test_a_long_family_is_refused() -> None:
    """At a depth that nobody could follow."""
    lines = [f"p{n}: {{extends: p{n + 1}}}\n" for n in range(MOST_STEPS + 1)] + [f"p{MOST_STEPS + 1}: [breaker]\n"]
    for order in (lines, lines[::-1]):
        (found,) = problems("".join(order))
        assert f" p0: more than {MOST_STEPS} pipelines extend one another" in found
        assert len(build("".join(line for line in order if "p0" not in line))) == MOST_STEPS + 1


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")
@pytest.mark.parametrize(
    "text",
    [
        "b: [" + "breaker, " * 3_000 + "]\n" + "".join(f"p{n}: {{extends: b}}\n" for n in range(3_000)),
        "b: [timeout: {seconds: 1s, per_op: {" + ", ".join(f"o{n}: 1s" for n in range(4_000)) + "}}]\n"
        + "".join(f"p{n}: {{extends: b, timeout: {{per_op: {{x: 1s}}}}}}\n" for n in range(1_500)),
    ],
    ids=["policies", "exceptions"],
)  # fmt: skip
def test_a_file_cannot_inherit_more_than_a_large_file_could_hold(text: str) -> None:
    """Or a few kilobytes would stand for millions of policies, as the aliases would that are refused."""
    before = time.process_time()
    with pytest.raises(InvalidConfig) as caught:
        build(text)
    assert {problem.rule for problem in caught.value.problems} <= {"size", "too-many"}
    assert time.process_time() - before < 5  # it takes a fifth of a second
