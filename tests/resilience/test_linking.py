"""A pipeline follows the event loop that runs, whichever kind of loop it is, and into the child of a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from resilience import Pipeline, TimedOut, Timeout
from resilience.linking import Linked
from resilience.testing import Script, VirtualLoop, never


def test_each_loop_times_its_own_calls() -> None:
    """One after the other, and while another loop runs in another thread."""
    pipeline = Pipeline(Timeout(5))
    outcomes: list[object] = []

    def play() -> None:
        try:
            VirtualLoop().run(pipeline.run(Script(never)))
        except TimedOut as late:
            outcomes.append(late.seconds)

    threads = [threading.Thread(target=play) for _ in range(4)]
    play()
    for thread in threads:
        thread.start()
        thread.join()
    assert outcomes == [5] * 5


def test_a_loop_that_is_not_asyncios_own_is_known_by_asking() -> None:
    """It has no thread to compare with: then the running loop is asked for."""

    async def here(linked: Linked) -> int | None:
        return linked._thread_id

    mine, other = VirtualLoop(), VirtualLoop()
    assert mine.run_until_complete(here(Linked(mine))) == threading.get_ident()
    assert mine.run_until_complete(here(Linked(other))) is None
    assert mine.run_until_complete(here(Linked(None))) is None
    mine.close()
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_the_child_of_a_fork_links_anew() -> None:
    """Forked inside a running loop, the child's copy of that loop looks as if it ran; timeouts must not rely on it."""
    program = textwrap.dedent("""
        import asyncio, os, sys, warnings
        from resilience import Pipeline, TimedOut, Timeout
        from resilience.testing import Script, never
        warnings.simplefilter("ignore", DeprecationWarning)
        pipeline = Pipeline(Timeout(0.05))

        async def late():
            try:
                await pipeline.run(Script(never))
            except TimedOut:
                return 0
            return 1

        async def parent():
            await late()
            child = os.fork()
            if child == 0:
                asyncio.events._set_running_loop(None)
                os._exit(asyncio.run(late()))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + await late()

        sys.exit(asyncio.run(parent()))
    """)
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True, text=True)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


def test_the_record_of_an_attempt_is_made_when_asked_for_and_knows_what_came_before() -> None:
    """A target that has been called counts as sent, whether somebody asked for the record before that or after."""
    from resilience import Op
    from resilience.call import Call

    early, late = Call(Op("op"), Script()), Call(Op("op"), Script())
    assert early.attempt.sent is False
    assert early.made is early.attempt
    assert late.made is None
    late.reached = True
    assert late.attempt.sent is True
    assert late.attempts == [late.attempt]
