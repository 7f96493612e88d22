"""copy_error: an error for each who waits, whatever its constructor does."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from typing import Any

import pytest

from resilience import BulkheadFull, CircuitOpen, Kind, TimedOut, Verdict
from resilience.caching.copies import copy_error


class Worded(Exception):
    """Its constructor makes the text of its argument: `copy.copy` would word it twice."""

    def __init__(self, symbol: str, *, code: int) -> None:
        super().__init__(f"no such symbol: {symbol}")
        self.code = code


class WordedOS(OSError):
    """An OSError with a constructor of its own, whose fields are C's."""

    def __init__(self, code: int) -> None:
        super().__init__(code, f"number {code}")


class Slotted(Exception):
    """Its fields are no part of the dictionary, and one was never set."""

    __slots__ = ("__private", "never", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.__private = symbol

    @property
    def private(self) -> str:
        return self.__private


class Made(Exception):
    """With a __new__ that wants an argument by name."""

    def __new__(cls, *, made: int) -> Made:
        self = super().__new__(cls)
        self.made = made
        return self

    def __init__(self, *, made: int) -> None:
        super().__init__("made")


class Both(KeyError, OSError):
    """Of two built-in families."""


class Forbids(Exception):
    """Refuses to have its fields set from outside."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("frozen")


ERRORS = [
    Worded("BTC", code=7),
    WordedOS(5),
    Slotted("BTC"),
    Made(made=3),
    Both("key"),
    KeyError("key"),
    FileNotFoundError(2, "no such file", "rates.json"),
    OSError(1, "denied", "here", None, "there"),
    ConnectionResetError(104, "reset"),
    OSError("no number"),
    ssl.SSLError(1, "wrong version"),
    UnicodeDecodeError("utf-8", b"abc", 0, 1, "bad"),
    ImportError("no", name="module", path="path"),
    StopAsyncIteration(3),
    SyntaxError("what", ("file", 1, 2, "text")),
    ExceptionGroup("two", [ValueError(1), OSError(2)]),
    asyncio.IncompleteReadError(b"x", 4),
    TimedOut(3.0, limit="deadline", sent=True, queued=True),
    BulkheadFull("full", retry_after=2.0),
    CircuitOpen("host", None, "half-open"),
    CircuitOpen("host", 2.0),
]


def raised(error: Exception) -> Exception:
    try:
        try:
            raise LookupError("before")
        except LookupError as cause:
            raise error from cause
    except Exception as caught:
        caught.add_note("first")
        return caught


def fields(error: Exception) -> dict[str, Any]:
    """What can be read from it, but for methods, and the times that are computed when they are asked for."""
    names = [name for name in dir(error) if not name.startswith("__") and name not in ("reopen_time", "time_remaining")]
    return {name: value for name in names if not callable(value := getattr(error, name, None))}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_reads_like_the_original(error: Exception) -> None:
    """Type, text, arguments, fields, notes, cause and traceback."""
    raised(error)
    copy = copy_error(error)
    assert copy is not error
    assert type(copy) is type(error)
    assert (str(copy), repr(copy), copy.args) == (str(error), repr(error), error.args)
    assert fields(copy) == fields(error)
    assert copy.__cause__ is error.__cause__ is not None
    assert copy.__context__ is error.__context__
    assert copy.__suppress_context__ is error.__suppress_context__ is True
    assert "".join(traceback.format_exception(copy)) == "".join(traceback.format_exception(error))


def test_what_is_done_to_a_copy_is_not_done_to_the_original() -> None:
    """Notes, fields and the frames through which it is raised are its own."""
    error = raised(Worded("BTC", code=7))
    frames = len(traceback.extract_tb(error.__traceback__))
    first, second = copy_error(error), copy_error(error)
    first.add_note("of the first")
    first.code = 8  # type: ignore[attr-defined]
    with pytest.raises(Worded):
        raise first
    for other in (error, second):
        assert (other.__notes__, other.code) == (["first"], 7)  # type: ignore[attr-defined]
        assert len(traceback.extract_tb(other.__traceback__)) == frames


def test_no_notes_stay_no_notes() -> None:
    """A copy of an error without notes has no empty list of them."""
    error = ValueError()
    copy = copy_error(error)
    assert copy is not error
    assert not hasattr(copy, "__notes__")


def test_a_copy_keeps_a_verdict_that_the_error_carries() -> None:
    """As an adapter's errors do."""
    error = Worded("BTC", code=7)
    error.verdict = Verdict(Kind.FAILED)  # type: ignore[attr-defined]
    assert copy_error(error).verdict is error.verdict  # type: ignore[attr-defined]


def test_a_type_that_allows_no_copy_is_shared() -> None:
    """Rather than hidden behind the error of copying it."""
    error = Forbids()
    assert copy_error(error) is error


@pytest.mark.parametrize("error", [asyncio.CancelledError("why"), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_no_error_is_never_copied(error: BaseException) -> None:
    """A cancellation and an exit are events, not errors."""
    assert copy_error(error) is error


# -- at the edges --------------------------------------------------------------------------------------------------


def test_the_context_of_an_error_is_shown_for_a_copy_as_for_the_original() -> None:
    """Only ``raise ... from None`` hides it."""

    def made(hidden: bool) -> Exception:
        try:
            try:
                raise KeyError
            except KeyError:
                if hidden:
                    raise ValueError from None
                raise ValueError  # noqa: B904 (the context is what this is about)
        except ValueError as error:
            return error

    for hidden in (True, False):
        assert copy_error(made(hidden)).__suppress_context__ is hidden


def test_nothing_of_the_type_is_asked_but_its_fields() -> None:
    """A property that computes, or fails, is left alone."""

    class Moody(Exception):
        @property
        def detail(self) -> str:
            raise ValueError

    error = Moody("no")
    assert copy_error(error) is not error


def test_an_exit_in_the_midst_of_copying_is_an_exit() -> None:
    """What ends the program is not taken for a type that forbids copies."""

    class Exits(Exception):
        @property
        def args(self) -> Any:
            raise SystemExit

    error = Exits()
    with pytest.raises(SystemExit):
        copy_error(error)
