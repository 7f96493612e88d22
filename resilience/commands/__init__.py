"""The subcommands of `resilience`, one module each: `HELP`, `arguments(parser)`, and `run(arguments)` -> exit code.

What a command needs it imports when it runs, so that ``resilience --help`` stays quick.
"""

from __future__ import annotations

from . import check, dashboard, explain, plan, schema, top, tune, whatif

__all__ = ["COMMANDS"]

COMMANDS = {
    "check": check,
    "explain": explain,
    "plan": plan,
    "schema": schema,
    "tune": tune,
    "whatif": whatif,
    "dashboard": dashboard,
    "top": top,
}
"""The subcommands by name, in the order in which they are listed."""
