"""The types of decorated functions, judged by mypy itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_decorators_keep_signatures_and_return_types(tmp_path: Path) -> None:
    """mypy --strict accepts every use in decorators.py, and every wrong use is an error (an unused ignore fails)."""
    api = pytest.importorskip("mypy.api")
    arguments = ["--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), str(HERE / "decorators.py")]
    output, errors, code = api.run(arguments)
    assert code == 0, output + errors
    assert sys.version_info >= (3, 11)
