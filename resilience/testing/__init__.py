"""The tools that this library is tested with, for its users too: a virtual clock, a scripted target, a recorder."""

from __future__ import annotations

from .loop import VirtualLoop, virtual
from .recorder import Recorder
from .script import Script, after, never

__all__ = ["Recorder", "Script", "VirtualLoop", "after", "never", "virtual"]
