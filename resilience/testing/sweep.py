"""The sweep: disturb a call at every turn of the event loop, in every way, and see that nothing is left behind.

A scene is played once undisturbed, to count the turns of the loop during the call. Then it is played again for each
turn and each disturbance, in a fresh virtual loop. The surprising part is why *turns* and not `await`s: a permit that
is handed over in the very tick of a cancellation is lost between two turns of somebody else's, where no `await` of the
call itself stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..circuit import Circuits
from ..errors import ResilienceError
from ..timing.timers import Lane
from .loop import VirtualLoop
from .recorder import Recorder
from .scene import Injected, Scene

__all__ = ["DISTURBANCES", "Sweep", "sweep"]

DISTURBANCES = ("cancel", "cancel twice", "error", "timeout", "stall", "result and cancel")
"""At one turn of the loop: the caller's task is cancelled; cancelled, and again a turn later; what the target does
fails with `Injected`; an ``asyncio.timeout()`` around the call expires; the clock jumps an hour, as in a suspended
process; the target's result comes and the caller cancels in the same tick."""

_SETTLE = 60.0  # virtual seconds that a background task (a pool's opening, a cache's renewal) may take to end
_STALL = 3600.0
_QUIET = 16  # turns of the loop in which cancelled tasks end
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Sweep:
    """What was done: `turns` of the undisturbed call, `runs` in all, and how each of them ended for the caller."""

    turns: int
    runs: int
    outcomes: Mapping[str, int]


def sweep(make: Callable[[], Scene], disturbances: Sequence[str] = DISTURBANCES) -> Sweep:
    """Play the scene that `make` makes anew each time, once for every turn of the loop and every disturbance.

    After each run: no call or task runs on, no timer is armed beyond one per length of timeout, ``status()`` counts
    nobody as busy, active, waiting or refreshing, every event of a beginning has its end, the outcome is one that may
    be (a cancelled call is cancelled, and no other is), and the pipeline serves the next call. Raises `AssertionError`
    that tells the first faults, by disturbance and turn.
    """
    first = _Play(make, None, 0)
    turns = first.run()
    faults = list(first.faults)
    outcomes: dict[str, int] = {first.outcome: 1}
    runs = 1
    for disturbance in disturbances:
        for turn in range(turns):
            play = _Play(make, disturbance, turn)
            play.run()
            runs += 1
            outcomes[play.outcome] = outcomes.get(play.outcome, 0) + 1
            faults += play.faults
    if faults:
        more = [f"... and {len(faults) - _MOST_SHOWN} more"] if len(faults) > _MOST_SHOWN else []
        raise AssertionError("\n".join([f"{len(faults)} faults in {runs} runs:", *faults[:_MOST_SHOWN], *more]))
    return Sweep(turns, runs, outcomes)


class _Loop(VirtualLoop):
    """A virtual loop that calls a function before each of its turns."""

    before: Callable[[], None] | None = None

    def _run_once(self) -> None:
        if self.before is not None:
            self.before()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, in every version since 3.4


