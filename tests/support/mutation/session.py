"""Runs the tests against mutants, each in a forked process, so that importing and collecting is paid for once.

A change inside a function is made in a child of the warm pytest process, by giving the function objects the code that
the changed tree compiles to. What happens at import (defaults, constants) cannot be changed there: for that a child is
forked that has imported nothing of ours yet. Only the tests that reached the changed lines are run, the quick ones
first, until one fails.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.machinery
import os
import pickle
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any

import pytest

from .operators import Mutant

__all__ = ["Reached", "Warm", "children", "fresh"]

KILLED, SURVIVED, SAME, BROKEN = 1, 0, 77, 78
_HISTORIES = 50  # of each state machine: a mutant that matters is met early
_MEMORY = 3 << 30
_AT_IMPORT = 15.0  # seconds of tests for a change that is made at import: it is met by any test that uses the module


@dataclass
class Reached:
    """What the unchanged tests did: `lines` has the tests by file and line, `seconds` how long each took."""

    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: list[Reached]) -> Reached:
        """What several processes found, each with a part of the tests."""
        whole = cls()
        for part in parts:
            whole.seconds.update(part.seconds)
            whole.failed += part.failed
            for path, lines in part.lines.items():
                home = whole.lines.setdefault(path, {})
                for line, names in lines.items():
                    home.setdefault(line, []).extend(names)
        return whole

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that reached the changed lines, the quick ones first."""
        lines = self.lines.get(str(mutant.module.path.resolve()), {})
        names = {name for line in mutant.lines for name in lines.get(line, ()) if name not in self.failed}
        return sorted(names, key=lambda name: self.seconds[name])

    def files(self, mutant: Mutant) -> list[str]:
        """For what happens at import: files of tests that use the module, its own first, then the quick ones."""
        lines = self.lines.get(str(mutant.module.path.resolve()), {})
        spent: Counter[str] = Counter()
        for name in {name for names in lines.values() for name in names}:
            spent[name.partition("::")[0]] += self.seconds[name]  # type: ignore[assignment]
        stem = mutant.module.path.stem
        files, total = [], 0.0
        for file in sorted(spent, key=lambda file: (stem not in file, "machine" in file, spent[file])):
            total += spent[file]
            if stem in file or total < _AT_IMPORT:
                files.append(file)
        return files


class Warm:
    """A pytest plugin that runs the tests of mutants instead of the tests."""

    def __init__(self, mutants: list[Mutant], jobs: int, cap: float, tell: Callable[[Mutant, str], None]) -> None:
        self.mutants = mutants
        self.jobs = jobs
        self.cap = cap
        self.tell = tell
        self.reached = Reached()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        shorten(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        paths = sorted({str(mutant.module.path.resolve()) for mutant in self.mutants})
        parts = [list(items.values())[job :: self.jobs] for job in range(self.jobs)]
        self.reached = Reached.joined(_in_children([partial(_reach, part, paths) for part in parts]))
        index = _functions(paths)
        inside = [mutant for mutant in self.mutants if mutant.function]
        killers: Counter[str] = Counter()
        reading, writing = os.pipe()  # by which a child says which test it was
        os.set_blocking(reading, False)
        gc.collect()
        gc.freeze()

        def start(mutant: Mutant) -> Callable[[], None]:
            names = self.reached.of(mutant)
            names.sort(key=lambda name: -killers[name])  # stable: those that never killed stay in order of time

            def run() -> None:
                _change(mutant, index)
                killer = _first_failure([items[name] for name in names], self.reached.seconds, self.cap)
                os.write(writing, f"{killer}\n".encode())
                sys.exit(KILLED if killer else SURVIVED)

            return run

        for mutant, verdict in children(inside, start, self.jobs):
            with contextlib.suppress(BlockingIOError):
                killers.update(filter(None, os.read(reading, 1 << 16).decode().split("\n")))
            self.tell(mutant, verdict if self.reached.of(mutant) else "not reached")
        return True


def fresh(mutants: list[Mutant], reached: Reached, jobs: int) -> Iterator[tuple[Mutant, str]]:
    """The verdicts on changes that are made at import, each in a pytest of its own."""

    def start(mutant: Mutant) -> Callable[[], None]:
        files = reached.files(mutant)

        def run() -> None:
            _limit(60 + 10 * sum(reached.seconds.values()))
            path = str(mutant.module.path.resolve())
            changed = compile(mutant.tree(), path, "exec", dont_inherit=True)
            original = importlib.machinery.SourceFileLoader.get_code

            def get_code(self: Any, name: str) -> CodeType | None:
                return changed if os.path.realpath(self.path) == path else original(self, name)

            importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
            skip = [option for name in reached.failed for option in ("--deselect", name)]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *skip, *files], plugins=[_Short()])
            sys.exit(SURVIVED if code in (0, 5) else KILLED)

        return run

    for mutant, verdict in children(mutants, start, jobs):
        yield mutant, verdict if reached.files(mutant) else "not reached"


