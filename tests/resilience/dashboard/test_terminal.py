"""`resilience top` without its screen: what is asked, what is printed once, and that no token and no code gets out."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from served import on_sockets, served
from traces import ids, retried

from resilience import Breaker, Bulkhead, CircuitOpen, ConfigError, Op, Pipeline, RateLimit, Retry
from resilience.dashboard import Dashboard
from resilience.dashboard.analysis import analyse
from resilience.dashboard.store import Store
from resilience.dashboard.terminal.client import Client, Unreachable, checked
from resilience.dashboard.terminal.plain import fetch, text
from resilience.dashboard.terminal.rows import SORTS, failures, operations
from resilience.dashboard.terminal.states import readable, states
from resilience.dashboard.terminal.waterfall import waterfall
from resilience.dashboard.terminal.words import ago, clean, count, ms, percent, seconds
from resilience.testing import Script

READ = Op("read", idempotent=True)
TOKEN = "a-token-of-many-letters-0123456789"  # noqa: S105 (of this test alone)


def some(*, failed: int = 0, op: str = "ticker", **more: Any) -> dict[str, Any]:
    """An operation of a snapshot."""
    return {
        "pipeline": "market", "op": op, "effective": 1.0, "actual": 0.5, "attempts": {"retry": 3}, "p50_ms": 12.0,
        "p99_ms": 1500.0, "rate": [0] * 54 + [2, 2, 2, 2, 2, 9], "errors": [failed] + [0] * 59, **more,
    }  # fmt: skip


def test_numbers_read_as_people_write_them() -> None:
    """Absent ones are a dash; a share that is not all is never 100 %."""
    assert [ms(value) for value in (0, 0.04, 1.25, 12.3, 1500, 12_000, 90_000, None)] == [
        "0", "40 µs", "1.2 ms", "12 ms", "1.50 s", "12.0 s", "1.5 min", "–",
    ]  # fmt: skip
    assert [percent(value) for value in (1, 0.99999, 0.5, 0, None)] == ["100 %", "99.99 %", "50.0 %", "0 %", "–"]
    assert [count(value) for value in (3, 2.5, 12_345, 2e6, None)] == ["3", "2.5", "12.3 k", "2.0 M", "–"]
    assert [ago(0, value) for value in (5_000, 600_000, 9e6)] == ["5 s", "10 min", "2.5 h"]
    assert (seconds(0.9), seconds(None), ago(None, 1)) == ("900 ms", "–", "–")


def test_what_a_span_says_moves_no_cursor() -> None:
    """Escape codes, line breaks and the signs that turn a line around become question marks, in every line."""
    evil = "\x1b[2J\r\n\x07\u202e\x9b1m"
    assert clean(evil) == "?[2J????" + "?1m"
    snapshot: Any = {
        "headline": {},
        "ops": [some(op=evil, pipeline=evil)],
        "breakers": [{"pipeline": evil, "key": evil, "state": evil, "since_s": 1}],
        "limits": [{"pipeline": evil, "name": evil, "rate": evil, "headroom": 1, "limit": 2}],
        "pools": [{"pipeline": evil, "name": evil}],
        "bulkheads": [{"name": evil}],
        "budgets": [{"name": evil}],
        "chaos": [{"name": evil}],
    }
    kept: Any = {"trace_id": evil, "op": evil, "outcome": evil, "error_type": evil, "why": evil}
    printed = text({"snapshot": snapshot, "failures": [kept]})
    assert all(line.isprintable() for line in printed.split("\n"))
    trace = analyse_of(*retried(1, evil))
    trace["why"] = trace["summary"]["op"] = evil
    assert all(line.isprintable() for _, line in waterfall(trace))


def analyse_of(*spans: Any) -> dict[str, Any]:
    store = Store()
    store.add(spans)
    (trace,) = store.traces()
    return analyse(trace)


def test_operations_are_sorted_and_filtered() -> None:
    """The largest first, by name where they are equal; every word of the filter must be in the line."""
    snapshot = {"ops": [some(op="b"), some(op="a"), some(op="c", failed=2, p99_ms=1)]}

    def order(*more: str) -> list[str]:
        return [line.cells[0] for line in operations(snapshot, *more)]

    assert order() == ["c (market)", "a (market)", "b (market)"]
    assert order("p99") == ["a (market)", "b (market)", "c (market)"]
    assert order("name", "MARKET b") == ["b (market)"]
    assert order("name", "market nothing") == []
    (line,) = operations(snapshot, "errors", "c (market)")
    assert line.cells == ("c (market)", "2", "100 %", "50.0 %", "3", "12 ms", "1.0 ms", "2")
    assert line.tone == "bad"
    assert set(SORTS) == {"errors", "calls/s", "p99", "retries", "name"}


def test_what_is_in_trouble_comes_first() -> None:
    """An open circuit before a limit that is nearly used up, before what is well."""
    snapshot = {
        "breakers": [
            {"pipeline": "p", "key": "calm", "state": "closed", "since_s": 3, "failure_rate": 0.1, "opens": 0},
            {"pipeline": "p", "key": "sick", "state": "open", "since_s": 3, "next_probe_s": 2, "opens": 1},
        ],
        "limits": [
            {"pipeline": "p", "name": "rate_limit:bybit/ip/600/5s ip", "rate": "600/5s", "headroom": 20, "limit": 600,
             "server": {"remaining": 5, "limit": 10}},
        ],
    }  # fmt: skip
    lines = states(snapshot)
    assert [line.tone for line in lines] == ["bad", "warn", ""]
    assert lines[0].cells == ("breaker sick", "open", "for 3.00 s, probes in 2.00 s, opened 1x")
    assert lines[1].cells == ("limit bybit ip 600/5s", "20 of 600 left", "server 5/10")
    assert [line.key for line in states(snapshot, "calm")] == ["breaker/p/calm"]


@pytest.mark.parametrize(
    ("name", "rate", "shown"),
    [
        ("rate_limit:bybit/ip/600/5s ip", "600/5s", "bybit ip"),
        ("pool:rest", "", "rest"),
        ("bulkhead#2 op:ticker", "", "bulkhead#2 ticker"),
        ("budget:all/0.2 or 10/s in 10s", "", "all"),
    ],
)
def test_names_of_states_are_shortened(name: str, rate: str, shown: str) -> None:
    """As on the page."""
    assert readable(name, rate) == shown


def test_a_call_is_drawn_on_one_axis() -> None:
    """Two attempts of 100 ms and 200 ms of pause between them, in a window of any width."""
    trace = analyse_of(*retried(1))
    lines = [line for _, line in waterfall(trace, 80)]
    first, pause, second = (next(line for line in lines if word in line) for word in (" original", "waits", " retry"))
    wide = 80 - 34 - 12
    assert first.count("█") == second.count("█") == round(wide / 4)
    assert pause.count("·") == round(wide / 2)
    assert first.index("█") < pause.index("·") < second.index("█")
    assert "waits 200 ms of backoff" in pause
    assert any("first byte 50 ms" in line for line in lines)
    assert lines[0] == "ticker: ok"
    assert "1 reset, second attempt won." in lines
    for width in (40, 60, 200):
        assert all(len(line) <= width for _, line in waterfall(trace, width))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8787", "ftp://h", "http://", "http://h:x", "http://me:hush@h", "http://h/api?token=hush", "http://h/x"]
)  # fmt: skip
def test_an_address_that_is_none_is_one_line_and_repeats_no_secret(url: str) -> None:
    """Nor does one with a user, a path or a query in it."""
    with pytest.raises(ConfigError, match="--url") as caught:
        checked(url)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@on_sockets
async def test_everything_is_printed_once() -> None:
    """Operations, states and failures with their sentence, of a dashboard that runs."""
    market = Pipeline(Retry(attempts=2, wait=0), Breaker(min_calls=2), RateLimit("600/5s"), Bulkhead(5), name="market")
    async with served(market, controls=True) as dashboard:
        await market.run(Script("ok"), op=READ)
        for _ in range(2):
            with pytest.raises((ConnectionRefusedError, CircuitOpen)):
                await market.run(Script(*[ConnectionRefusedError()] * 2), op=READ)
        found = await fetch(dashboard.address, None)
        csrf = dashboard.live.csrf
    assert csrf
    assert csrf not in json.dumps(found)
    printed = text(found, 120)
    assert all(len(line) <= 120 for line in printed.split("\n"))
    for words in ("read (market)", "breaker market", "open", "limit 600/5s", "bulkhead market", "refused connection"):
        assert words in printed, printed


@on_sockets
async def test_the_token_is_sent_and_nowhere_shown() -> None:
    """Without it and with a wrong one the line says what to do; a redirect is not followed with it."""
    async with served(token=TOKEN) as dashboard:
        async with Client(dashboard.address, TOKEN) as client:
            assert (await client.snapshot())["ops"] == []
            assert TOKEN not in repr(client) + repr(vars(client))
        for word, said in (
            (None, "it needs a token; give --token"),
            ("another-token-of-letters", "that is not its token"),
        ):
            async with Client(dashboard.address, word) as client:
                with pytest.raises(Unreachable, match=said) as caught:
                    await client.snapshot()
                assert (word or TOKEN) not in str(caught.value)
    with pytest.raises(ConfigError, match="the token"):
        Client("http://127.0.0.1:1", "a\nb")


async def answering(answer: bytes) -> Any:
    """A server of another kind."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "no dashboard of resilience"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no dashboard of resilience"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "it answers 302"),
        (b"HTTP/1.1 429 No\r\nContent-Length: 18\r\n\r\n{\"error\":\"enough\"}", "it answers 429, enough"),
        (b"", "the connection broke"),
        (b"\xff\xff\r\n\r\n", "the connection broke"),
    ],
)  # fmt: skip
def test_what_is_no_dashboard_is_told_in_one_line(answer: bytes, said: str) -> None:
    """Whatever listens there instead."""

    async def main() -> None:
        async with await answering(answer) as server:
            port = server.sockets[0].getsockname()[1]
            async with Client(f"http://127.0.0.1:{port}", TOKEN) as client:
                with pytest.raises(Unreachable, match=said) as caught:
                    await client.snapshot()
        assert TOKEN not in str(caught.value)

    asyncio.run(main())


