"""A configuration in words, numbers and pictures, before it is ever used: ``resilience explain``."""

from __future__ import annotations

from .data import as_data
from .gather import Chapter, Row, explain_file, explain_policies
from .page import as_page
from .text import as_text

__all__ = ["Chapter", "Row", "as_data", "as_page", "as_text", "explain_file", "explain_policies"]
