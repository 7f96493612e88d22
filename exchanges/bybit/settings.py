"""What a configuration file may say about a Bybit exchange, beyond what it may say about any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from resilience import ConfigError
from resilience.units import Seconds, Spelling, check

from ..config import ExchangeSettings
from .answers import Rules
from .codes import BAN_SECONDS, BAN_TEXT
from .ops import HOSTS

__all__ = ["BybitSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BybitSettings(ExchangeSettings):
    """`category` is the default of every operation.

    The others stand for what Bybit does not document. `ban_text`: the words of its HTTP 403 for too many requests from
    one address; `ban_pause`: seconds of silence then. `encode_cursor`: encode a page's cursor once more on its way
    back. Raises `ConfigError`.
    """

    category: Literal["spot", "linear", "inverse", "option"] = "linear"
    ban_text: Annotated[str, Spelling(r"\S")] = BAN_TEXT
    ban_pause: Seconds = BAN_SECONDS
    encode_cursor: bool = False

    def __post_init__(self) -> None:
        ExchangeSettings.__post_init__(self)
        check("bybit", "ban_pause", self.ban_pause, least=0)
        if not self.ban_text.strip():
            raise ConfigError("bybit: ban_text is empty; write the words by which a ban is recognised")

    @property
    def rules(self) -> Rules:
        return Rules(self.ban_text, self.ban_pause)

    def address(self) -> str:
        """The REST address: `base_url`, or else the environment's. Raises `ConfigError` for a simulator without one."""
        if self.base_url is not None:
            return self.base_url.rstrip("/")
        if self.environment not in HOSTS:
            raise ConfigError(
                f"environment {self.environment} has no address of its own: set base_url, such as http://127.0.0.1:80"
            )
        return HOSTS[self.environment]
