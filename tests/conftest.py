"""What no test may leave behind: an error that asyncio could only log fails the run.

pytest already turns warnings, and exceptions nobody could catch (``__del__``, threads), into failures. The event
loop's own complaints ("Task exception was never retrieved", "Task was destroyed but it is pending") are mere log lines
of the logger ``asyncio``. A task is complained about when it is collected, so the blame may fall on a later test.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator

import pytest


class _Complaints(logging.Handler):
    """Keeps what the event loop logged as an error, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(self.format(record))

    def take(self) -> str:
        """All texts since the last time, as one."""
        text = "\n".join(self._texts)
        self._texts.clear()
        return text


_complaints = _Complaints()


def pytest_configure() -> None:
    logging.getLogger("asyncio").addHandler(_complaints)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test during which the loop complained has failed, whatever it asserted."""
    try:
        yield
    finally:  # when the test fails by itself, pytest shows the complaint among its captured logs
        text = _complaints.take()
    if text:
        pytest.fail(f"the event loop logged an error (this test's, or an earlier one's):\n{text}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last tests' garbage is collected here, so that the complaint is not lost with the process."""
    gc.collect()
    if text := _complaints.take():
        print(f"\nthe event loop logged an error after the last test:\n{text}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    logging.getLogger("asyncio").removeHandler(_complaints)