class _Short:
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        shorten(items)


def shorten(items: list[pytest.Item]) -> None:
    """Fewer histories for the state machines."""
    from hypothesis import settings

    for item in items:
        found = getattr(getattr(item, "cls", None), "settings", None)
        if isinstance(found, settings) and found.max_examples > _HISTORIES:
            item.cls.settings = settings(found, max_examples=_HISTORIES)  # type: ignore[attr-defined]


# -- one pytest process ------------------------------------------------------------------------------------------


def _first_failure(items: list[pytest.Item], seconds: dict[str, float], cap: float) -> str:
    """Run these tests until one fails, and name it. One that takes far longer than unchanged ends the process."""
    begun = time.process_time()
    for item, following in pairwise([*items, None]):
        if time.process_time() - begun > cap:
            break
        _limit(3 + 10 * seconds[item.nodeid])
        if _fails(item, following):
            return item.nodeid
    return ""


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run one test as pytest does, with everything that its plugins put around it."""
    before = item.session.testsfailed
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed > before


def _reach(items: list[pytest.Item], paths: list[str]) -> Reached:
    """Run every test once, unchanged, and see which lines each reaches."""
    import coverage

    found = Reached()
    measuring = coverage.Coverage(data_file=None, config_file=False, include=paths)
    measuring.start()
    for item, following in pairwise([*items, None]):
        measuring.switch_context(item.nodeid)
        begun = time.process_time()
        if _fails(item, following):
            found.failed.append(item.nodeid)
        found.seconds[item.nodeid] = time.process_time() - begun
    measuring.stop()
    data = measuring.get_data()
    for path in paths:
        by_line = data.contexts_by_lineno(path)
        found.lines[path] = {line: [name for name in names if name] for line, names in by_line.items()}
    return found


_Index = dict[tuple[str, str, int], list[FunctionType]]


def _functions(paths: list[str]) -> _Index:
    """Every function object made from these files, by file, qualified name and first line."""
    index: _Index = defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in paths:
            code = thing.__code__
            index[code.co_filename, code.co_qualname, code.co_firstlineno].append(thing)
    return index


def _change(mutant: Mutant, index: _Index) -> None:
    """Give the functions the changed code; ends the process where that makes no difference."""
    path = str(mutant.module.path.resolve())
    same = applied = False
    try:
        codes = list(_codes(compile(mutant.tree(), path, "exec", dont_inherit=True)))
        for code in codes:
            for function in index.get((path, code.co_qualname, code.co_firstlineno), ()):
                root = code.co_firstlineno == mutant.function and "<locals>" not in code.co_qualname
                same = same or (root and function.__code__ == code)
                with contextlib.suppress(ValueError):  # an object made before, with other closure cells
                    function.__code__ = code
                    applied = applied or root
    except Exception:
        os._exit(BROKEN)
    if same or not applied:
        os._exit(SAME if same else BROKEN)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


# -- processes ---------------------------------------------------------------------------------------------------


def children(
    mutants: list[Mutant], start: Callable[[Mutant], Callable[[], None]], jobs: int
) -> Iterator[tuple[Mutant, str]]:
    """Fork a child for each mutant, so many at once, and say how each ended."""
    running: dict[int, Mutant] = {}
    waiting = iter(mutants)
    mutant = next(waiting, None)
    while mutant is not None or running:
        if mutant is not None and len(running) < jobs:
            running[_fork(start(mutant))] = mutant
            mutant = next(waiting, None)
            continue
        pid, status = os.wait()
        if pid in running:
            yield running.pop(pid), _verdict(status)


def _verdict(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "timed out" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else "killed"
    code = os.WEXITSTATUS(status)
    return {SURVIVED: "survived", SAME: "same code", BROKEN: "could not be made"}.get(code, "killed")


def _fork(run: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = KILLED
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        run()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else KILLED
    finally:
        os._exit(code)


def _in_children(works: list[Callable[[], Any]]) -> list[Any]:
    """What each `work` returns, all of them run at once in forked processes: they leave no trace here."""
    pipes = []
    for work in works:
        reading, writing = os.pipe()
        if not os.fork():
            try:
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(work(), pipe)
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append(os.fdopen(reading, "rb"))
    results = [pickle.load(pipe) for pipe in pipes]  # noqa: S301 (our own children's)
    for pipe in pipes:
        pipe.close()
        os.wait()
    return results


def _limit(seconds: float) -> None:
    """End this process after so much processor time, or ten times as much on the clock, or with too much memory."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
