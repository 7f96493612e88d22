"""What can go wrong with the simulator itself, as opposed to what it makes go wrong on purpose."""

from __future__ import annotations

__all__ = ["FaultPlanError", "ReplayError", "SimulatorError"]


class SimulatorError(Exception):
    """The simulator cannot start; the text is one line that says what happened and what to do."""


class FaultPlanError(SimulatorError):
    """A fault plan cannot be read or does not make sense."""


class ReplayError(SimulatorError):
    """A folder of recorded replies cannot be read or does not make sense."""
