"""What goes wrong in the demonstration: about one request in six, of every kind that the wild has.

The shares are larger than an exchange's on a bad day, so that a few seconds show them all.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FAULTS"]

FAULTS: dict[str, Any] = {
    "version": 1,
    "stall_seconds": 4,
    "rules": [
        {"fault": "reset_before_read", "rate": 0.01},
        {"fault": "reset_after_read", "rate": 0.02},
        {"fault": "close_on_reuse", "rate": 0.03},
        {"fault": "reset_mid_body", "rate": 0.01},
        {"fault": "cut_body", "rate": 0.01},
        {"fault": "stall", "rate": 0.01},
        {"fault": "slow_drip", "rate": 0.005},
        {"fault": "html_500", "rate": 0.01},
        {"fault": "html_502", "rate": 0.02},
        {"fault": "http_429", "rate": 0.005, "retry_after": 1},
        {"fault": "ret_10006", "rate": 0.01, "seconds": 0.3},
        {"fault": "ret_10016", "rate": 0.01},
        {"fault": "invalid_json", "rate": 0.01},
        {"fault": "html_200", "rate": 0.005},
    ],
}
