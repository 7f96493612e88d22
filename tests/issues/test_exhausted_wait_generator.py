"""A wait generator that yields nothing ends the retries; it does not replace the call's own error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resilience import Pipeline, Retry
from resilience.testing import Script, virtual


@virtual
async def test_no_wait_at_all_means_no_retry() -> None:
    """What the caller gets is the error of the target, with the reason why it was not repeated."""

    def nothing() -> Iterator[float]:
        yield from ()

    script = Script(OSError("reset"))
    with pytest.raises(OSError, match="reset") as error:
        await Pipeline(Retry(on=OSError, wait=nothing)).run(script)  # type: ignore[arg-type]
    assert script.count == 1
    assert error.value.__notes__ == ["not retried: schedule_exhausted"]
