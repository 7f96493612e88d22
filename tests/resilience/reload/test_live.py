"""Live pipelines: objects that stay while their file changes, and a file that is watched as it really is written."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import Bulkhead, ConfigError, Op, Pipeline, TimedOut
from resilience.reload import Live, Source
from resilience.reload.watcher import Looks, Watcher
from resilience.testing import Recorder, Script, after, never, virtual

put, get = Path.write_text, Path.read_text  # small files of the test itself
FILE = """\
version: 1
pipelines:
  market: [bulkhead: 3, timeout: 10s]
  trade: [timeout: 5s]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "pipelines.yaml"
    put(file, FILE)
    return file


def limits(live: Live) -> list[Any]:
    return [policy.limit for policy in live["market"].policies if isinstance(policy, Bulkhead)]


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_objects_stay_and_follow(path: Path) -> None:
    """Whoever holds a pipeline, or a function that it guards, is guarded by the new policies from the next call on."""

    @virtual
    async def main() -> None:
        live = resilience.watch(path)
        market = live["market"]
        slow = market.guard(Op("slow"))(Script(after(7, "slow")))
        assert await slow() == "slow"
        begun = asyncio.create_task(slow())
        await asyncio.sleep(1)
        put(path, FILE.replace("10s", "2s"))
        assert live.reload()
        with pytest.raises(TimedOut):
            await slow()
        assert await begun == "slow"  # it ends on what it began with
        assert live["market"] is market
        assert dict(live) == {"market": market, "trade": live["trade"]}
        assert repr(live) == f"<Live {str(path)!r}: market, trade>"

    main()


