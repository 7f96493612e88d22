"""Mutation score of the policies and the core: which small changes of the code does no test notice?

Counts every mutant once: killed, timed out, survived, not reached by any test. A survivor must be justified by a line
in tests/mutation/survivors.toml. Exits with 1 where one is not, or where fewer than 95 % were noticed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from mutation.operators import Module, Mutant  # noqa: E402
from mutation.session import Reached, Warm, fresh  # noqa: E402

SURVIVORS = ROOT / "tests/mutation/survivors.toml"
PARTS = (
    "policies", "caching", "circuit", "concurrency", "hedging", "limiting", "orders", "retrying", "streams", "timing",
)  # fmt: skip
TARGETS = ("resilience/*.py", *(f"resilience/{part}/*.py" for part in PARTS))
NOT_CORE = ("__init__", "cli", "console")
TESTS = [
    "tests/resilience", "tests/issues", "tests/test_docs_policies.py",
    "--ignore=tests/resilience/dashboard", "--ignore=tests/resilience/telemetry",
    "--ignore=tests/resilience/test_cli.py",
]  # fmt: skip
WANTED = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("paths", nargs="*", help="modules; the policies and the core if none are named")
    parser.add_argument(
        "--sample", type=float, default=1.0, help="the share of mutants to try, the same ones each time"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tests", nargs="*", default=TESTS, help="where tests are looked for")
    parser.add_argument("--cap", type=float, default=float("inf"), help="stop testing a mutant after so many seconds")
    parser.add_argument(
        "--justified", action="store_true", help="try the justified ones as well: do they still survive?"
    )
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    parser.add_argument("--only", type=Path, help="a file: only those that an earlier run told of as survivors there")
    parser.add_argument("-k", metavar="TEXT", default="", help="only mutants whose name contains this")
    options = parser.parse_args()
    os.chdir(ROOT)
    paths = [Path(path) for path in options.paths] or targets()
    mutants = [mutant for path in paths for mutant in Module(path).mutants if options.k in mutant.key]
    mutants = [mutant for mutant in mutants if drawn(mutant, options.sample)]
    if options.only:
        told = {line.partition("survived: ")[2] for line in options.only.read_text().splitlines()}
        mutants = [mutant for mutant in mutants if repr(mutant) in told]
    if options.list:
        print(*(f"{mutant.module.path}:{mutant.lines.start}: {mutant.key}" for mutant in mutants), sep="\n")
        return
    begun = time.monotonic()
    justified = tomllib.loads(SURVIVORS.read_text())
    excused = set() if options.justified else {mutant for mutant in mutants if reason_for(mutant, justified)}
    verdicts = try_all([mutant for mutant in mutants if mutant not in excused], options)
    verdicts.update((repr(mutant), "survived") for mutant in excused)
    whole = options.sample == 1.0 and not options.k and not options.only
    sys.exit(report(mutants, verdicts, justified, time.monotonic() - begun, whole))


def reason_for(mutant: Mutant, justified: dict[str, dict[str, str]]) -> str:
    """Why this one may survive, "" if nobody said so."""
    return justified.get(str(mutant.module.path), {}).get(mutant.key, "")


def targets() -> list[Path]:
    found = [path for pattern in TARGETS for path in sorted(Path().glob(pattern))]
    return [path for path in found if path.stem not in NOT_CORE]


def drawn(mutant: Mutant, share: float) -> bool:
    """Whether the mutant is in the sample: decided by its name, so that a change elsewhere moves nothing."""
    digest = hashlib.sha256(repr(mutant).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def try_all(mutants: list[Mutant], options: argparse.Namespace) -> dict[str, str]:
    """The verdict on each mutant, by its name."""
    verdicts: dict[str, str] = {}

    def tell(mutant: Mutant, verdict: str) -> None:
        verdicts[repr(mutant)] = verdict
        if verdict in ("survived", "timed out"):
            print(f"{len(verdicts)}/{len(mutants)} {verdict}: {mutant}", file=sys.stderr, flush=True)

    reached = in_a_warm_process(mutants, options, tell)
    for name in reached.failed:
        print(f"LEFT OUT: {name} fails without any change", file=sys.stderr)
    again = ("could not be made", "not reached")  # where an object holds what the code lacks; what import itself calls
    left = [mutant for mutant in mutants if not mutant.function or verdicts[repr(mutant)] in again]
    for mutant, verdict in fresh(left, reached, options.jobs):
        tell(mutant, verdict)
    return verdicts


def in_a_warm_process(
    mutants: list[Mutant], options: argparse.Namespace, tell: Callable[[Mutant, str], None]
) -> Reached:
    """Run pytest once, in a process of its own: this one must stay without our modules."""
    reading, writing = os.pipe()
    by_name = {repr(mutant): mutant for mutant in mutants}
    pid = os.fork()
    if not pid:
        os.close(reading)
        pipe = os.fdopen(writing, "wb", buffering=0)

        def say(mutant: Mutant, verdict: str) -> None:
            pipe.write(pickle.dumps((repr(mutant), verdict)))

        warm = Warm(mutants, options.jobs, options.cap, say)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        plain = ["-q", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"]
        code = pytest.main([*plain, *options.tests], plugins=[warm])
        pipe.write(pickle.dumps((None, warm.reached if code in (0, 5) else int(code))))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        while True:
            name, verdict = pickle.load(pipe)  # noqa: S301 (our own child's)
            if name is None:
                break
            tell(by_name[name], verdict)
    os.waitpid(pid, 0)
    if not isinstance(verdict, Reached):
        sys.exit(f"pytest could not collect the tests (exit code {verdict}); run them first")
    return verdict


def report(
    mutants: list[Mutant],
    verdicts: dict[str, str],
    justified: dict[str, dict[str, str]],
    seconds: float,
    whole: bool,
) -> int:
    """Print the counts by module and every survivor that is not justified. The exit code."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    problems = []
    for mutant in mutants:
        path, verdict = str(mutant.module.path), verdicts[repr(mutant)]
        reason = reason_for(mutant, justified)
        if verdict in ("survived", "not reached"):
            verdict = "justified" if reason else verdict
            if not reason:
                problems.append(f'{verdict.upper()} {path}:{mutant.lines.start}\n{json.dumps(mutant.key)} = ""')
        elif reason and verdict in ("killed", "timed out"):
            problems.append(f"JUSTIFIED BUT {verdict.upper()} {path}:{mutant.lines.start}\n{json.dumps(mutant.key)}")
        elif verdict == "could not be made":
            problems.append(f"COULD NOT BE MADE {path}:{mutant.lines.start}\n{mutant.key}")
        counts[path][verdict] += 1
    if whole:
        known = {(str(mutant.module.path), mutant.key) for mutant in mutants}
        for path in counts:
            gone = [key for key in justified.get(path, {}) if (path, key) not in known]
            problems += [f"NO SUCH MUTANT {path}\n{json.dumps(key)}" for key in gone]
    print("\n".join(problems))
    return table(counts, seconds, bool(problems))


def table(counts: dict[str, Counter[str]], seconds: float, problems: bool) -> int:
    columns = ("killed", "timed out", "justified", "survived", "not reached")
    total: Counter[str] = Counter()
    print(f"{'mutants':38}{'all':>7}" + "".join(f"{name:>13}" for name in columns) + f"{'noticed':>10}")
    for path, found in [*counts.items(), ("all", total)]:
        total.update(found if found is not total else {})
        made = sum(found.values()) - found["same code"]
        noticed = (found["killed"] + found["timed out"]) / made if made else 1.0
        print(f"{path:38}{made:7}" + "".join(f"{found[name]:13}" for name in columns) + f"{noticed:10.1%}")
    made = sum(total.values()) - total["same code"]
    score = (total["killed"] + total["timed out"]) / made if made else 1.0
    good = score >= WANTED and not problems
    print(
        f"mutation score {score:.1%} of {made} mutants (wanted: at least {WANTED:.0%}, every survivor justified)",
        end="",
    )
    print(f"; {seconds:.0f} s{'' if good else '   MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    main()
