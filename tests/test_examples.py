"""Every fenced example in the README and in docs/ runs.

Python blocks of one file share a namespace, as a reader would type them one after the other. YAML blocks whose
first line is a comment with a file's name are written to that file, beside which the Python runs. The one substitution:
an `ExchangeManager.load()` with no argument is pointed at the simulated exchange, since tests have no network.
"""

from __future__ import annotations

import asyncio
import re
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchanges.bybit.simulator import Simulator

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_EXAMPLES = [path for path in DOCUMENTS if re.search(r"^```(python|yaml)$", path.read_text(), re.MULTILINE)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A simulated exchange in a thread with a loop of its own, for examples that call asyncio.run."""
    ready = threading.Event()
    found: list[str] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with Simulator() as simulator:
            found.append(simulator.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_run(path: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, with no error and no warning."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    ran = 0
    for kind, text in FENCE.findall(path.read_text()):
        block = textwrap.dedent(text)
        name = re.match(r"# ([\w./-]+\.yaml)\b", block)
        if kind == "yaml" and name:
            (tmp_path / name[1]).write_text(block)
        elif kind == "python":
            code = block.replace("ExchangeManager.load()", f"ExchangeManager.load(base_url={url!r})")
            exec(compile(code, str(path), "exec"), namespace)  # noqa: S102 (our own documents)
            ran += 1
    assert ran or "```yaml" in path.read_text()


def test_the_readme_has_examples_of_all_three_ways_in() -> None:
    """Decorators, YAML, exchanges."""
    readme = (ROOT / "README.md").read_text()
    for word in ("@Retry", "resilience.load(", "ExchangeManager.load()"):
        assert word in readme
