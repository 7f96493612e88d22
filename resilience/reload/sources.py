"""A file that may change: what of it is in force, since when, and why not what stands in it now.

A file that is being written looks like a file, and the first half of one may even make sense. So what was read must
still stand there after it was understood, and a file that has lost its ending is not taken: neither in the middle of a
line, nor before the line ``...`` (YAML's own mark for the end of a document) where the one in force ends with it.
"""

from __future__ import annotations

import logging
import os
import time
from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from ..errors import ConfigError
from ..events import Emit, StateChanged

__all__ = ["Contents", "Signature", "Source"]

T = TypeVar("T")
Contents: TypeAlias = dict[str, bytes]
Signature: TypeAlias = tuple[tuple[int, ...] | None, ...]

_log = logging.getLogger("resilience")
_MOST_READINGS = 3
_MOST_BYTES = 1 << 20  # of what is compared; the loader has a bound of its own
_END = b"..."


class Source:
    """One configuration: a file, and those that it includes.

    `loaded_at` (seconds since the epoch) moves only when what it says comes into force. `error` is the text of what is
    wrong with what stands there now, None if that is in force.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = os.fspath(path)
        self.loaded_at = time.time()
        self.error: str | None = None
        self.good: Contents = {}
        self.unread = False  # whether a file could not be read at the last reading: then no signature tells of its cure
        self._parts: tuple[str, ...] = (self.file,)  # all files that were part of it when it was last read

    def read(self, parse: Callable[[], tuple[T, Sequence[str]]]) -> tuple[T, Contents]:
        """What `parse` makes of the file, and what stood in it. Raises `ConfigError`, also if it is being written.

        `parse` says as well which files it has read. After an error those where the problems stand are watched too: the
        mistake may be put right there.
        """
        contents = self.contents()
        for _ in range(_MOST_READINGS):
            try:
                made, parts = parse()
            except ConfigError as error:
                if self.contents() == contents:
                    problems = getattr(error, "problems", ())
                    self._watch(*self._parts, *(one.file for one in problems if os.path.isfile(one.file)))
                    self.unread = self.file not in contents or any(one.rule == "include" for one in problems)
                    raise
            else:
                self._watch(*parts)
                self.unread = False
                if self.contents() == contents:
                    self._check_end(contents)
                    return made, contents
            contents = self.contents()
        raise ConfigError(f"{self.file}: is being written; it is read again when it has come to rest")

    def _watch(self, *parts: str) -> None:
        self._parts = tuple(dict.fromkeys((self.file, *parts)))

    def contents(self) -> Contents:
        """What stands in the files now; a file that cannot be read is not among them."""
        found = {}
        for path in self._parts:
            try:
                with open(path, "rb") as file:
                    found[path] = file.read(_MOST_BYTES)
            except (OSError, ValueError):
                continue
        return found

    def signature(self) -> Signature:
        """Differs when the files may have changed: when written, how large, and which (editors replace them).

        And when their inode was changed: a deployment may give every file one time, and a right may come back.
        """
        return tuple(_signature(path) for path in self._parts)

    def looks_cut(self, contents: Contents) -> bool:
        """Whether a file is no more than the beginning of what is in force: perhaps more is to come."""
        pairs = ((data, self.good.get(path, b"")) for path, data in contents.items())
        return any(len(data) < len(good) and good.startswith(data) for data, good in pairs)

    def accept(self, contents: Contents, observers: Iterable[Emit], what: str) -> None:
        """What stood in the file is in force; `what` says in words what has changed."""
        self.good, self.error, self.loaded_at = contents, None, time.time()
        _log.info("%s is in force: %s", self.file, what)
        self._tell(observers, "loaded", what)

    def refuse(self, error: ConfigError, observers: Iterable[Emit]) -> None:
        """What stands in the file cannot be: what was in force stays so. Said once for the same mistake."""
        text = str(error)
        if text != self.error:
            self.error = text
            _log.error("%s; what was in force stays so", text)
            self._tell(observers, "refused", text)

    def status(self) -> dict[str, Any]:
        return {"file": self.file, "loaded_at": self.loaded_at, "error": self.error}

    def _tell(self, observers: Iterable[Emit], new: str, cause: str) -> None:
        try:
            at = get_running_loop().time()
        except RuntimeError:
            at = time.monotonic()
        event = StateChanged("config", self.file, "loaded", new, cause, at)
        for observer in observers:
            try:
                observer(event)
            except Exception:
                _log.exception("an observer failed on a reload; it goes on")

    def _check_end(self, contents: Contents) -> None:
        for path, data in contents.items():
            good = self.good.get(path, b"")
            lines, ends = data.rstrip().rpartition(b"\n")[2], good.rstrip().rpartition(b"\n")[2]
            if ends == _END != lines:
                raise ConfigError(f"{path}: does not end with a line of ... as the one in force does: half written?")
            if good.endswith(b"\n") and not data.endswith(b"\n"):
                raise ConfigError(
                    f"{path}: ends in the middle of a line, half written? If it is whole, end it with a line break"
                )


def _signature(path: str) -> tuple[int, ...] | None:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns
