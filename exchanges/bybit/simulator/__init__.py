"""A simulated Bybit on loopback: a small moving market, recorded replies, and faults on purpose."""

from .errors import FaultPlanError, ReplayError, SimulatorError
from .faults import FAULTS, FaultPlan, FaultRule
from .records import RequestRecord
from .run import serve
from .server import Simulator

__all__ = [
    "FAULTS",
    "FaultPlan",
    "FaultPlanError",
    "FaultRule",
    "ReplayError",
    "RequestRecord",
    "Simulator",
    "SimulatorError",
    "serve",
]
