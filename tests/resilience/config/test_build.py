"""build_pipelines: a list of policies in the file becomes the same objects that Python code would write."""

from __future__ import annotations

from typing import Any

import pytest

from resilience import (
    Adaptive,
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Coalesce,
    ConfigError,
    Deadline,
    Fallback,
    Hedge,
    Kind,
    Op,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    RetryBudget,
    RetryQuota,
    Shed,
    Timeout,
    Verdict,
)
from resilience.config import Document, InvalidConfig, Problems, build_pipelines
from resilience.config.registry import POLICIES
from resilience.policies.chaos import Fault
from resilience.testing import Recorder, Script, virtual


def opened() -> str:
    return "a session"


def build(policies: str, **options: Any) -> dict[str, Pipeline]:
    options.setdefault("resources", {"rest": opened})
    return build_pipelines(Document.parse(f"p:\n{policies}", "f.yaml"), **options)


def problems(policies: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        build(policies, **options)
    return [str(problem).removeprefix("f.yaml:") for problem in caught.value.problems]


REACHABLE = {
    "- deadline: {seconds: 60s}": Deadline(60),
    "- deadline: 60s": Deadline(60),
    "- deadline: {seconds: 60s, per_op: {markets: 2m}}": Deadline(60, per_op={"markets": 120}),
    "- retry": Retry(),
    "- retry: {}": Retry(),
    "- retry: {attempts: 4, wait: {expo: {base: 2, factor: 1}}, jitter: additive, max_wait: 10s}":
        Retry(4, wait={"expo": {"base": 2, "factor": 1}}, jitter="additive", max_wait=10),
    "- retry: {on: NetworkError, wait: 250ms, jitter: none, max_retry_after: 1m}":
        Retry(on="NetworkError", wait=0.25, jitter="none", max_retry_after=60),
    "- retry: {on: [NetworkError, OSError], wait: 0, jitter: null}":
        Retry(on=("NetworkError", "OSError"), wait=0, jitter=None),
    "- retry: {max_duration: 5s, throttled_wait: {fibo: {}}, abort_on: KeyError, budget: null, nested: true}":
        Retry(max_duration=5, throttled_wait={"fibo": {}}, abort_on="KeyError", budget=None, nested=True),
    "- retry: {budget: {}, throttled_wait: null}": Retry(),
    "- retry: {budget: {ratio: 10%, per_second: 5, window: 1m, key: host}, throttled_wait: 2s}":
        Retry(budget=RetryBudget(0.1, 5, 60, "host"), throttled_wait=2),
    "- retry: {budget: {tokens: 100, transient: 10, throttle: 2, success: 3, key: op}}":
        Retry(budget=RetryQuota(100, 10, 2, 3, "op")),
    "- hedge: p95": Hedge(delay="p95"),
    "- hedge: {delay: p99.9, initial: 2s, least: 50ms, budget: {throttle: 9}}":
        Hedge("p99.9", initial=2, least=0.05, budget=RetryQuota(throttle=9)),
    "- hedge: 250ms": Hedge(delay=0.25),
    "- hedge: {delay: 250ms, extra: 2}": Hedge(delay=0.25, extra=2),
    "- shed": Shed(),
    "- shed: {k: 1.5, k_critical: 3, k_sheddable: null, window: 2m, floor: 5%, min_calls: 20, priority: critical}":
        Shed(1.5, k_critical=3, window=120, floor=0.05, min_calls=20, priority="critical"),
    "- breaker": Breaker(),
    "- breaker: {failure_rate: 50%, window: 30s, min_calls: 10, open_for: 5s, probes: 3, key: host}":
        Breaker(0.5, window=30, min_calls=10, open_for=5, probes=3, key="host"),
    "- breaker: {failure_rate: null, consecutive: 5, on: [OSError]}":
        Breaker(None, consecutive=5, on=("OSError",)),
    "- rate_limit: 600/5s": RateLimit("600/5s"),
    "- rate_limit: {rate: 10/s, key: ip, max_wait: 2s}": RateLimit("10/s", key="ip", max_wait=2),
    "- bulkhead: 30": Bulkhead(30),
    "- bulkhead: {limit: 30, queue: 256, max_wait: 500ms}": Bulkhead(30, queue=256, max_wait=0.5),
    "- adaptive_limit": AdaptiveLimit(),
    "- timeout: 10s": Timeout(10),
    "- timeout: {seconds: 15s, per_op: {ticker: 10s, on: 20s}}": Timeout(15, per_op={"ticker": 10, "on": 20}),
    "- timeout: {seconds: 15s, adaptive: {}}": Timeout(15, adaptive=Adaptive()),
    "- timeout: {seconds: 15s, adaptive: {quantile: 95%, factor: 3, floor: 1s, ceiling: 20s, window: 5m}}":
        Timeout(15, adaptive=Adaptive(0.95, 3, 1, 20, 300)),
    "- pool: rest": Pool(opened, name="rest"),
    "- pool: {name: rest, max_wait: 2s, broken: [OSError, Gone]}":
        Pool(opened, name="rest", max_wait=2, broken=("OSError", "Gone")),
    "- fallback: {value: null}": Fallback(value=None),
    "- fallback: {value: {price: [1, '2']}, on: OSError}": Fallback(value={"price": [1, "2"]}, on="OSError"),
    "- fallback: {last_good: 30s, most: 50}": Fallback(last_good=30, most=50),
    "- cache: 5s": Cache(5),
    "- cache: {ttl: 1m, most: 50, stale_while_revalidate: 10s, stale_if_error: 1h}": Cache(60, 50, 10, 3600),
    "- coalesce": Coalesce(),
    "- chaos: {rate: 10%, enabled: true, fault: {error: TimeoutError}, latency: 250ms, ops: [ticker], after: true}":
        Chaos(0.1, enabled=True, fault=Fault("TimeoutError"), latency=0.25, ops=("ticker",), after=True),
    "- chaos: {rate: 1%, result: null}": Chaos(0.01, result=None),
}  # fmt: skip


@pytest.mark.parametrize("text", REACHABLE)
def test_a_policy_from_a_file_equals_the_one_from_code(text: str) -> None:
    """Keys are the fields; a single required value may stand alone; a bare name means all defaults."""
    assert build(text)["p"].policies == (REACHABLE[text],)


def test_every_policy_can_be_written_in_a_file() -> None:
    """The registry and the table above name the same policies."""
    assert {text.split(":")[0].removeprefix("- ") for text in REACHABLE} == set(POLICIES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- bulkhed: 30", "2:3: p[0].bulkhed: unknown policy 'bulkhed'; did you mean bulkhead? (allowed: fallback, "),
        ("- retires", "2:3: p[0]: unknown policy 'retires'; did you mean "),
        ("- timeout", "2:3: p[0]: timeout needs seconds: write - timeout: and its value"),
        ("- pool", "2:3: p[0]: pool needs name: write - pool: and its value"),
        ("- timeout:", "2:11: p[0].timeout: found nothing, must be a time with its unit"),
        ("- timeout: 10", "2:12: p[0].timeout: found '10', must be a time with its unit"),
        ("- timeout: {per_op: {}}", "2:12: p[0].timeout: the key seconds is missing"),
        ("- timeout: {seconds: 1s, per_op: {a: 0s}}", "2:34: p[0].timeout.per_op: Timeout: per_op['a'] is 0.0, "),
        ("- timeout: 0s", "2:12: p[0].timeout: Timeout: seconds is 0.0, must be a number above 0"),
        ("- retry:", "2:3: p[0].retry: found nothing, must be - retry alone for "),
        ("- retry: 3", "2:10: p[0].retry: found '3', must be a mapping of attempts, on, "),
        ("- retry: {atempts: 3}", "2:11: p[0].retry.atempts: unknown key; did you mean attempts? (allowed: attempts, "),
        ("- retry: {attempts: 0}", "2:21: p[0].retry.attempts: Retry: attempts is 0, must be a whole number "),
        ("- retry: {jitter: ful}", "2:19: p[0].retry.jitter: found 'ful', must be one of none, full, "),
        ("- retry: {result: check}", "2:19: p[0].retry.result: found 'check', but this is something that only Python "),
        ("- retry: {on: [Not.An.Import]}", "2:15: p[0].retry.on: Retry: on names 'Not.An.Import', must name "),
        ("- retry: {wait: {runtime: {value: f}}}", "2:18: p[0].retry.wait.runtime: unknown key (allowed: "),
        ("- retry: {budget: {ratio: 200%}}", "2:27: p[0].retry.budget.ratio: found '200%', must be a share"),
        ("- retry: {budget: {tokens: 0}}", "2:28: p[0].retry.budget.tokens: RetryQuota: tokens is 0, must be a whole "),
        ("- retry: {budget: {token: 9}}", "2:20: p[0].retry.budget.token: unknown key (allowed: ratio, per_second, "),
        ("- retry: {budget: {ratio: 1, tokens: 9}}", "2:30: p[0].retry.budget.tokens: unknown key (allowed: ratio, "),
        ("- retry: {budget: 9}", "2:19: p[0].retry.budget: found '9', must be a mapping of ratio, "),
        ("- hedge: p0", "2:10: p[0].hedge: found 'p0', must be a time with its unit (ms, s, m, h), such as 250ms "),
        ("- hedge: 1sec", "2:10: p[0].hedge: found '1sec', must be a time with its unit (ms, s, m, h), such as 250ms "),
        ("- retry: {attempts: 3}\n  pool: rest", "2:3: p[0]: found a mapping with the keys retry, pool, must be one "),
        ("- []", "2:3: p[0]: found an empty list, must be one policy, such as - retry: {attempts: 3}; begin each "),
        ("- {}", "2:3: p[0]: found an empty mapping, must be one policy"),
        ("- null", "2:3: p[0]: unknown policy 'null'"),
        ("- ${env:BYBIT_X}", "2:3: p[0]: found the value of ${env:BYBIT_X}, must be the name of a policy"),
        ("- bulkhead: 010", "2:13: p[0].bulkhead: found '010', must be a whole number; write it in plain digits"),
        ("- breaker: {failure_rate: null}", "2:27: p[0].breaker.failure_rate: Breaker: failure_rate "),
        ("- breaker: {failure_rate: 50}", "2:27: p[0].breaker.failure_rate: found '50', must be a share, such as 50% "),
        ("- rate_limit: 600", "2:15: p[0].rate_limit: found '600', must be calls in a time"),
        ("- rate_limit: 600 per 5s", "2:15: p[0].rate_limit: '600 per 5s' is no rate: write calls/window"),
        ("- rate_limit: {rate: 5s, key: ip}", "2:22: p[0].rate_limit.rate: '5s' is no rate: write calls/window"),
        ("- pool: ret", "2:9: p[0].pool: no resource is named 'ret'; did you mean rest? (known: rest)"),
        ("- pool: {name: other}", "2:16: p[0].pool.name: no resource is named 'other' (known: rest)"),
        ("- pool: {name: rest, open: f}", "2:22: p[0].pool.open: unknown key; did you mean "),
        ("- fallback: {call: f}", "2:20: p[0].fallback.call: found 'f', but this is something that only Python "),
        ("- cache: {ttl: 5s, key: f}", "2:25: p[0].cache.key: found 'f', but this is something that only Python "),
        ("- chaos: 10%", "2:10: p[0].chaos: Chaos: nothing is injected; give fault, latency, result or behaviour"),
        ("- chaos: {rate: 10%, fault: {error: KeyError}}", "2:37: p[0].chaos.fault.error: found 'KeyError', must be "),
        ("- chaos: {rate: 10%, fault: f}", "2:29: p[0].chaos.fault: found 'f', must be a mapping of error"),
        ("- chaos: {rate: 10%, enabled: 'yes'}", "2:31: p[0].chaos.enabled: found 'yes' in quotes, must be "),
        ("  retry: {}", "2:3: p: found a mapping, must be a list of policies, outermost first"),
        ("", "1:3: p: found nothing, must be a list of policies, outermost first"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies' own checks are told at the key that they name, else at the policy."""
    monkeypatch.setenv("BYBIT_X", "retry")
    (found,) = problems(text)
    assert found.startswith(expected)


def test_the_section_itself_must_be_a_mapping() -> None:
    """Of names to lists."""
    with pytest.raises(ConfigError, match=r"f.yaml:1:1: \$: found a list, must be a mapping of names to lists of "):
        build_pipelines(Document.parse("[a]", "f.yaml"))


def test_what_is_broken_in_the_text_is_told_once() -> None:
    """An alias where a policy, a list or the whole section should stand, beside other problems."""
    for text in ("p: *x", "p: [*x]", "*x", "p: [retry: *x]", "p: [timeout: *x]"):
        collected = Problems()
        root = Document.parse(text, "f.yaml", problems=collected)
        with pytest.raises(InvalidConfig) as caught:
            build_pipelines(root)
        assert [problem.rule for problem in caught.value.problems] == ["alias"]
        assert caught.value.problems == collected.found


def test_a_secret_does_not_show_in_a_policys_own_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a policy says of a value that came from the environment names the variable."""
    monkeypatch.setenv("BYBIT_X", "canary-value")
    (found,) = problems("- rate_limit: ${env:BYBIT_X}")
    assert found.startswith("2:15: p[0].rate_limit: '${env:BYBIT_X}' is no rate")
    (found,) = problems("- pool: ${env:BYBIT_X}")
    assert found.startswith("2:9: p[0].pool: no resource is named '${env:BYBIT_X}'")


# -- what the pipelines are made with -------------------------------------------------------------------------


@virtual
async def test_pipelines_of_one_file_share_their_pools() -> None:
    """One resource serves them all, and closing either closes it."""
    sessions = iter(("first", "second"))
    node = Document.parse("a: [pool: rest]\nb: [pool: rest]\n")
    pipelines = build_pipelines(node, resources={"rest": lambda: next(sessions)})
    assert await pipelines["a"].run(Script(lambda lent: lent)) == "first"
    assert await pipelines["b"].run(Script(lambda lent: lent)) == "first"
    await pipelines["a"].aclose()
    assert await pipelines["b"].run(Script(lambda lent: lent)) == "second"


@virtual
async def test_a_resource_may_be_the_arguments_of_a_pool_or_a_pool() -> None:
    """What the file says goes before what was supplied."""
    closed: list[str] = []
    supplied = {"open": lambda: "lent", "close": closed.append, "max_wait": 9.0, "broken": KeyError}
    pipeline = build("- pool: {name: rest, max_wait: 1s}", resources={"rest": supplied})["p"]
    (pool,) = pipeline.policies
    assert pool == Pool(supplied["open"], name="rest", close=closed.append, max_wait=1, broken=KeyError)  # type: ignore[arg-type]
    assert await pipeline.run(Script(lambda lent: lent)) == "lent"
    await pipeline.aclose()
    assert closed == ["lent"]
    ready = Pool(opened, name="mine", max_wait=3)
    (pool,) = build("- pool: rest", resources={"rest": ready})["p"].policies
    assert pool == Pool(opened, name="rest", max_wait=3)


@pytest.mark.parametrize("resource", [5, {"close": opened}, {"open": 5}, None])
def test_a_resource_that_cannot_be_one_is_an_error(resource: Any) -> None:
    """A function without arguments, or the arguments of Pool."""
    with pytest.raises(ConfigError, match=r"resources\['rest'\] is of type \w+, must be a function that makes"):
        build("- retry", resources={"rest": resource})


def test_without_resources_the_error_says_how_to_supply_them() -> None:
    """The first thing that a newcomer to pools meets."""
    (found,) = problems("- pool: rest", resources=None)
    assert found == "2:9: p[0].pool: no resource is named 'rest' (supply it: resources={'rest': open})"


@virtual
async def test_names_meanings_scope_and_observers_are_handed_on() -> None:
    """`prefix` stands before the name as it is; `classify` and `observers` are those of every pipeline."""
    recorder = Recorder()
    shared: dict[str, Any] = {}
    pipelines = build_pipelines(
        Document.parse("a: [{retry: {wait: 0}}, rate_limit: {rate: 9/s, key: ip}]\nb: []\n"),
        classify=lambda exc, op: Verdict(Kind.FAILED, "ours"),
        prefix="bybit.",
        scope="bybit",
        shared=shared,
        observers=(observer for observer in (recorder,)),
    )
    assert {name: pipeline.name for name, pipeline in pipelines.items()} == {"a": "bybit.a", "b": "bybit.b"}
    assert await pipelines["a"].run(Script(KeyError(), "ok"), op=Op("x")) == "ok"
    assert await pipelines["b"].run(Script("ok")) == "ok"
    assert [event.pipeline for event in recorder.calls] == ["bybit.a", "bybit.b"]
    assert [event.verdict and event.verdict.reason for event in recorder.attempts] == ["ours", None, None]
    assert [key for key in shared if key.startswith("rate_limit:bybit/")]
