"""Where a stream goes on after it broke: the last item that came through, as an argument of the next opening."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, Union

from ..call import Call, TakesCall
from ..errors import ConfigError
from ..units import Identifier

__all__ = ["Resume", "check_resume", "misfit", "resumed"]

Resume: TypeAlias = Union[Identifier, Literal[True], Callable[[Any], Mapping[str, Any]], None]  # noqa: UP007 (runtime use)
_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_resume(owner: str, resume: Any) -> None:
    """Raise `ConfigError` for what is no `Resume`."""
    named = isinstance(resume, str) and resume.isidentifier()
    if not (resume is None or resume is True or named or callable(resume)):
        raise ConfigError(
            f"{owner}: resume is {resume!r}, must be the name of the argument that takes the last item, true for a "
            "stream without memory, or a function of the last item that returns arguments"
        )


def misfit(resume: Resume, fn: Any) -> str | None:
    """Why `fn` cannot be resumed so; None if it can, or if nobody can tell."""
    if not isinstance(resume, str):
        return None
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return None
    known = parameters.get(resume)
    if known is not None and known.kind in _KEYWORD:
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return f"Retry(resume={resume!r}) gives the last item as {resume}=, which is no keyword argument of the function"


def resumed(call: Call, resume: Resume, last: Any) -> None:
    """Change the call's arguments to those that open the stream after the item `last`."""
    if resume is None or resume is True:
        return
    changes = {resume: last} if isinstance(resume, str) else resume(last)
    positions = _positions(call)
    args, kwargs = list(call.args), dict(call.kwargs)
    for name, value in changes.items():
        position = positions.get(name, len(args))
        if position < len(args):
            args[position] = value  # the caller gave it by position
        else:
            kwargs[name] = value
    call.args, call.kwargs = tuple(args), kwargs


def _positions(call: Call) -> dict[str, int]:
    """Which of the call's positional arguments is which parameter of its target."""
    own = isinstance(call.target, TakesCall)
    target: Any = call.target.__wrapped__ if isinstance(call.target, TakesCall) else call.target
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, parameter in parameters.items() if parameter.kind in kinds]
    return {name: position for position, name in enumerate(names[own:])}