class _Play:
    """One run of a scene."""

    def __init__(self, make: Callable[[], Scene], disturbance: str | None, at: int) -> None:
        if disturbance not in (None, *DISTURBANCES):
            raise ValueError(f"{disturbance!r} is no disturbance; there are {', '.join(DISTURBANCES)}")
        self._make = make
        self._disturbance = disturbance
        self._at = at
        self._turn = 0
        self._cancels = 0  # requests that the task took
        self._errors: list[Exception] = []
        self._complaints: list[str] = []
        self.outcome = ""
        self.faults: list[str] = []

    def run(self) -> int:
        """Play it, and check; how many turns the call under test took."""
        self._loop = loop = _Loop()
        loop.set_exception_handler(lambda _, context: self._complaints.append(str(context["message"])))
        turns = 0
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                turns = runner.run(self._main())
            except RuntimeError as deadlock:  # of the virtual loop: nobody will ever wake up
                loop.before = None
                self._fault(str(deadlock))
            faults = list(self.faults)
        self.faults = faults  # and not what comes of the runner's cancelling everybody after a deadlock
        return turns

    async def _main(self) -> int:
        self._scene = scene = self._make()
        recorder = Recorder()
        scene.pipeline.observe(recorder)
        if scene.prepare is not None:
            await scene.prepare()
        rivals = [asyncio.ensure_future(self._call()) for _ in range(scene.rivals)]
        self._scope = asyncio.timeout(None)
        self._task = asyncio.ensure_future(self._tested())
        self._loop.before = self._before_turn
        await asyncio.wait((self._task,))
        self._loop.before = None
        turns = self._turn
        self._check_outcome(await self._result(self._task))
        for rival in rivals:
            self._check_rival(await self._result(rival))
        await self._check_rest(recorder)
        return turns

    def _call(self) -> Coroutine[Any, Any, Any]:
        return self._scene.call()

    async def _tested(self) -> Any:
        async with self._scope:
            return await self._call()

    def _before_turn(self) -> None:
        """Disturb, if this is the turn. It is between two turns: what was resolved has not been noticed yet."""
        if self._task.done():
            return
        turn, self._turn = self._turn, self._turn + 1
        what = self._disturbance
        if what == "cancel twice" and turn == self._at + 1:
            self._cancel()
        if turn != self._at or what is None:
            return
        if what == "error":
            self._errors.append(Injected("injected"))
            self._scene.target.cut_short(self._errors[0])
        elif what == "timeout":
            self._scope_expires()
        elif what == "stall":
            self._loop.advance(_STALL)
        else:
            if what == "result and cancel":
                self._scene.target.cut_short()
            self._cancel()

    def _cancel(self) -> None:
        self._cancels += self._task.cancel()

    def _scope_expires(self) -> None:
        if self._turn > 1:  # else it has not been entered yet
            self._scope.reschedule(self._loop.time())

    # -- what must hold ---------------------------------------------------------------------------------------

    def _fault(self, text: str) -> None:
        where = "undisturbed" if self._disturbance is None else f"{self._disturbance} at turn {self._at}"
        self.faults.append(f"  {where}: {text}")

    async def _result(self, task: asyncio.Task[Any]) -> Any:
        """The value, or the exception, of a task."""
        await asyncio.wait((task,))
        if task.cancelled():
            return asyncio.CancelledError()
        return task.exception() or task.result()

    def _check_outcome(self, outcome: Any) -> None:
        cancelled = isinstance(outcome, asyncio.CancelledError)
        self.outcome = type(outcome).__name__ if isinstance(outcome, BaseException) else "value"
        if cancelled != bool(self._cancels):
            self._fault("cancelled, but nobody did" if cancelled else f"the cancellation was swallowed: {outcome!r}")
        elif not cancelled:
            self._check_legal(outcome, own=True)
            if self._task.cancelling():
                self._fault("a request for cancellation was left on the task")

    def _check_rival(self, outcome: Any) -> None:
        if isinstance(outcome, asyncio.CancelledError):
            self._fault("a rival was cancelled")
        else:
            self._check_legal(outcome, own=False)

    def _check_legal(self, outcome: Any, own: bool) -> None:
        if not isinstance(outcome, BaseException) or outcome in self._errors:
            return
        expired = own and self._disturbance == "timeout" and type(outcome) is TimeoutError
        if not expired and not isinstance(outcome, (ResilienceError, *self._scene.raises)):
            self._fault(f"{'the call' if own else 'a rival'} raised {outcome!r}, which is nobody's")

    async def _check_rest(self, recorder: Recorder) -> None:
        scene = self._scene
        for _ in range(_QUIET):
            await asyncio.sleep(0)
        renewals = sum(count for name, count in _taken(scene.pipeline.status()) if name.endswith("refreshing"))
        if scene.target.running > renewals:  # those that the status tells are nobody's call
            self._fault(f"{scene.target.running} calls of the target run on")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks and (await asyncio.wait(tasks, timeout=_SETTLE))[1]:
            self._fault("tasks run on")
        for text in _armed(self._loop):
            self._fault(f"a timer is still armed: {text}")
        self._check_idle(recorder)
        await asyncio.sleep(scene.rest)
        scene.target = scene.target.well()
        try:
            served = await asyncio.ensure_future(self._call())
        except (Exception, asyncio.CancelledError) as error:
            served = error
        if served not in ("served", ["served"]):
            self._fault(f"the next call was not served: {served!r}")
        self._check_idle(recorder)
        for text in self._complaints:
            self._fault(f"the event loop complained: {text}")

    def _check_idle(self, recorder: Recorder) -> None:
        pipeline = self._scene.pipeline
        for name, count in _taken(pipeline.status()):
            self._fault(f"status() counts {name} = {count}")
        for circuits in pipeline.states.values():
            if isinstance(circuits, Circuits) and any(not circuit.idle for circuit in circuits):
                self._fault("a permit of a circuit is out")
        if not recorder.balanced():
            self._fault("an event of a beginning has no end")


def _taken(status: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What a status says is held or waits, at any depth."""
    for name, value in status.items():
        if isinstance(value, Mapping):
            yield from _taken(value, f"{path}{name}.")
        elif name in ("busy", "active", "waiting", "refreshing") and value:
            yield f"{path}{name}", value


def _armed(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """The timers that are armed, but for the first of each lane."""
    seen: set[int] = set()
    for handle in loop._scheduled:  # type: ignore[attr-defined]
        if handle.cancelled():
            continue
        owner = getattr(handle._callback, "__self__", None)
        if isinstance(owner, Lane) and id(owner) not in seen:
            seen.add(id(owner))
        else:
            yield repr(handle)
