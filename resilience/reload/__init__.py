"""Reload: a configuration file that changes while the program runs, and what becomes of all that was kept.

`watch` gives the pipelines of a file as objects that stay; what stands inside is swapped as a whole, or not at all.
`plan` says beforehand what a new file would change, and `Shadow` what it would have decided.
"""

from __future__ import annotations

from .differences import Change, Field, differences
from .fitting import unfit
from .group import Group, Reload
from .live import RESTART, Live, watch
from .plan import Plan, plan
from .shadow import Shadow
from .sources import Source
from .swap import swap
from .warned import Warned
from .watcher import Watcher

__all__ = [
    "RESTART",
    "Change",
    "Field",
    "Group",
    "Live",
    "Plan",
    "Reload",
    "Shadow",
    "Source",
    "Warned",
    "Watcher",
    "differences",
    "plan",
    "swap",
    "unfit",
    "watch",
]
