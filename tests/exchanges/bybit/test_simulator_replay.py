"""Recorded replies are served byte for byte, and chosen by the rules of ``--replay``."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from exchanges.bybit.simulator import ReplayError, Simulator

BUNDLED = Path(__file__).parents[2] / "data" / "bybit"
OTHER = os.environ.get("BYBIT_RECORDED_DIR")
KLINE = "/v5/market/kline"
MARKETS = "/v5/market/instruments-info"


def fetch(folder: Path, *targets: str, method: str = "GET") -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of the reply to each target, as they are sent."""

    async def main() -> list[tuple[int, dict[str, str], bytes]]:
        found = []
        async with Simulator(replay=folder) as sim, aiohttp.ClientSession(auto_decompress=False) as session:
            for target in targets:
                async with session.request(method, URL(sim.url + target, encoded=True)) as response:
                    found.append((response.status, dict(response.headers), await response.read()))
        return found

    return asyncio.run(main())


def record(folder: Path, *entries: dict[str, Any]) -> Path:
    """A folder of recordings; an entry's file holds its own name unless the test wrote one."""
    for entry in entries:
        path = folder / entry["file"]
        if not path.exists():
            path.write_text(entry["file"])
    document = {"version": 1, "exchange": "bybit", "entries": list(entries)}
    (folder / "replay.json").write_text(json.dumps(document))
    return folder


def entry(file: str, path: str = KLINE, **query: str) -> dict[str, Any]:
    return {"method": "GET", "path": path, "query": query, "status": 200, "headers": {}, "file": file}


def served(folder: Path, *targets: str) -> list[str]:
    """The names of the files that answer."""
    return [body.decode() for _, _, body in fetch(folder, *targets)]


def code(reply: tuple[int, dict[str, str], bytes]) -> tuple[int, int, Any]:
    """HTTP status, retCode and result."""
    body = json.loads(reply[2])
    assert set(body) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    return reply[0], body["retCode"], body["result"]


def every_entry(folder: Path) -> list[Any]:
    return list(json.loads((folder / "replay.json").read_bytes())["entries"])


def assert_all_served(folder: Path) -> None:
    entries = every_entry(folder)
    keys = ("category", "symbol", "cursor", "interval", "period")
    firsts: dict[Any, Any] = {}
    for one in entries:  # of entries that agree on all of these the first listed answers
        firsts.setdefault((one["path"], *(one["query"].get(key) for key in keys)), one)
    targets = [str(URL(one["path"]).with_query(one["query"])) for one in firsts.values()]
    for one, (status, headers, body) in zip(firsts.values(), fetch(folder, *targets), strict=True):
        assert status == one["status"]
        assert headers["Content-Type"] == one["headers"]["Content-Type"]
        assert body == (folder / one["file"]).read_bytes()


def test_bundled_recordings_are_served_byte_for_byte() -> None:
    """Every bundled recording answers its own request with its status, its headers and its bytes."""
    assert_all_served(BUNDLED)


@pytest.mark.skipif(OTHER is None, reason="BYBIT_RECORDED_DIR names no folder with more recordings")
def test_other_recordings_are_served_byte_for_byte() -> None:
    """The same of a folder of recordings that cannot be distributed with the tests."""
    assert_all_served(Path(str(OTHER)))


def test_the_entry_that_agrees_on_most_answers(tmp_path: Path) -> None:
    """An entry that names more of what is asked beats one that names less, wherever they are listed."""
    record(
        tmp_path,
        entry("any", category="linear"),
        entry("btc", category="linear", symbol="BTCUSDT"),
        entry("btc-60", category="linear", symbol="BTCUSDT", interval="60"),
    )
    targets = [f"{KLINE}?category=linear&symbol=BTCUSDT&interval={interval}" for interval in ("60", "5")]
    assert served(tmp_path, *targets, f"{KLINE}?category=linear") == ["btc-60", "btc", "any"]


