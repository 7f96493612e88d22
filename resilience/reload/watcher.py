"""Watching: look at a file every now and then, and act when it has changed and come to rest.

Polling, because it works on every file system, through every editor (they write in place, or rename another file over
it) and without another package. A file has come to rest when two looks in a row find the same; one that is no more than
the beginning of what is in force gets more of them, since it may still be growing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextvars import Context
from typing import Any

from ..errors import ConfigError
from .sources import Signature, Source

__all__ = ["Looks", "Watcher"]

_log = logging.getLogger("resilience")
_LOOKS = 2
_LOOKS_IF_CUT = 10


class Looks:
    """Decides when to act, told what each look finds. No clock and no files, but for those of the `source`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._done: Signature = ()  # what was acted upon: nothing yet, for it may have changed since it was loaded
        self._seen: Signature = ()
        self._times = 0
        self._idle = 0

    def due(self) -> bool:
        """Look. True if there is something new, and it has come to rest; or every so often if a file cannot be read."""
        seen = self._source.signature()
        if seen == self._done and self._times == 0:
            self._idle += 1
            return self._source.unread and self._idle % _LOOKS_IF_CUT == 0
        self._times = self._times + 1 if seen == self._seen else 1
        self._seen = seen
        if self._times < _LOOKS:
            return False
        contents = self._source.contents()
        if self._times < _LOOKS_IF_CUT and self._source.looks_cut(contents):
            return False
        self._done, self._times = seen, 0
        return self._source.error is not None or contents != self._source.good


class Watcher:
    """Looks every `every` seconds, and on SIGHUP where `sighup` asks for it (in the main thread of a Unix).

    `prepare` reads the file, in a thread, so that no call waits for it; it may raise `ConfigError`. `take` gets what it
    returned, or the error, and runs in the event loop; if what it returns is true, `then` follows, in a thread.
    """

    def __init__(
        self,
        source: Source,
        prepare: Callable[[], Any],
        take: Callable[[Any], Any],
        every: float,
        sighup: bool = False,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._looks = Looks(source)
        self._prepare = prepare
        self._take = take
        self._then = then
        self._every = every
        self._sighup = sighup
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop. Raises `ConfigError` if there is no SIGHUP to be had."""
        loop = asyncio.get_running_loop()
        if self._sighup:
            try:
                loop.add_signal_handler(signal.SIGHUP, self._asked.set)
            except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
                raise ConfigError("sighup=True needs a Unix, and a loop in the main thread") from error
        self._task = loop.create_task(self._run(), name="watch the configuration", context=Context())

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._sighup:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        task.cancel()
        await asyncio.wait((task,))

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            try:
                if asked or self._looks.due():
                    await self._reload()
            except Exception:  # whatever it is, the next version of the file may be better
                _log.exception("reloading failed; what was in force stays so, and watching goes on")

    async def _reload(self) -> None:
        good = self._source.good
        prepared = await asyncio.to_thread(self._prepared)
        if self._source.good is not good:
            return  # it was reloaded by hand meanwhile, and what was read here may be older; what is newer will be due
        if self._take(prepared):
            await asyncio.to_thread(self._then)

    def _prepared(self) -> Any:
        try:
            return self._prepare()
        except ConfigError as error:
            return error
