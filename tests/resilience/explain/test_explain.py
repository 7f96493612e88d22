"""`resilience explain`: what it says, to people and to machines, of pipelines files and of exchanges files."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resilience import cli

ROOT = Path(__file__).parents[3]
BYBIT = str(ROOT / "exchanges" / "bybit" / "bybit.yaml")
FILE = """\
version: 1
pipelines:
  quotes:
    - deadline: 5s
    - retry: {attempts: 3, wait: 1s, jitter: none}
    - hedge: {delay: 500ms}
    - timeout: {seconds: 2s, per_op: {book: 1s}}
  endless: [retry, rate_limit: 10/s]
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "file.yaml"
    file.write_text(FILE)
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["explain", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_json_of_one_pipeline_has_its_operations_by_name(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And all others as "*"; the worst case capped by the deadline, the rest apart."""
    operations = json.loads(run(capsys, path, "quotes", "--json"))["operations"]
    assert list(operations) == ["*", "book"]
    assert operations["*"]["worst"] == {"latency": 5.0, "sends": 6}
    assert operations["*"]["without_deadline"] == 9.5
    assert operations["*"]["apart"] == {"transparent": {"sends": 1}, "ordered": {"latency": 5.0}}
    assert operations["book"]["best"] == {"latency": 0.0, "sends": 1}
    assert operations["book"]["typical"] == {"latency": 1.0, "sends": 2}
    assert [row["failing"] for row in operations["book"]["load"]] == [0, 0.1, 0.5, 1]


def test_what_has_no_bound_is_null_and_says_why(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In words for people."""
    said = json.loads(run(capsys, path, "endless", "--json"))["operations"]["*"]
    assert said["worst"] == {"latency": None, "sends": 3}
    assert said["unbounded"][0] == "no timeout on an attempt, and no deadline"
    out = run(capsys, path, "endless")
    assert "Worst: no bound: no timeout on an attempt, and no deadline;" in out
    assert "it never ends: nothing bounds an attempt." in out


def test_names_of_several_pipelines_are_told_apart(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where both have them."""
    assert list(json.loads(run(capsys, path, "--json"))["operations"]) == ["quotes/*", "book", "endless/*"]


def test_the_text_draws_the_pipeline_and_tells_the_course(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the attempt boundary, the failing call, and the load."""
    out = run(capsys, path, "quotes")
    drawn = out.splitlines()[:7]
    assert drawn[0] == "Pipeline quotes"
    assert drawn[4] == "  |- - - one attempt - - -"
    assert "any other operation" in out
    assert "the call fails after 5 s and 4 requests; attempt 3 would begin after the deadline" in out
    assert "100 % of them fail" in out


def test_an_exchanges_file_is_explained_by_its_routes(capsys: pytest.CaptureFixture[str]) -> None:
    """Each operation of the exchange, in the pipeline that guards it, with its own timeout."""
    operations = json.loads(run(capsys, BYBIT, "--json"))["operations"]
    assert {"ticker", "orderbook", "ohlcv", "markets", "funding_rate"} <= set(operations)
    assert "*" not in operations
    assert operations["ticker"]["pipeline"] == "market"
    assert operations["ticker"]["worst"] == {"latency": 150.0, "sends": 4}
    ends = {name: said["timeline"][-1]["end"] for name, said in operations.items()}
    assert (ends["ticker"], ends["ohlcv"]) == (50.0, 130.0)


class Page(HTMLParser):
    """Which elements there are, and where they lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "style")]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_needs_nothing_and_escapes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No script, no link, no image; names from the file are text. Two pictures for each row of numbers."""
    file, page = tmp_path / "file.yaml", tmp_path / "page.html"
    file.write_text(FILE.replace("quotes:", '"<script>alert(1)</script>":').replace("book", '"<img src=x onerror=y>"'))
    run(capsys, str(file), "--html", str(page))
    text = page.read_text(encoding="utf-8")
    seen = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(seen.tags)
    assert seen.links == []
    assert seen.tags.count("svg") == 2 * 3
    assert "prefers-color-scheme: dark" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("quots",), "no pipeline is named 'quots'; did you mean quotes? (in this file: quotes, endless)"),
        (("--html", "/no/such/folder/page.html"), "/no/such/folder/page.html: cannot be written: No such file"),
    ],
)
def test_a_failure_is_one_line(
    arguments: tuple[str, ...], told: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, exit 2, and nothing on stdout."""
    assert cli.main(["explain", path, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert captured.err.count("\n") == 1


def test_an_invalid_file_is_explained_to_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first problem, and how many more there are."""
    file = tmp_path / "file.yaml"
    file.write_text("version: 1\npipelines: {a: [retyr]}\n")
    assert cli.main(["explain", str(file)]) == 2
    assert "unknown policy 'retyr'; did you mean retry?" in capsys.readouterr().err