def test_an_entry_that_contradicts_never_answers(tmp_path: Path) -> None:
    """Each of the parameters that choose can rule an entry out; a category not recorded is Bybit's 10001."""
    record(tmp_path, entry("one", category="linear", symbol="BTCUSDT", interval="60", period="1h"))
    head = f"{KLINE}?category=linear&symbol=BTCUSDT&interval=60&period=1h"
    for name, value in (("category", "spot"), ("symbol", "ETHUSDT"), ("interval", "5"), ("period", "4h")):
        target = str(URL(head).update_query({name: value}))
        assert code(fetch(tmp_path, target)[0]) == (200, 10001, {})
    assert served(tmp_path, head) == ["one"]


def test_of_equals_the_first_listed_answers_and_other_parameters_are_ignored(tmp_path: Path) -> None:
    """Limits and times choose nothing, be they in the request or in the entry."""
    record(
        tmp_path,
        entry("first", category="spot", symbol="BTCUSDT", limit="1"),
        entry("second", category="spot", symbol="BTCUSDT", limit="200"),
    )
    target = f"{KLINE}?category=spot&symbol=BTCUSDT"
    assert served(tmp_path, f"{target}&limit=200&start=5", target, f"{target}&limit=") == ["first"] * 3


def test_a_parameter_left_out_contradicts_nothing(tmp_path: Path) -> None:
    """A request may name less than the entry: kline without its optional category finds its recording."""
    record(tmp_path, entry("one", category="linear", symbol="BTCUSDT", interval="60"))
    assert served(tmp_path, f"{KLINE}?symbol=BTCUSDT&interval=60") == ["one"]


def test_pages_are_chosen_by_cursor(tmp_path: Path) -> None:
    """A recorded cursor finds its page, as it is or encoded once more; only the first page answers without one."""
    record(
        tmp_path,
        entry("second", MARKETS, category="linear", cursor="first%3DA%26last%3DB"),
        entry("first", MARKETS, category="linear"),
    )
    head = f"{MARKETS}?category=linear"
    plain, again = f"{head}&cursor=first%3DA%26last%3DB", f"{head}&cursor=first%253DA%2526last%253DB"
    assert served(tmp_path, head, f"{head}&cursor=", plain, again) == ["first", "first", "second", "second"]


def test_a_cursor_that_was_not_recorded_gets_an_empty_last_page() -> None:
    """The recorded first page has a cursor whose page was not recorded: following it ends, in order."""
    first = json.loads(fetch(BUNDLED, f"{MARKETS}?category=linear")[0][2])["result"]
    assert len(first["list"]) == 500
    reply = fetch(BUNDLED, f"{MARKETS}?category=linear&cursor={first['nextPageCursor']}")[0]
    assert code(reply) == (200, 0, {"category": "linear", "list": [], "nextPageCursor": ""})


def test_what_was_not_recorded_is_10001() -> None:
    """A path, a symbol or a method without a recording is refused with HTTP 200 and retCode 10001."""
    replies = fetch(
        BUNDLED,
        "/v5/market/nothing",
        "/v5/market/tickers?category=linear&symbol=NOSUCHUSDT",
        f"{MARKETS}?category=linear&symbol=NOSUCHUSDT",
        f"{MARKETS}?category=option&cursor=abc",
    )
    replies += fetch(BUNDLED, "/v5/market/time", method="POST")
    assert [code(reply) for reply in replies] == [(200, 10001, {})] * 5


def test_a_symbol_within_a_recorded_list_was_recorded() -> None:
    """A list recorded without a symbol answers for the symbols that it holds."""
    replies = fetch(BUNDLED, f"{MARKETS}?category=linear&symbol=BTCUSDT", f"{MARKETS}?category=linear")
    assert replies[0][2] == replies[1][2]


def test_a_reply_about_no_symbol_answers_for_every_symbol(tmp_path: Path) -> None:
    """A recorded refusal or page of HTML that was listed without a symbol is served whichever symbol is asked for."""
    record(tmp_path, entry("busy", category="linear"))
    assert served(tmp_path, f"{KLINE}?category=linear&symbol=BTCUSDT&interval=1") == ["busy"]