def test_a_bad_file_changes_nothing_and_says_so_everywhere(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the result, the status, one line of the log, and an event; once for one mistake. `loaded_at` does not move."""
    recorder = Recorder()
    live = resilience.watch(path, observers=[recorder])
    before = live.status()["config"]
    assert before["error"] is None
    put(path, FILE.replace("bulkhead", "bulkhed"))
    with caplog.at_level(logging.INFO, "resilience"):
        for _ in range(3):
            outcome = live.reload()
    assert not outcome
    after_it = live.status()["config"]
    assert outcome.error == after_it["error"] == str(outcome)
    assert after_it["error"].startswith(f"{path}:3:")
    assert {**after_it, "error": None} == before
    assert limits(live) == [3]
    (line,) = caplog.messages
    assert line.startswith(after_it["error"])
    put(path, FILE)
    with caplog.at_level(logging.INFO, "resilience"):
        assert live.reload()
    assert live.status()["config"]["error"] is None
    assert live.status()["config"]["loaded_at"] > before["loaded_at"]
    assert [(change.kind, change.key, change.new) for change in recorder.changes] == [
        ("config", str(path), "refused"),
        ("config", str(path), "loaded"),
    ]
    assert caplog.messages[1:] == [f"{path} is in force: nothing changes"]


def test_a_file_that_is_invalid_to_begin_with_is_an_error(path: Path) -> None:
    """There is no last good one."""
    put(path, "version: 1\n")
    with pytest.raises(ConfigError, match="pipelines is missing"):
        resilience.watch(path)


def test_a_removed_pipeline_goes_on_is_named_and_comes_back(path: Path) -> None:
    """It is no longer found by its name; new ones are."""
    live = resilience.watch(path)
    trade = live["trade"]
    put(path, FILE.replace("trade", "orders"))
    outcome = live.reload()
    assert [str(change) for change in outcome.changes] == ["orders: added pipeline", "trade: removed pipeline"]
    assert list(live) == ["market", "orders"]
    with pytest.raises(KeyError):
        live["trade"]
    assert live.status()["config"]["removed"] == ["trade"]
    assert trade.policies[0].seconds == 5  # type: ignore[attr-defined]
    put(path, FILE.replace("5s", "6s"))
    live.reload()
    assert live["trade"] is trade
    assert trade.policies[0].seconds == 6  # type: ignore[attr-defined]
    assert live.status()["config"]["removed"] == ["orders"]


def test_new_pipelines_share_with_the_old_ones_and_are_observed(path: Path) -> None:
    """The limit of an address is one for all, whenever they came into the file."""

    @virtual
    async def main() -> None:
        recorder = Recorder()
        put(path, "version: 1\npipelines:\n  a: [rate_limit: {rate: 10/1s, key: ip}]\n")
        live = resilience.watch(path, observers=[recorder])
        await live["a"].run(Script(1))
        put(path, get(path) + "  b: [rate_limit: {rate: 10/1s, key: ip}]\n")
        live.reload()
        await live["b"].run(Script(1))
        assert live.status()["pipelines"]["a"] == live.status()["pipelines"]["b"]
        assert recorder.events
        assert live["b"].observers == (recorder,)

    main()


def test_sections_that_observe_take_effect_at_the_next_start(path: Path) -> None:
    """They are compared, and the outcome says so; the pipelines follow at once."""
    put(path, FILE + "telemetry: {traces: off}\n")
    live = resilience.watch(path)
    messages: list[str] = []
    live["market"].observe(lambda event: messages.append(event.cause))
    put(path, FILE.replace("3", "4") + "telemetry: {traces: always}\n")
    assert live.reload()
    assert limits(live) == [4]
    assert messages[-1].endswith("telemetry takes effect at the next start")


def test_a_file_without_its_ending_is_not_taken(path: Path) -> None:
    """Cut in the middle of a line; cut anywhere, where the file in force ends with YAML's mark for the end."""
    live = resilience.watch(path)
    put(path, FILE.replace("3", "4").removesuffix("\n"))
    assert "ends in the middle of a line" in str(live.reload())
    put(path, FILE + "...\n")
    assert live.reload()
    put(path, FILE.replace("3", "4"))
    assert "half written" in str(live.reload())
    assert limits(live) == [3]
    put(path, FILE.replace("3", "4") + "...  \n\n")
    assert live.reload()
    assert limits(live) == [4]


def test_a_file_that_changes_while_it_is_read_is_read_again(path: Path) -> None:
    """And left alone if that goes on: nobody knows which of the versions the result would be."""
    source = Source(path)
    written = iter(range(10))

    def parse(times: int) -> Callable[[], tuple[str, tuple[str, ...]]]:
        def read() -> tuple[str, tuple[str, ...]]:
            text = path.read_text()
            if next(written) < times:
                put(path, text + "#\n")
            if text.endswith("#\n#\n"):
                return text, (str(path),)
            raise ConfigError("half")

        return read

    made, contents = source.read(parse(2))
    assert contents == {str(path): made.encode()}
    written = iter(range(10))
    with pytest.raises(ConfigError, match="is being written"):
        source.read(parse(99))


def test_an_observer_that_fails_stops_no_reload(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is isolated, as everywhere."""

    def bad(event: Any) -> None:
        raise ValueError

    live = resilience.watch(path, observers=[bad])
    put(path, FILE.replace("3", "4"))
    assert live.reload()
    assert "an observer failed" in caplog.text


# -- watched ----------------------------------------------------------------------------------------------------------


def test_a_change_is_due_when_two_looks_find_the_same(path: Path) -> None:
    """Not while it grows, not when it was only touched, and later if it is only the beginning of what is in force."""
    source = Source(path)
    source.good = source.contents()
    looks = Looks(source)
    assert [looks.due() for _ in range(3)] == [False] * 3
    put(path, FILE + "#")
    assert not looks.due()
    put(path, FILE + "##")
    assert [looks.due() for _ in range(3)] == [False, True, False]
    source.good = source.contents()
    os.utime(path, ns=(1, 1))
    assert [looks.due() for _ in range(3)] == [False] * 3
    put(path, FILE)
    assert [looks.due() for _ in range(11)] == [False] * 9 + [True, False]
    source.good = source.contents()
    os.unlink(path)
    assert [looks.due() for _ in range(3)] == [False, True, False]
    source.error = "no file"
    put(path, FILE)
    assert [looks.due() for _ in range(3)] == [False, True, False]  # as before, but the error has to go


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.002)


def test_a_watched_file_is_followed_through_mistakes_and_renames(path: Path) -> None:
    """Written in place, replaced as editors do it, broken, deleted, and put right again; calls go on."""

    async def main() -> None:
        live = resilience.watch(path, every=0.005)
        async with live:
            put(path, FILE.replace("3", "4"))
            await until(lambda: limits(live) == [4])
            other = path.with_suffix(".new")
            put(other, FILE.replace("3", "5"))
            os.replace(other, path)
            await until(lambda: limits(live) == [5])
            put(path, "version: [")
            await until(lambda: live.status()["config"]["error"])
            os.unlink(path)
            await until(lambda: "cannot be read" in live.status()["config"]["error"])
            assert limits(live) == [5]
            assert await live["market"].run(Script("well")) == "well"
            put(path, FILE.replace("3", "6"))
            await until(lambda: limits(live) == [6])
            assert live.status()["config"]["error"] is None
            put(path, FILE)
            await until(lambda: limits(live) == [3])
        put(path, FILE.replace("3", "7"))
        await asyncio.sleep(0.05)
        assert limits(live) == [3]  # nobody watches any more

    asyncio.run(main())


def test_a_slow_writer_is_waited_for(path: Path) -> None:
    """Whole lines that come one by one make sense at every moment, and none of it is taken before it is whole."""

    async def main() -> None:
        live = resilience.watch(path, every=0.02)
        seen: set[tuple[Any, ...]] = set()
        whole = FILE.replace("market: [bulkhead: 3", "market: [bulkhead: 4")
        async with live:
            with path.open("w") as file:
                for line in whole.splitlines(keepends=True):
                    file.write(line)
                    file.flush()
                    await asyncio.sleep(0.005)
                    seen.add((*live, *limits(live)))
            await until(lambda: limits(live) == [4])
        assert seen <= {("market", "trade", 3), ("market", "trade", 4)}

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_sighup_reads_the_file_at_once(path: Path) -> None:
    """As daemons do; afterwards the signal means what it did."""

    async def main() -> None:
        live = resilience.watch(path, every=60, sighup=True)
        async with live:
            put(path, FILE.replace("3", "4"))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: limits(live) == [4])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL

    asyncio.run(main())


def test_sighup_is_for_the_main_thread(path: Path) -> None:
    """Elsewhere no signal arrives: said at once."""
    errors: list[Exception] = []

    async def main() -> None:
        with pytest.raises(ConfigError, match="main thread") as caught:
            async with resilience.watch(path, sighup=True):
                pass
        errors.append(caught.value)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert errors


def test_a_fault_of_our_own_ends_no_watching(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next version is taken."""

    async def main() -> None:
        live = resilience.watch(path, every=0.005)
        faults = [ZeroDivisionError()]

        def read_whole(*args: Any, **kwargs: Any) -> Any:
            if faults:
                raise faults.pop()
            return plain(*args, **kwargs)

        plain = resilience.reload.live.read_whole  # type: ignore[attr-defined]
        monkeypatch.setattr("resilience.reload.live.read_whole", read_whole)
        async with live:
            put(path, FILE.replace("3", "4"))
            await until(lambda: not faults)
            put(path, FILE.replace("3", "5"))
            await until(lambda: limits(live) == [5])
        assert "watching goes on" in caplog.text

    asyncio.run(main())


def test_leaving_closes_what_every_version_held_open(path: Path) -> None:
    """The pools of the file in force, those of an earlier one that are still lent, and those of removed pipelines."""
    closed: list[str] = []

    class Resource:
        def __init__(self, name: str) -> None:
            self.name = name

        async def aclose(self) -> None:
            closed.append(self.name)

    @virtual
    async def main() -> None:
        put(path, "version: 1\npipelines:\n  a: [pool: x]\n  b: [pool: z]\n")
        live = resilience.watch(path, resources={name: lambda name=name: Resource(name) for name in "xyz"})
        task = asyncio.create_task(live["a"].run(Script(never)))
        await live["b"].run(Script(1))
        await asyncio.sleep(1)
        put(path, "version: 1\npipelines:\n  a: [pool: y]\n")
        assert live.reload()
        await live["a"].run(Script(1))
        assert closed == []
        await live.aclose()
        assert sorted(closed) == ["x", "y", "z"]
        task.cancel()

    main()


def test_a_pipeline_made_of_another_is_a_pipeline_of_its_own(path: Path) -> None:
    """Copies (by +, by a registry) do not follow the file."""
    live = resilience.watch(path)
    copy = live["market"] + Bulkhead(9)
    put(path, FILE.replace("3", "4"))
    live.reload()
    assert isinstance(copy, Pipeline)
    assert copy.policies[0] == Bulkhead(3)


def test_what_a_file_includes_is_watched_too(path: Path) -> None:
    """A change there is followed; a mistake there is watched where it stands, even in a part that is new."""

    async def main() -> None:
        part, more = path.with_name("more.yaml"), path.with_name("another.yaml")
        put(part, "version: 1\npipelines:\n  market: [bulkhead: 3, timeout: 10s]\n")
        put(path, "version: 1\ninclude: [./more.yaml]\npipelines:\n  trade: [timeout: 5s]\n")
        live = resilience.watch(path, every=0.005)
        async with live:
            put(part, get(part).replace("3", "4"))
            await until(lambda: limits(live) == [4])
            put(more, "version: 1\npipelines:\n  market: [bulkhead: none]\n")
            put(path, get(path).replace("more", "another"))
            await until(lambda: "another.yaml:3" in str(live.status()["config"]["error"]))
            put(more, "version: 1\npipelines:\n  market: [bulkhead: 5]\n")
            await until(lambda: limits(live) == [5])
            assert live.status()["config"]["error"] is None

    asyncio.run(main())


def test_what_could_not_be_read_is_tried_again(path: Path) -> None:
    """A part that comes after the file that names it, or a right that comes back, changes no file that was read."""

    async def main() -> None:
        part = path.with_name("more.yaml")
        live = resilience.watch(path, every=0.005)
        async with live:
            put(path, "version: 1\ninclude: [./more.yaml]\npipelines:\n  trade: [timeout: 5s]\n")
            await until(lambda: "more.yaml: cannot be read" in str(live.status()["config"]["error"]))
            put(part, "version: 1\npipelines:\n  market: [bulkhead: 5, timeout: 10s]\n")
            await until(lambda: limits(live) == [5])
            assert live.status()["config"]["error"] is None

    asyncio.run(main())


def test_a_deployment_that_gives_every_file_one_time(path: Path) -> None:
    """Another content of the same length, in the same inode, with the same time of writing."""
    os.utime(path, ns=(1, 1))
    source = Source(path)
    source.good = source.contents()
    looks = Looks(source)
    assert [looks.due() for _ in range(3)] == [False] * 3
    put(path, FILE.replace("3", "4"))
    os.utime(path, ns=(1, 1))
    assert [looks.due() for _ in range(3)] == [False, True, False]


def test_what_was_read_before_a_reload_by_hand_is_not_taken_after_it(path: Path) -> None:
    """Watching reads in a thread; whoever reloads meanwhile has read the file later."""
    begun, go = threading.Event(), threading.Event()
    taken: list[str] = []

    def prepare() -> str:
        text = get(path)
        begun.set()
        go.wait(20)
        return text

    async def main() -> None:
        source = Source(path)
        source.good = source.contents()
        watcher = Watcher(source, prepare, taken.append, 0.005)
        watcher.start()
        put(path, FILE.replace("3", "4"))
        await asyncio.to_thread(begun.wait, 20)
        put(path, FILE.replace("3", "5"))
        source.accept(source.contents(), (), "by hand")
        go.set()
        await asyncio.sleep(0.1)
        assert taken == []
        put(path, FILE.replace("3", "6"))
        await until(lambda: len(taken) == 1)
        await watcher.stop()

    asyncio.run(main())
    assert taken == [FILE.replace("3", "6")]
