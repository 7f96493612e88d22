"""Waits at the edges of what a generator may be told."""

from __future__ import annotations

import pytest

from resilience import ConfigError, Pipeline, Retry
from resilience.testing import Script, VirtualLoop


def test_a_generator_told_none_is_told_nothing() -> None:
    """backoff's own default for `max_value` is None: it may be written out, and means no bound but `max_wait`."""
    retry = Retry(attempts=4, on=OSError, jitter="none", max_wait=3, wait={"expo": {"factor": 1, "max_value": None}})
    script = Script(OSError(), OSError(), OSError(), "done")
    assert VirtualLoop().run(Pipeline(retry).run(script)) == "done"
    assert script.begun == [0, 1, 3, 6]
    with pytest.raises(ConfigError, match="max_value"):
        Retry(on=OSError, wait={"expo": {"max_value": -1}})
