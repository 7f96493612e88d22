"""What the command lines have in common: how a command ends that cannot do, or say, what it was asked for.

Exit 2 is bad usage or configuration, 1 an answer that could not be written, 130 (as a shell counts it) Ctrl-C. A
failure is one line on stderr, and never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable

from .errors import ConfigError

__all__ = ["ended"]


def ended(work: Callable[[], int]) -> int:
    """The exit code of `work`, which prints its answer; its failures in one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack letters that a file has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where its failure has an exit code and a line, and not when the process ends
        return code
    except ConfigError as error:
        _say(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has gone; nobody is left to tell
        _forget_output()
        return 1
    except OSError as error:  # a full disk, say
        _forget_output()
        _say(f"cannot write the answer: {error.strerror or error}")
        return 1


def _say(what: object) -> None:
    if sys.stderr is not None:  # with it closed, print would write on stdout
        print(what, file=sys.stderr)


def _forget_output() -> None:
    """Send what stdout still holds nowhere: Python would try again at exit, complain, and change the exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
