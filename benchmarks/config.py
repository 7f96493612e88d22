"""How long does it take to load and check a configuration of 500 lines, and to import `resilience`?

Prints one table of milliseconds: the median and the fastest of several rounds. Loading and checking are timed in this
process, with all that they import already there; what a first use adds is a row of its own, and so is `import
resilience` in a fresh process (``-X importtime``), with what asyncio and the standard library cost left out. Wanted:
load and check together under 100 ms, the import under 60 ms. ``--quick`` makes fewer rounds.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import resilience
from resilience.config import check_file

LINES = 500
STANDARD = "asyncio, contextvars, dataclasses, inspect, logging, random, typing, weakref"
_PIPELINE = """\
  market{n}:
    - deadline: 150s
    - retry:
        attempts: 4
        wait: {{expo: {{base: 2, factor: 1}}}}
        jitter: additive
        max_wait: 10s
    - breaker: {{failure_rate: 50%, window: 30s, min_calls: 10, open_for: 5s, probes: 3, key: host}}
    - rate_limit: {{rate: 600/5s, key: ip}}
    - bulkhead: {{limit: 30, queue: 256}}
    - timeout:
        seconds: 15s
        per_op:
          ticker: 10s
          ohlcv: 30s
          markets: 20s
    - pool: rest
  fast{n}:
    extends: market{n}
    timeout: 5s
    hedge: p95
  preset{n}:
    extends: low-latency
    rate_limit: {{rate: 10/s, key: op}}
"""
_ENTRY = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def configuration() -> str:
    """A file of `LINES` lines."""
    head = ["version: 1", "telemetry: {traces: off}", "pipelines:"]
    body = "".join(_PIPELINE.format(n=number) for number in range(LINES)).splitlines()
    whole = len(_PIPELINE.splitlines())
    count = (LINES - len(head)) // whole * whole
    lines = head + body[:count]
    return "\n".join([*lines, *(["# ..."] * (LINES - len(lines)))]) + "\n"


def timed(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The median and the fastest round, in milliseconds of CPU."""
    took = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        took.append((time.process_time() - start) * 1000)
    return statistics.median(took), min(took)


def first_use(path: Path) -> float:
    """Milliseconds of CPU that the first load of a process takes after `import resilience`."""
    code = (
        "import time, resilience\nstart = time.process_time()\n"
        f"resilience.load({str(path)!r}, resources={{'rest': list}})\n"
        "print((time.process_time() - start) * 1000)"
    )
    return float(_python("-c", code).stdout)


def imports() -> tuple[float, float]:
    """Milliseconds of `import resilience`: its own modules and those that only it brings, and all others."""
    standard = set(_imports(f"import {STANDARD}"))
    took = _imports("import resilience")
    own = sum(each for name, each in took.items() if name not in standard)
    return own, sum(took.values()) - own


def _imports(code: str) -> dict[str, float]:
    report = _python("-X", "importtime", "-c", code).stderr
    return {name: int(took) / 1000 for took, name in _ENTRY.findall(report)}


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)  # noqa: S603


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 3 if parser.parse_args().quick else 30
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipelines.yaml"
        path.write_text(configuration())
        assert check_file(path) == []
        pipelines = resilience.load(path, resources={"rest": list})
        arms: dict[str, Callable[[], object]] = {
            "load": lambda: resilience.load(path, resources={"rest": list}),
            "check": lambda: check_file(path),
        }
        rows = {name: timed(work, rounds) for name, work in arms.items()}
        firsts = [first_use(path) for _ in range(max(3, rounds // 5))]
        rows["first load of a process"] = statistics.median(firsts), min(firsts)
    own, others = zip(*(imports() for _ in range(max(3, rounds // 5))), strict=True)
    rows["import resilience (wanted: < 60)"] = statistics.median(own), min(own)
    rows["  asyncio and the like before it"] = statistics.median(others), min(others)
    rows["load and check (wanted: < 100)"] = tuple(  # type: ignore[assignment]
        rows["load"][place] + rows["check"][place] for place in (0, 1)
    )
    print(f"Python {platform.python_version()}, {LINES} lines, {len(pipelines)} pipelines, {rounds} rounds; ms")
    print(f"{'':32}{'median':>8}{'fastest':>9}")
    for name, (median, fastest) in rows.items():
        print(f"{name:32}{median:8.1f}{fastest:9.1f}")


if __name__ == "__main__":
    main()
