"""What a retry that gave up tells the retries around it, so that three attempts of three attempts are three.

It leaves a mark on the error that it raises. The retry around it looks for the mark on the error that reaches it, and
on those that led to it (causes, contexts, members of a group), and does not repeat what was given up beneath.

A call that succeeds pays for one look at a counter. A context variable set around each attempt would see a little more
(an error that was swallowed, and another raised outside of its handler), for twenty times that.

The surprising part is the error object that is raised again and again, by one call and another at the same time: a
mark on it may be somebody else's. So a mark counts only if it is younger than the attempt that failed; and in another
task than that of the retry which left it, only if that one had repeated anything and the object was new to it.
"""

from __future__ import annotations

import asyncio

__all__ = ["give_up", "meet"]

_MARK = "_retry_given_up"
_ANYWHERE = 0  # instead of the task in which the mark counts
_MET = (0, _ANYWHERE)  # an attempt ended with this error
_MET_AGAIN = (0, -1)  # more than one did
_MOST_CAUSES = 16

given_up = 0
"""How many retries have given up so far; who begins an attempt remembers it."""


def meet(error: Exception, since: int) -> bool:
    """An attempt that began at `since` ended with this error. Whether a retry beneath has given up on it already."""
    marks = error.__dict__
    mark = marks.get(_MARK)
    if mark is None:
        marks[_MARK] = _MET
    elif mark[0] <= since:
        marks[_MARK] = _MET_AGAIN
    return since != given_up and _is_marked(error, since)


def _is_marked(error: BaseException, since: int) -> bool:
    here = id(asyncio.current_task())
    chain = [error]
    for one in chain:  # which grows meanwhile
        at, task = one.__dict__.get(_MARK, _MET)
        if at > since and task in (_ANYWHERE, here):
            return True
        led_here = [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
        chain += [cause for cause in led_here if cause is not None][: _MOST_CAUSES - len(chain)]
    return False


def give_up(error: Exception, repeated: bool) -> None:
    """Mark the error that a retry raises although it would have tried again. `repeated`: has it, at least once?"""
    global given_up  # noqa: PLW0603 (read at every attempt, written when a call has failed for good)
    given_up += 1
    marks = error.__dict__
    everywhere = repeated and marks.get(_MARK, _MET)[1] == _ANYWHERE
    marks[_MARK] = (given_up, _ANYWHERE if everywhere else id(asyncio.current_task()))
