"""``include: [./limits.yaml]``: a configuration in several files, read as if it were one.

Only what lies beside or beneath the file that names it can be included, so that a configuration from elsewhere reads
nothing else of the machine: no absolute path, no ``..``, no symbolic link that leads out of the folder. Sections are
joined by the names of their entries. Nothing overrides anything: what stands in two files is a mistake, told with both
positions. The bounds on size hold for all files together.
"""

from __future__ import annotations

import os
import re

from ..errors import ConfigError
from .document import MOST_BYTES, TOO_LARGE, Node, Source, parsed, short, whole
from .environment import Environment
from .problems import Problem, Problems
from .sections import read_version
from .shape import refuse

__all__ = ["INCLUDE", "MOST_DEPTH", "MOST_FILES", "PATTERN", "read_with_includes"]

INCLUDE = "include"
MOST_FILES = 32
MOST_DEPTH = 8
PATTERN = r"^(\./)?([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml$"
_PATH = re.compile(PATTERN, re.ASCII)
_WORDS = "the path of a .yaml file beneath this folder, such as ./limits.yaml (letters, digits and _ . - /, no ..)"


def read_with_includes(
    path: str | os.PathLike[str], env: Environment, problems: Problems, text: str | None = None
) -> Node:
    """The root node of a file, joined with those that it includes. Raises `ConfigError` if one cannot be read.

    `text` stands in for what the file itself holds.
    """
    reading = _Reading(env, problems)
    root = reading.read(os.fspath(path), short(os.fspath(path), 300), None if text is None else text.encode())
    reading.join(root, os.path.dirname(os.fspath(path)), [])
    if reading.failed:
        problems.finish()  # what the missing parts would have held would be missed everywhere
    root.source.files = tuple(reading.files.values())
    return root


class _Reading:
    def __init__(self, env: Environment, problems: Problems) -> None:
        self.files: dict[str, str] = {}  # by what the path really is, so that each is read once
        self.failed = False
        self._env = env
        self._problems = problems
        self._values = 0
        self._left = MOST_BYTES

    def read(self, path: str, name: str, data: bytes | None = None) -> Node:
        try:
            if data is None:
                with open(path, "rb") as file:
                    data = file.read(self._left + 1)
            real = os.path.realpath(path)  # not to be had where our own folder is gone
        except (OSError, ValueError) as error:
            raise ConfigError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        self.files[real] = path
        self._left -= len(data)
        if self._left < 0:
            raise whole(name, TOO_LARGE if len(self.files) == 1 else f"{TOO_LARGE} (all files together)", "size")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8").split("\n")
            at = (len(before), len(before[-1]) + 1)
            raise whole(name, "is not UTF-8 text; save it as UTF-8", "encoding", at) from None
        source = Source(name, self._env, values=self._values)
        root = parsed(text, source, self._problems)
        self._values = source.values
        return root

    def join(self, root: Node, folder: str, above: list[str]) -> None:
        """Add to `root` what the files hold that it includes; its key ``include`` is used up."""
        node = root.taken(INCLUDE)
        if node is None:
            return
        if node.broken is not None or node.kind != "sequence":
            self.failed = True
            if node.broken is None:
                refuse(node, "a list of files, such as [./limits.yaml]", self._problems)
            return
        for entry in node:
            part = self._part(entry, folder, above)
            if part is None:
                self.failed = True
            elif not self.failed:
                _merge(root, part, self._problems)

    def _part(self, entry: Node, folder: str, above: list[str]) -> Node | None:
        """The root of one included file, with what it includes itself; None after a problem was reported."""
        if entry.broken is not None:
            return None
        if entry.kind != "scalar" or entry.style == "env" or _PATH.fullmatch(entry.text) is None:
            refuse(entry, _WORDS, self._problems, rule="include-path")
            return None
        path = os.path.join(folder, entry.text.removeprefix("./"))
        real = os.path.realpath(path)
        wrong = self._refused(path, real, folder, above)
        if wrong:
            self._problems.add(entry.problem(wrong, "include"))
            return None
        try:
            part = self.read(path, short(path, 300))
        except ConfigError as error:
            if hasattr(error, "problems"):
                raise
            self._problems.add(entry.problem(str(error), "include"))
            return None
        if part.kind != "mapping" or part.broken is not None:
            refuse(part, "a mapping of sections, as in the file that includes it", self._problems)
            return None
        self.join(part, os.path.dirname(path), [*above, real])
        read_version(part, self._problems)
        return part

    def _refused(self, path: str, real: str, folder: str, above: list[str]) -> str:
        """Why this file cannot be included, if so."""
        name = short(path, 120)
        if not real.startswith(os.path.join(os.path.realpath(folder), "")):
            return f"{name} is a symbolic link that leads out of its folder"
        first = next(iter(self.files))
        if real == first or real in above:
            return f"{name} includes itself, by way of this file"
        if real in self.files:
            return f"{name} is included twice; name it once"
        if len(self.files) >= MOST_FILES:
            return f"more than {MOST_FILES} files; join some of them"
        if len(above) >= MOST_DEPTH:
            return f"files include one another deeper than {MOST_DEPTH} levels"
        if os.path.exists(real) and not os.path.isfile(real):
            return f"{name} is no file"
        return ""


def _merge(root: Node, part: Node, problems: Problems) -> None:
    """Join the sections of an included file with those that are there; mappings by the names of their entries."""
    for key, node in part.items():
        there = root.get(key)
        if there is None:
            root.put(key, node)
        elif key == "version":
            continue
        elif key in ("pipelines", "resources", "exchanges") and _both_mappings(there, node):
            for name, entry in node.items():
                first = there.get(name)
                if first is None:
                    there.put(name, entry)
                else:
                    problems.add(_twice(entry, name, first))
        else:
            problems.add(_twice(node, key, there))


def _both_mappings(one: Node, other: Node) -> bool:
    return one.kind == other.kind == "mapping" and one.broken is None and other.broken is None


def _twice(node: Node, key: str, first: Node) -> Problem:
    line, col = first.key_at
    where = f"{first.source.name}:{line}:{col}"
    return node.problem(
        f"the key {short(key)!r} stands in two files (first at {where}); keep one", "duplicate-key", at_key=True
    )
