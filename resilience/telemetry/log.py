"""One line of stdlib logging per call that failed or was retried; none per attempt, none for what went well at once.

A line holds names, reasons and numbers only: never an exception's text, an argument or an address, in which a secret
could stand. What it says in words it says in structured fields too, by the names that spans and metrics use.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from ..call import Call, Handler
from ..events import Event
from ..kit import Kit
from ..units import check
from .records import judged

__all__ = ["CallLog"]


class CallLog:
    """Give it to ``Pipeline(..., observers=(CallLog(),))``. Lines go to the logger ``resilience.calls``.

    A call that failed is a WARNING, one that succeeded after several attempts an INFO; a cancelled one is silent.
    At most `most` lines a second are written; the next line after tells how many were left out (0 of them: all are
    written). Raises `ConfigError`.
    """

    def __init__(self, logger: logging.Logger | None = None, most: int = 100) -> None:
        check("CallLog", "most", most, least=0, whole=True)
        self.logger = logger or logging.getLogger("resilience.calls")
        self.most = most
        self.left_out = 0
        """Lines left out since the last one that was written."""
        self._second = -1
        self._written = 0

    def __call__(self, event: Event) -> None:
        """Events tell it nothing that it does not see for itself."""

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        name, now, judge = kit.name, kit.now, kit.judge

        async def run(call: Call) -> Any:
            at = now()
            try:
                result = await next(call)
            except Exception as error:
                outcome, error_type = judged(error, judge(error, call))
                self._write(logging.WARNING, name, call, now(), at, outcome, error_type)
                raise
            if call.history is not None and len(call.history) > 1:
                self._write(logging.INFO, name, call, now(), at, "ok", "")
            return result

        return run

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        judge = kit.judge

        async def run(call: Call) -> Any:
            try:
                return await next(call)
            except Exception as error:
                attempt = call.attempt
                attempt.outcome, attempt.error_type = judged(error, judge(error, call))
                raise

        return run

    def _write(self, level: int, pipeline: str, call: Call, now: float, at: float, outcome: str, error: str) -> None:
        logger = self.logger
        if not logger.isEnabledFor(level) or not self._may(int(now)):
            return
        attempts = len(call.attempts)
        errors = Counter(attempt.error_type for attempt in call.attempts if attempt.error_type)
        fields: dict[str, Any] = {
            "resilience.pipeline": pipeline,
            "resilience.op": call.op.name,
            "resilience.outcome": outcome,
            "resilience.attempts": attempts,
            "resilience.errors": dict(errors),
            "resilience.seconds": now - at,
            "error.type": error,
        }
        if call.span is not None:
            fields |= {"trace_id": f"{call.span.trace_id:032x}", "span_id": f"{call.span.span_id:016x}"}
        if self.left_out:
            fields["resilience.log.left_out"] = self.left_out
        self.left_out = 0
        logger.log(level, "%s", _Line(fields), extra=fields)

    def _may(self, second: int) -> bool:
        """An outage fails every call at once, and its log must not become the next one."""
        if second != self._second:
            self._second, self._written = second, 0
        if self.most and self._written >= self.most:
            self.left_out += 1
            return False
        self._written += 1
        return True


class _Line:
    """The fields in words, worded only where a handler wants them."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __str__(self) -> str:
        found = self._fields
        what = f"{_clean(found['resilience.op'])}"
        if found["resilience.pipeline"]:
            what = f"{_clean(found['resilience.pipeline'])}: {what}"
        number = found["resilience.attempts"]
        attempts = "1 attempt" if number == 1 else f"{number} attempts"
        ended = "succeeded" if found["resilience.outcome"] == "ok" else f"{found['resilience.outcome']}"
        cause = f" ({_clean(found['error.type'])})" if found["error.type"] else ""
        errors = ", ".join(f"{count} {_clean(reason)}" for reason, count in found["resilience.errors"].items())
        parts = [f"{what} {ended}{cause} after {attempts}, {found['resilience.seconds']:.3f} s"]
        if errors and (number > 1 or not found["error.type"]):
            parts.append(f"attempts: {errors}")
        if "trace_id" in found:
            parts.append(f"trace {found['trace_id']}")
        if "resilience.log.left_out" in found:
            parts.append(f"{found['resilience.log.left_out']} lines like this were left out")
        return "; ".join(parts)


def _clean(text: object) -> str:
    """Names come from the user's code; one with a line break must not write a second line."""
    return "".join(char if char.isprintable() else "?" for char in str(text))