def test_status_and_headers_are_the_recorded_ones(tmp_path: Path) -> None:
    """A recorded status (also one that Python does not know) and headers are served; the framing is our own."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "late").write_bytes(b"\x00\xff\r\n\r\n")
    headers = {"X-Bapi-Limit": "7", "Content-Length": "99", "Content-Encoding": "br", "Transfer-Encoding": "chunked"}
    record(
        tmp_path,
        {**entry("empty", "/a"), "status": 401},
        {**entry("late", "/b"), "status": 520, "headers": headers},
    )
    (status, found, body), (late_status, late_headers, late_body) = fetch(tmp_path, "/a", "/b")
    assert (status, body, found["Content-Length"]) == (401, b"", "0")
    assert (late_status, late_body) == (520, b"\x00\xff\r\n\r\n")
    assert (late_headers["X-Bapi-Limit"], late_headers["Content-Length"]) == ("7", "6")
    assert not {"Content-Encoding", "Transfer-Encoding"} & set(late_headers)


def test_faults_strike_recorded_replies_too() -> None:
    """A fault plan and recordings can be used together."""

    async def main() -> list[int]:
        plan = {"version": 1, "rules": [{"fault": "html_502", "nth": [1]}]}
        async with Simulator(replay=BUNDLED, faults=plan) as sim, aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(2):
                async with session.get(sim.url + "/v5/market/time") as response:
                    statuses.append(response.status)
            assert [seen.op for seen in sim.requests] == ["time", "time"]
            return statuses

    assert asyncio.run(main()) == [502, 200]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "replay.json: no such file: give the folder"),
        ("{", "replay.json: line 1: is not JSON"),
        ("[]", "replay.json: Expected `object`, got `array`"),
        ('{"version": 2, "exchange": "bybit", "entries": []}', "replay.json: version is 2, must be 1"),
        ('{"version": 1, "exchange": "okx", "entries": []}', "replay.json: exchange is 'okx', must be 'bybit'"),
        ('{"version": 1, "exchange": "bybit", "entries": [{"path": "/"}]}', "missing required field `method`"),
        ('{"version": 1, "exchange": "bybit"}', "missing required field `entries`"),
    ],
)
def test_a_bad_folder_is_one_clear_line(tmp_path: Path, content: str | None, text: str) -> None:
    """The error names the file and what is wrong with it."""
    if content is not None:
        (tmp_path / "replay.json").write_text(content)
    assert_refused(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"file": "absent.json"}, "entries[1]: file 'absent.json' cannot be read: No such file or directory"),
        ({"file": "../outside.json"}, "entries[1]: file is '../outside.json', must lie within the folder"),
        ({"status": 99}, "entries[1]: status is 99, must be an HTTP status from 200 to 599"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "entries[1]: header 'X-A' is not one line of text"),
    ],
)
def test_a_bad_entry_is_one_clear_line(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    """The error names the entry by its number; a file outside of the folder is never read."""
    (tmp_path.parent / "outside.json").write_text("{}")
    record(tmp_path, entry("one"), entry("two"))
    document = json.loads((tmp_path / "replay.json").read_text())
    document["entries"][1].update(change)
    (tmp_path / "replay.json").write_text(json.dumps(document))
    assert_refused(tmp_path, text)


def assert_refused(folder: Path, text: str) -> None:
    with pytest.raises(ReplayError) as caught:
        Simulator(replay=folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert text in message
    assert "\n" not in message


def test_bundled_recordings_name_their_licence() -> None:
    """Every bundled file is listed in the README that carries its source and licence."""
    readme = (BUNDLED / "README.md").read_text(encoding="utf-8")
    files = [path.relative_to(BUNDLED).as_posix() for path in BUNDLED.rglob("*.json*") if path.name != "replay.json"]
    assert len(files) > 10
    assert [file for file in files if f"`{file}`" not in readme] == []
    assert "Permission is hereby granted" in readme


def test_recorded_errors_have_the_envelope_that_the_simulator_sends() -> None:
    """Recorded refusals and simulated ones have the same five fields, and an empty result."""
    for path in (BUNDLED / "rest" / "errors").iterdir():
        for line in path.read_text().splitlines():
            body = json.loads(line)
            simulated = json.loads(fetch(BUNDLED, "/v5/market/nothing")[0][2])
            assert set(body) == set(simulated)
            assert body["result"] == simulated["result"] == {}
