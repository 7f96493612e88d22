"""A predicate or a schedule of the user that raises hides no attempt's error: an UNKNOWN order would look rejected."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resilience import Op, Pipeline, Retry
from resilience.testing import Script, virtual

READ = Op("read", idempotent=True)


def broken(error: Any) -> Any:
    raise KeyError("status")


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (Retry(on=broken), "Retry: a predicate failed on ConnectionResetError"),
        (Retry(abort_on=broken), "Retry: a predicate failed on ConnectionResetError"),
        (Retry(wait={"runtime": {"value": broken}}), "Retry: the schedule failed on ConnectionResetError"),
        (Retry(wait=1, jitter=broken), "Retry: the schedule failed on ConnectionResetError"),
    ],
)
@virtual
async def test_the_attempts_own_error_is_raised(retry: Retry, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is not retried, and the log says why."""
    script = Script(ConnectionResetError("lost"))
    with pytest.raises(ConnectionResetError, match="lost"):
        await Pipeline(retry).run(script, op=READ)
    assert script.count == 1
    (record,) = caplog.records
    assert (record.levelno, record.getMessage().startswith(said)) == (logging.ERROR, True)
