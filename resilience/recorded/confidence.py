"""``--confidence`` of the commands that judge what was recorded."""

from __future__ import annotations

from ..errors import ConfigError
from ..units import percent

__all__ = ["confidence_of"]


def confidence_of(command: str, text: str) -> float:
    """0.95 of ``95%`` or ``0.95``. Raises `ConfigError` for what is no share from a half to below one."""
    try:
        value = percent(text) if "%" in text else float(text)
    except (ConfigError, ValueError):
        value = 0.0
    if not 0.5 <= value < 1:
        raise ConfigError(f"{command}: --confidence is {text}, must be from 50% to below 100%, such as 95% or 0.95")
    return value
