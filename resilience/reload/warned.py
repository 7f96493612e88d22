"""What the linter says of a file that has come into force: told in the log, a line each, and each once.

It is advice: the file is in force already, and nothing that goes wrong here concerns anybody but the log.
"""

from __future__ import annotations

import logging

__all__ = ["Warned"]

_log = logging.getLogger("resilience")
_MOST = 5  # lines of one reload; the others are a number


class Warned:
    """Remembers what it has told of `file`. What is cured and comes back is told again."""

    def __init__(self, file: str, env_prefixes: tuple[str, ...] | None = None) -> None:
        self._file = file
        self._env_prefixes = env_prefixes
        self._known: set[str] = set()

    def tell(self) -> None:
        """Lint the file and log what is new; in any thread. Raises nothing."""
        try:
            found = self._found()
        except Exception as error:  # it may have changed again, or be gone: then it is the next reload's
            _log.debug("%s was not linted: %s", self._file, error)
            return
        new = [line for key, line in found.items() if key not in self._known]
        self._known = set(found)
        for line in new[:_MOST]:
            _log.warning("%s", line)
        if len(new) > _MOST:
            _log.warning("%s: %d findings more; see resilience check %s", self._file, len(new) - _MOST, self._file)

    def _found(self) -> dict[str, str]:
        """A line for each finding, by what it says: another line of the file makes no other finding."""
        from ..lint import lint_file  # most programs never reload
        from ..lint.report import as_line

        found = lint_file(self._file, env_prefixes=self._env_prefixes).findings
        return {str(finding): as_line(finding) for finding in found}
