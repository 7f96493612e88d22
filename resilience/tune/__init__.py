"""What recorded traffic says about a configuration: proposals, each with its evidence, as a YAML diff.

The judgements are pure: `timeouts`, `retries`, `hedges`, `sizes` and `rates` take attempts and return `Proposal`s, most
of which say why nothing is to be changed. `propose` puts them into the file, and takes back what the checks refuse.
"""

from __future__ import annotations

from .proposal import Proposal
from .propose import Tuned, tune

__all__ = ["Proposal", "Tuned", "tune"]
