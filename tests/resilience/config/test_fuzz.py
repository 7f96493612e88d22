"""Whatever a file holds, loading it gives pipelines or a ConfigError, and no other exception.

`FUZZ_FILES=5000 pytest tests/resilience/config/test_fuzz.py` tries more files than the default.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_fuzz import accident, write

import resilience
from exchanges.config import read_config
from resilience import ConfigError, Pipeline
from resilience.config import InvalidConfig, Problem, check_file

pytestmark = pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # shuffled lines make odd orders

FILES = int(os.environ.get("FUZZ_FILES", "600"))
PARTS = 10
_OTHERS = "this section belongs to a file for exchanges"


@pytest.fixture
def memory() -> Iterator[None]:
    """At most a gigabyte of address space more than now: what would eat the machine raises MemoryError instead."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def judged(path: Path) -> list[Problem]:
    """What loading says: as pipelines, and, where `resilience.load` reads no exchanges, as the exchanges' own file."""
    try:
        if b"exchanges" in path.read_bytes():
            read_config(str(path))
        else:
            pipelines = resilience.load(path, resources={"rest": list})
            assert all(isinstance(pipeline, Pipeline) for pipeline in pipelines.values())
    except InvalidConfig as error:
        return error.problems
    return []


def agrees(path: Path) -> tuple[bool, float]:
    """Whether the file is good, and the longer of the CPU seconds of loading and checking it, with all that is promised
    of their words: one printable line for each problem, at a place in the file; what cannot be loaded, check tells.
    """
    start = time.process_time()
    found = judged(path)
    between = time.process_time()
    checked = check_file(path)
    took = max(between - start, time.process_time() - between)
    for problem in found:
        assert str(problem).isprintable(), problem
        assert problem.line >= 1
        assert problem.col >= 1
    if not checked:  # all that it cannot know is what will be lent, and who will read the file
        assert all(problem.rule in ("unknown-resource", "missing-key") or _OTHERS in problem.text for problem in found)
    assert found or not checked
    return not found, took


def run(seeds: range, folder: Path) -> tuple[int, float, int]:
    """(how many files were good, the CPU seconds of the slowest, its seed)"""
    good, slowest, worst = 0, 0.0, 0
    for seed in seeds:
        dice = random.Random(seed)
        fine, took = agrees(write(folder, dice))
        good += fine
        if took > slowest:
            slowest, worst = took, seed
    return good, slowest, worst


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("part", range(PARTS))
def test_files_after_accidents_give_pipelines_or_a_config_error(part: int, tmp_path: Path) -> None:
    """Bytes, lines, words and data of four good files are disturbed. Checking agrees with loading."""
    each = FILES // PARTS
    good, slowest, worst = run(range(part * each, (part + 1) * each), tmp_path)
    assert 0 < good < each
    assert slowest < 1, f"seed {worst} took {slowest:.2f} s of CPU"


@pytest.mark.sweep
@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("part", range(20))
def test_two_hundred_thousand_files_after_accidents(part: int, tmp_path: Path) -> None:
    """The same at length."""
    seeds = range(1_000_000 + part * 10_000, 1_000_000 + (part + 1) * 10_000)
    good, slowest, worst = run(seeds, tmp_path)
    print(f"{good} of {len(seeds)} files are good; the slowest took {slowest * 1000:.0f} ms (seed {worst})")
    assert slowest < 1, f"seed {worst} took {slowest:.2f} s of CPU"


def test_a_file_takes_a_few_megabytes_at_most(tmp_path: Path) -> None:
    """Traced on a sample, and on files that are made to cost (of a size from which a file of 256 kB can be judged)."""
    hostile = [
        b"version: 1\npipelines: {a: [" + b"retry, " * 5_000 + b"]}\n",
        b"version: 1\npipelines:\n" + b"".join(b"  p%d: {extends: orders, retry: {}}\n" % n for n in range(500)),
        b"version: 1\npipelines: {a: [fallback: {value: " + b"[" * 58 + b"]" * 58 + b"}]}\n",
        b"a: " + b"x" * 260_000,
        b"[" * 200_000,
    ]
    path = tmp_path / "hostile.yaml"
    for data in [*hostile, *(accident(random.Random(seed)) for seed in range(5))]:
        path.write_bytes(data)
        tracemalloc.start()
        try:
            check_file(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20 * 2**20


def test_random_bytes_give_a_config_error(tmp_path: Path) -> None:
    """Not even text."""
    dice = random.Random(7)
    path = tmp_path / "noise.yaml"
    for _ in range(100):
        path.write_bytes(dice.randbytes(dice.randint(1, 400)))
        with pytest.raises(ConfigError):
            resilience.load(path)
