"""The filter language: terms with spaces between them, all of which must hold for a trace.

    op:ticker pipeline:market service:bot outcome:failed error:timeout reason:retried kind:hedge name:"GET /v5/*"
    attempts>1 duration>500 spans>=10 attr.resilience.breaker.state:open attr.http.response.status_code>499
    -error:reset         not so
    "connection won"     a bare word: in a name, an operation, an error type or the sentence, or the id's beginning

Letters may be large or small; `*` at a value's end means "begins with". `duration` is in milliseconds, or takes a unit
(`1.5s`). `op`, `error`, `kind`, `name` and `attr.` hold if any span of the trace fits, the others if its call does.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from .summary import Summary, Trace, text

__all__ = ["FilterError", "Predicate", "parse"]

MOST_CHARACTERS = 1_000
MOST_TERMS = 20
Predicate = Callable[[Trace], bool]

_TERM = re.compile(
    r"""(?P<minus>-?)
    (?: (?P<field>[A-Za-z][A-Za-z0-9_.\-]*) (?P<sign>>=|<=|[:=<>]) (?: "(?P<quoted>[^"]*)" | (?P<plain>[^\s"]*) )
      | "(?P<phrase>[^"]*)" | (?P<word>[^\s"]+) ) (?=\s|$)""",
    re.VERBOSE,
)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ":": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_UNITS = {"": 1.0, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_NUMBERS: dict[str, Callable[[Summary], float]] = {
    "attempts": lambda summary: summary.attempts,
    "duration": lambda summary: summary.seconds * 1000,
    "spans": lambda summary: summary.spans,
}
_TEXTS: dict[str, Callable[[Trace], Iterable[str]]] = {
    "op": lambda trace: [text(call, "resilience.op") for call in trace.calls] or (trace.summary.op,),
    "pipeline": lambda trace: (trace.summary.pipeline,),
    "service": lambda trace: (trace.summary.service,),
    "instance": lambda trace: (trace.summary.instance,),
    "outcome": lambda trace: (trace.summary.outcome,),
    "reason": lambda trace: (trace.summary.reason,),
    "error": lambda trace: trace.errors or (trace.summary.error_type,),
    "kind": lambda trace: trace.kinds,
    "name": lambda trace: (span.name for span in list(trace.spans.values())),
    "trace": lambda trace: (trace.trace_id,),
}


class FilterError(ValueError):
    """A filter that cannot be understood. Its text is one line that says which term, and what would be right."""


def parse(q: str) -> Predicate:
    """What a filter asks of a trace; "" holds for all. Raises `FilterError`."""
    if len(q) > MOST_CHARACTERS:
        raise FilterError(f"the filter has {len(q)} characters, at most {MOST_CHARACTERS} are read")
    terms: list[Predicate] = []
    at = len(q) - len(q.lstrip())
    while at < len(q):
        found = _TERM.match(q, at)
        if found is None:
            raise FilterError(_trouble(q[at:]))
        terms.append(_term(found))
        at = found.end()
        at += len(q[at:]) - len(q[at:].lstrip())
    if len(terms) > MOST_TERMS:
        raise FilterError(f"the filter has {len(terms)} terms, at most {MOST_TERMS} are read")
    if len(terms) == 1:
        return terms[0]
    return lambda trace: all(term(trace) for term in terms)


def _trouble(rest: str) -> str:
    if rest.count('"') % 2:
        return f'a quote is not closed: {_shown(rest)} (write "two words")'
    return f'a quote stands inside a word: {_shown(rest)} (write name:"two words")'


def _shown(said: str) -> str:
    return repr(said if len(said) <= 60 else said[:59] + "…")


def _term(found: re.Match[str]) -> Predicate:
    field = found["field"]
    if field is None:
        word = found["phrase"] if found["phrase"] is not None else found["word"]
        predicate = _word(word)
    else:
        value = found["quoted"] if found["quoted"] is not None else found["plain"]
        predicate = _field(found[0], field, found["sign"], value)
    if not found["minus"]:
        return predicate
    return lambda trace: not predicate(trace)


def _word(word: str) -> Predicate:
    word = word.removesuffix("*").lower()
    return lambda trace: word in trace.haystack or trace.trace_id.startswith(word) or _has_span(trace, word)


def _has_span(trace: Trace, word: str) -> bool:
    """Does an id of a span begin so? Only asked of what could be one: whoever looks for a span has its whole id."""
    return len(word) == 16 and word in trace.spans


def _field(term: str, field: str, sign: str, value: str) -> Predicate:
    if value == "":
        raise FilterError(f"{_shown(term)} says nothing after {sign!r}")
    if field.startswith("attr."):
        return _attribute(term, field.removeprefix("attr."), sign, value)
    field = field.lower()
    if field in _NUMBERS:
        return _numeric(_NUMBERS[field], sign, _number(term, value, _UNITS if field == "duration" else {"": 1.0}))
    if field not in _TEXTS:
        raise FilterError(f"{_shown(term)}: there is no field {_shown(field)}; known are {', '.join(_known())}")
    if sign not in ":=":
        raise FilterError(f"{_shown(term)}: {field} is a text, write {field}:value")
    return _textual(_TEXTS[field], _fits(value))


def _numeric(read: Callable[[Summary], float], sign: str, wanted: float) -> Predicate:
    compare = _SIGNS[sign]
    return lambda trace: compare(read(trace.summary), wanted)


def _textual(read: Callable[[Trace], Iterable[str]], fits: Callable[[str], bool]) -> Predicate:
    def holds(trace: Trace) -> bool:
        for said in read(trace):  # a loop: any() makes a generator for each of ten thousand traces  # noqa: SIM110
            if said and fits(said):
                return True
        return False

    return holds


def _known() -> list[str]:
    return [*_TEXTS, *_NUMBERS, "attr.NAME"]


def _number(term: str, value: str, units: dict[str, float]) -> float:
    found = re.fullmatch(r"(-?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?)([a-z]*)", value)
    number = float(found[1]) * units[found[2]] if found and found[2] in units else math.nan
    if not math.isfinite(number):
        units_said = ", ".join(filter(None, units))
        raise FilterError(f"{_shown(term)}: {_shown(value)} is no number{units_said and f' (units: {units_said})'}")
    return number


def _fits(value: str) -> Callable[[str], bool]:
    """Is it this text, or does it begin so?"""
    wanted = value.lower()
    if wanted.endswith("*"):
        start = wanted[:-1]
        return lambda said: said.lower().startswith(start)
    return lambda said: said.lower() == wanted


def _attribute(term: str, key: str, sign: str, value: str) -> Predicate:
    """Does any span have the attribute with such a value? One that is a list fits if one of its items does."""
    if not key:
        raise FilterError(f"{_shown(term)} names no attribute; write attr.http.response.status_code:502")
    holds = _holds(term, sign, value)

    def any_span(trace: Trace) -> bool:
        for span in list(trace.spans.values()):
            value = span.attributes.get(key)
            if value is None:
                continue
            if any(map(holds, value)) if type(value) is list else holds(value):
                return True
        return False

    return any_span


def _holds(term: str, sign: str, value: str) -> Callable[[Any], bool]:
    if sign in ":=":
        fits = _fits(value)
        try:
            wanted = float(value)
        except ValueError:
            wanted = math.nan

        def equals(found: Any) -> bool:
            kind = type(found)
            if kind is str:
                return fits(found)
            return (found == wanted and kind is not bool) or fits(str(found))

        return equals
    compare, limit = _SIGNS[sign], _number(term, value, {"": 1.0})
    return lambda found: type(found) in (int, float) and compare(found, limit)
