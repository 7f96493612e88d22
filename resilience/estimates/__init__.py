"""Estimates with their uncertainty, and nothing else: no files, no clock, no dice.

`intervals` has the intervals (binomial, order statistics, Student's t), `survival` the Kaplan-Meier estimate that
treats what was cut off as what it is: longer than it was seen.
"""

from __future__ import annotations

from .intervals import Interval, few, prediction, quantile_ranks, share
from .survival import Curve, Sample

__all__ = ["Curve", "Interval", "Sample", "few", "prediction", "quantile_ranks", "share"]
