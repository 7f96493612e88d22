"""Secrets that stand in a file as they are. What is found is never told: only where it is, and what it is called."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from ...config import Node

__all__ = ["plain_secrets"]

_NAMES = re.compile(
    r"(api_?key|api_?secret|secret|token|password|passwd|passphrase|private_?key|access_?key|client_?secret|authorization"
    r"|signature|bearer)s?$",
    re.ASCII,
)
_WITHIN = re.compile(r"(?:^|\.)credentials\b.*\.(key|secret|id)$", re.ASCII)
_USERINFO = re.compile(r"://[^/@\s:]+:[^/@\s]+@", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9+/_\-]{18,}={0,2}", re.ASCII)
_KEY_BLOCK = "-----BEGIN"
_ENTROPY = 3.5  # bits a character; text in a language has less where it is long, an API key more


def plain_secrets(root: Node) -> Iterator[tuple[Node, str]]:
    """Every scalar that is one, by its name or by its looks, with a text that does not hold it."""
    for node, label in _scalars(root, ""):
        if node.style == "env" or node.is_null or not node.text.strip():
            continue
        named = _NAMES.search(label.lower().replace("-", "_")) or _WITHIN.search(node.path)
        if named:
            yield node, _text(f"{label} stands here in plain text")
        elif _USERINFO.search(node.text):
            yield node, _text(f"{label} holds an address with a password in it")
        elif _looks_secret(node.text):
            yield node, _text(f"{label} looks like a key or a token")


def _text(what: str) -> str:
    return (
        f"{what}: whoever reads the file or its history has it; write ${{env:BYBIT_...}} or ${{env:RESILIENCE_...}}, "
        "and "
        "change it if the file has ever been shared"
    )


def _scalars(node: Node, label: str) -> Iterator[tuple[Node, str]]:
    if node.kind == "scalar":
        yield node, label
    for key, child in node.items():
        yield from _scalars(child, key)
    for child in node:
        yield from _scalars(child, label)


def _looks_secret(text: str) -> bool:
    """One long word of mixed letters and digits, with no more order in it than dice have."""
    if _KEY_BLOCK in text:
        return True
    if _WORD.fullmatch(text) is None or not re.search(r"\d", text) or not re.search(r"[A-Z]", text):
        return False
    shares = [count / len(text) for count in Counter(text).values()]
    return re.search(r"[a-z]", text) is not None and -sum(share * math.log2(share) for share in shares) >= _ENTROPY
