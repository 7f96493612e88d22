"""Pipelines in code: which of them a module holds, and what the linter says about them.

The module is imported, so what it does on import is done.
"""

from __future__ import annotations

import inspect as python
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ..call import Op
from ..errors import ConfigError, PipelineWarning
from ..pipeline import Pipeline
from ..policy import Policy
from .allow import Sorted, silence
from .facts import Facts
from .finding import Finding
from .linter import NAMES, inspect

__all__ = ["guarded_in", "lint_modules"]


def lint_modules(names: list[str], allow: Mapping[str, str]) -> Sorted:
    """Lint what each ``module`` or ``module:attribute`` holds. Raises `ConfigError` for a name that cannot be found."""
    found: list[Finding] = []
    for name in names:
        pipelines = guarded_in(name)
        if not pipelines:
            raise ConfigError(f"{name}: there is no pipeline in it, and no function that one guards")
        for place, (policies, op) in pipelines.items():
            found += inspect(policies, place, Facts((op,) if op is not None else ()))
    return silence(found, allow, NAMES)


def guarded_in(name: str) -> dict[str, tuple[tuple[Any, ...], Op | None]]:
    """By its dotted place: the policies, and the operation if it was given one."""
    module_name, _, attribute = name.partition(":")
    sys.path[:0] = [] if os.getcwd() in sys.path or "" in sys.path else [os.getcwd()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipelineWarning)  # they are findings here
            module = import_module(module_name)
    except (Exception, SystemExit) as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(f"{module_name}: cannot be imported: {type(error).__name__}: {said}") from None
    if not attribute:
        return dict(_within(module, module.__name__, {id(module)}))
    thing: Any = module
    for part in attribute.split("."):
        if not hasattr(thing, part):
            raise ConfigError(f"{name}: {module_name} has no {attribute}")
        thing = getattr(thing, part)
    return dict(_found(f"{module_name}.{attribute}", thing, {id(thing)}))


def _within(holder: ModuleType | type, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    for key, thing in list(vars(holder).items()):
        if not key.startswith("__") and id(thing) not in seen:
            seen.add(id(thing))
            yield from _found(f"{name}.{key}", thing, seen)


def _found(name: str, thing: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, (staticmethod, classmethod)):
        thing = thing.__func__
    pipeline = thing if isinstance(thing, Pipeline) else getattr(thing, "pipeline", None)
    if isinstance(pipeline, Pipeline):
        guarded = thing is not pipeline
        op = getattr(thing, "op", None) if guarded else None
        if guarded and op is None:  # nothing was said of it, but its name
            op = _nameless(getattr(thing, "__name__", ""))
        yield name, (pipeline.policies, op)
    elif isinstance(thing, Policy) and not isinstance(thing, type):
        return  # alone it is a part of something
    elif python.isclass(thing) and thing.__module__ == name.rpartition(".")[0]:
        yield from _within(thing, name, seen)


def _nameless(name: str) -> Op | None:
    from .facts import looks_unsafe

    return Op(name) if looks_unsafe(name) else None
