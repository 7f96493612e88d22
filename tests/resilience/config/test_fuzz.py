"""Whatever a file holds, loading it gives pipelines or a ConfigError, and no other exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import resilience
from resilience import ConfigError, Pipeline
from resilience.config import InvalidConfig, Problem, check_file

pytestmark = pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # shuffled lines make odd orders

SEED = """\
version: 1
pipelines:
  market:
    - deadline: 150s
    - retry: {attempts: 4, wait: {expo: {base: 2, factor: 1}}, jitter: additive, max_wait: 10s, on: [OSError]}
    - hedge: 250ms
    - breaker: {failure_rate: 50%, window: 30s, min_calls: 10, open_for: 5s, probes: 3, key: host}
    - rate_limit: {rate: 600/5s, key: ip}
    - bulkhead: {limit: 30, queue: 256, max_wait: null}
    - timeout: {seconds: 15s, per_op: {ticker: 10s, "markets": 20s}}
    - pool: rest
  other: [retry, breaker, {fallback: {value: {a: [1, 0.5, true, null, "x"]}}}]
telemetry: {traces: off, sample: 1%, parenting: auto, otlp: null}
"""
PIECES = [
    "&a ", "*a", "!!python/object/apply:os.system ", "!x ", "<<: ", "? ", "- ", ": ", "{", "}", "[", "]", "|\n",
    ">-\n", "'", '"', "#", "%", "@", "`", "\t", "\n", "\r", "\x00", "\x85", "\u2028", "\ufeff", "\U0001f600",
    "---\n", "...\n", "${env:HOME}", "${env:BYBIT_X}", "${", "0x1F", "010", "1e3", "1e999", "12:30:45", "no", "on",
    "null", "~", ".inf", "-.nan", "-1", "0", "9" * 400, "9" * 400 + "s", "0s", "0%", "0/s", "1/0s", "version",
    "retry", "true", "\\", "\\x", "=", ",", "  ", "[" * 100, "{a: " * 70, "a: 1\n" * 120, "2024-01-01",
    "!!binary abc", "[]", "{}", "''", "[null]", "{null: null}", "\U0010ffff", "é" * 200,
]  # fmt: skip


def mutate(text: str, dice: random.Random) -> str:
    """One to four small accidents: insertions, deletions, swaps of lines, repetitions, replaced words, a cut."""
    for _ in range(dice.randint(1, 4)):
        at, to = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        lines = text.split("\n")
        kind = dice.randrange(7)
        if kind == 0:
            text = text[:at] + dice.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[min(to, at + dice.randint(1, 30)) :]
        elif kind == 2:
            dice.shuffle(lines)
            text = "\n".join(lines)
        elif kind == 3:
            text = text[:at] + text[at:to] * 2 + text[to:]
        elif kind == 4:
            words = text.split(" ")
            words[dice.randrange(len(words))] = dice.choice(PIECES)
            text = " ".join(words)
        elif kind == 5:
            text = text[:at] + chr(dice.choice((dice.randrange(128), dice.randrange(0x10000)))) + text[at:]
        else:
            text = text[:to] if dice.random() < 0.3 else text
        text = text or SEED
    return text


@pytest.mark.parametrize("seed", range(6))
def test_mutated_files_give_pipelines_or_a_config_error(seed: int, tmp_path: Path) -> None:
    """A hundred a seed. Every problem is one printable line with a position in the file, and checking agrees."""
    dice = random.Random(seed)
    path = tmp_path / "mutated.yaml"
    good = bad = 0
    for _ in range(100):
        text = mutate(SEED, dice)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        found: list[Problem] = []
        try:
            pipelines = resilience.load(path, resources={"rest": list})
            assert all(isinstance(pipeline, Pipeline) for pipeline in pipelines.values())
            good += 1
        except InvalidConfig as error:
            found = error.problems
            bad += 1
        for problem in found:
            assert str(problem).isprintable(), problem
            assert 1 <= problem.line <= len(text) + 1
            assert problem.col >= 1
        assert bool(check_file(path)) == any(problem.rule != "unknown-resource" for problem in found)
    assert good > 0
    assert bad > 50


def test_random_bytes_give_a_config_error(tmp_path: Path) -> None:
    """Not even text."""
    dice = random.Random(7)
    path = tmp_path / "noise.yaml"
    for _ in range(100):
        path.write_bytes(dice.randbytes(dice.randint(1, 400)))
        with pytest.raises(ConfigError):
            resilience.load(path)
