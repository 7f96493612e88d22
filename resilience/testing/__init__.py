"""The tools that this library is tested with, for its users too: a virtual clock, a scripted target, a sweep ..."""

from __future__ import annotations

from .loop import VirtualLoop, virtual
from .recorder import Recorder
from .scene import Feed, Injected, Scene, Target
from .script import Script, after, never
from .sweep import DISTURBANCES, Sweep, sweep

__all__ = [
    "DISTURBANCES",
    "Feed",
    "Injected",
    "Recorder",
    "Scene",
    "Script",
    "Sweep",
    "Target",
    "VirtualLoop",
    "after",
    "never",
    "sweep",
    "virtual",
]
