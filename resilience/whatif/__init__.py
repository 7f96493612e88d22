"""What would this configuration have done? Calls through real pipelines, against a simulated target, in virtual time.

A `World` answers attempts: a stated model (`model`) or recorded traffic (`replay`). `play` runs one candidate through
it once, `measure` says what came of it, `compare` repeats that with other dice and judges the candidates by it.
"""

from __future__ import annotations

from .candidates import Candidate, read_candidates
from .compare import Comparison, compare
from .model import Model, read_model
from .modelled import Modelled
from .replay import Replay

__all__ = ["Candidate", "Comparison", "Model", "Modelled", "Replay", "compare", "read_candidates", "read_model"]
