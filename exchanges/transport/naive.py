"""The client that this project replaces, kept to be compared with: a session per request, one hard timeout, no retry.

It is what most trading systems begin with. Used by the demonstration and the benchmarks, by nothing else.
"""

from __future__ import annotations

import json

import aiohttp

__all__ = ["NaiveClient"]


class NaiveClient:
    """GETs one URL after the other, each on a connection of its own; counts what its caller would have met."""

    def __init__(self, timeout: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self.connections = 0

    async def get(self, url: str) -> str:
        """``ok``, ``timeout``, ``reset``, ``bad payload`` or ``exchange error``: what reached the caller."""
        self.connections += 1
        try:
            async with aiohttp.ClientSession(timeout=self._timeout) as session, session.get(url) as response:
                body = await response.json()
        except TimeoutError:
            return "timeout"
        except aiohttp.ClientPayloadError as exc:
            return "reset" if "ConnectionResetError" in str(exc) else "bad payload"  # it is only told in words
        except (aiohttp.ContentTypeError, json.JSONDecodeError, UnicodeDecodeError):
            return "bad payload"
        except (aiohttp.ClientError, OSError):
            return "reset"
        if response.status != 200 or not isinstance(body, dict) or body.get("retCode") != 0:
            return "exchange error"
        return "ok"
