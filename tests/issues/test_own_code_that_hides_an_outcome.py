"""User code that judges an error and fails hid the attempt's own: an UNKNOWN order looked like a bug, so REJECTED."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resilience import Fallback, Op, Pipeline, Pool
from resilience.testing import Recorder, Script, virtual

ORDER = Op("create_order")


def broken(error: Exception) -> Any:
    raise KeyError("status")


@pytest.mark.parametrize("last_good", [None, 60.0])
@virtual
async def test_a_fallback_that_cannot_tell_replaces_nothing(
    last_good: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The attempt's own error is raised, and the log says why."""
    pipeline = Pipeline(Fallback(value="a harmless default", on=broken, last_good=last_good))
    with pytest.raises(ConnectionResetError, match="lost"):
        await pipeline.run(Script(ConnectionResetError("lost")), op=ORDER)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Fallback: on failed for ConnectionResetError; it is not replaced"


@pytest.mark.parametrize(("error", "renewed"), [(ConnectionResetError("lost"), 1), (ValueError("no funds"), 0)])
@virtual
async def test_a_pool_that_cannot_tell_does_as_by_default(
    error: Exception, renewed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A `ConnectionError` condemns what it lends, and the attempt's own error is raised."""
    pipeline = Pipeline(Pool(lambda: "session", name="rest", broken=broken))
    with pytest.raises(type(error)) as caught:
        await pipeline.run(Script(error), op=ORDER)
    assert caught.value is error
    assert pipeline.status()["pool:rest"]["renewed"] == renewed
    assert f"Pool: broken failed for {type(error).__name__}; a ConnectionError condemns" in caplog.text


@virtual
async def test_a_classify_that_returns_nothing_is_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is read as REJECTED, so that nothing is repeated."""
    recorder, script = Recorder(), Script(ConnectionResetError("lost"))
    pipeline = Pipeline(classify=lambda error, op: None, observers=(recorder,))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConnectionResetError, match="lost"):
        await pipeline.run(script, op=ORDER)
    assert recorder.attempts[0].verdict is not None
    assert recorder.attempts[0].verdict.reason == "classify_failed"
    assert "classify failed on ConnectionResetError of create_order" in caplog.text