@on_sockets
async def test_it_comes_back_when_the_dashboard_does() -> None:
    """``here`` and a snapshot; ``away`` with the reason; and ``here`` again on the same port."""
    dashboard = Dashboard(port=0)
    await dashboard.start()
    port = int(dashboard.address.rsplit(":", 1)[1])
    async with Client(dashboard.address) as client:
        stream = client.follow()
        assert (await anext(stream)).kind == "here"
        first = await anext(stream)
        assert (first.kind, first.data["ops"], "csrf" in first.data) == ("snapshot", [], False)
        await dashboard.aclose()
        while (event := await anext(stream)).kind != "away":
            assert event.kind == "snapshot"
        assert "trying again in 0.5 s" in event.data
        assert (await anext(stream)).data.startswith("the connection is refused")
        async with Dashboard(port=port):
            while (event := await anext(stream)).kind == "away":
                pass
            assert event.kind == "here"
        await stream.aclose()


def top(*arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RESILIENCE_DASHBOARD_TOKEN": token}
    command = [sys.executable, "-m", "resilience.cli", "top", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)  # noqa: S603


def test_the_command_says_in_one_line_what_is_wrong() -> None:
    """Exit 1 where nobody is, 2 for an address that is none; the token of the environment stands in neither."""
    away = top("--once", "--url", "http://127.0.0.1:9", token=TOKEN)
    assert (away.returncode, away.stdout) == (1, "")
    assert away.stderr == "top: no dashboard at http://127.0.0.1:9: the connection is refused\n"
    wrong = top("--url", "127.0.0.1")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


@on_sockets
async def test_the_command_prints_text_or_one_json_document() -> None:
    """Where stdout is no terminal, without being told; the token comes from the environment."""
    market = Pipeline(name="market")
    async with served(market, token=TOKEN) as dashboard:
        await market.run(Script("ok"), op=READ)
        shown = await asyncio.to_thread(top, "--url", dashboard.address, token=TOKEN)
        document = await asyncio.to_thread(top, "--json", "--url", dashboard.address, token=TOKEN)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "read (market)" in shown.stdout
    assert TOKEN not in shown.stdout
    assert set(json.loads(document.stdout)) == {"snapshot", "failures"}


def test_nothing_but_the_live_view_needs_textual() -> None:
    """And where it is missing, one line says what to install."""
    program = (
        "import sys; sys.modules['textual'] = None\n"
        "import resilience.dashboard.terminal.plain, resilience.commands.top as top\n"
        "from resilience.errors import ConfigError\n"
        "try: top._live('http://127.0.0.1:9', None)\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert "pip install 'exchange-resilience[top]'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_summary_without_a_sentence_shows_how_many_attempts() -> None:
    """A call of a foreign program."""
    (line,) = failures([{"trace_id": ids(1), "op": "x", "outcome": "failed", "attempts": 2, "start": 0}], 5_000)
    assert line.cells == ("5 s", "x", "failed", "–", "2 attempts")
