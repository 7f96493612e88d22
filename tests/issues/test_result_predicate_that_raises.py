"""An error of a retry's own ``result=`` predicate is the program's, not an attempt's: nothing is sent again."""

from __future__ import annotations

import pytest

from resilience import Pipeline, Retry
from resilience.testing import Script, virtual


@virtual
async def test_a_call_that_worked_is_not_repeated() -> None:
    """Even where ``on=`` names the predicate's error: the order was placed."""

    def broken(value: object) -> bool:
        raise KeyError("status")

    script = Script({"order": 1})
    with pytest.raises(KeyError, match="status"):
        await Pipeline(Retry(on=LookupError, result=broken, wait=0)).run(script)
    assert script.count == 1
