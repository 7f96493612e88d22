"""Accidents to configuration files: of bytes, of lines and words, and of the data that a file holds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CORPUS", "accident", "write"]

ROOT = Path(__file__).parents[2]
MARKET = """\
version: 1
pipelines:
  market:
    - deadline: 150s
    - retry: {attempts: 4, wait: {expo: {base: 2, factor: 1}}, jitter: additive, max_wait: 10s, on: [OSError]}
    - hedge: 250ms
    - breaker: {failure_rate: 50%, window: 30s, min_calls: 10, open_for: 5s, probes: 3, key: host}
    - rate_limit: {rate: 600/5s, key: ip}
    - bulkhead: {limit: 30, queue: 256, max_wait: null}
    - timeout: {seconds: 15s, per_op: {ticker: 10s, "markets": 20s}}
    - pool: rest
  other: [retry, breaker, {fallback: {value: {a: [1, 0.5, true, null, "x"]}}}]
telemetry: {traces: off, sample: 1%, parenting: auto, otlp: null}
"""
FAMILY = """\
version: 1
include: [./part.yaml]
pipelines:
  a: {extends: b, timeout: 5s, retry: off}
  b: {extends: market-data, rate_limit: {rate: 600/5s, key: ip}, timeout: {per_op: {ohlcv: 7s}}}
  c: {extends: part, breaker: {open_for: 9s}, cache: {ttl: 1s}}
  orders: {extends: orders, deadline: 20s}
"""
EXCHANGES = """\
version: 1
resources: {rest: {kind: aiohttp, limit: 100, keepalive: 30s}}
pipelines: {market: {extends: virtuoso}, slow: {extends: market, timeout: 1m}}
exchanges:
  bybit:
    adapter: bybit
    category: linear
    pipeline: market
    rate_limit: {rate: 600/5s, key: ip}
    operations: {ohlcv: {timeout: 40s}, markets: {pipeline: slow, retry: {attempts: 2}}}
dashboard: {port: 0}
"""
PART = "version: 1\npipelines:\n  part: [deadline: 30s, breaker, timeout: 4s]\n"
CORPUS = [MARKET, FAMILY, EXCHANGES, (ROOT / "exchanges" / "bybit" / "bybit.yaml").read_text()]
"""Good files: one of pipelines, one that extends and includes, and two that exchanges use."""

PIECES = [
    "&a ", "*a", "!!python/object/apply:os.system ", "!x ", "<<: ", "? ", "- ", ": ", "{", "}", "[", "]", "|\n",
    ">-\n", "'", '"', "#", "%", "@", "`", "\t", "\n", "\r", "\x00", "\x85", "\u2028", "\ufeff", "\U0001f600",
    "---\n", "...\n", "${env:HOME}", "${env:BYBIT_X}", "${", "0x1F", "010", "1e3", "1e999", "12:30:45", "no", "on",
    "null", "~", ".inf", "-.nan", "-1", "0", "9" * 400, "9" * 400 + "s", "0s", "0%", "0/s", "1/0s", "version",
    "retry", "true", "\\", "\\x", "=", ",", "  ", "[" * 100, "{a: " * 70, "a: 1\n" * 120, "2024-01-01",
    "!!binary abc", "[]", "{}", "''", "[null]", "{null: null}", "\U0010ffff", "é" * 200, "extends: a", "include: ",
    "./part.yaml", "../x.yaml", "/etc/passwd", "off", "market-data", "{extends: b}", "per_op: {a: 1s}",
]  # fmt: skip
KEYS = ["extends", "retry", "timeout", "pool", "x", "per_op", "include", "pipeline"]
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", "off", "1s", "0s", "50%", "600/5s", "rest", "b", "orders", "ticker", [], {},
    ["retry"], {"extends": "a"}, {"extends": "b", "timeout": "1s"}, {"retry": {"attempts": 2}}, {"per_op": {"a": "1s"}},
    [{"pool": "rest"}], ["./part.yaml"], {"a": {"a": {"a": {}}}},
]  # fmt: skip


def accident(dice: random.Random) -> bytes:
    """A file of the corpus after one to four small accidents."""
    text = dice.choice(CORPUS)
    if dice.random() < 0.4:
        data = yaml.safe_load(text)
        for _ in range(dice.randint(1, 4)):
            _disturb(data, dice)
        text = json.dumps(data) if dice.random() < 0.5 else yaml.safe_dump(data, sort_keys=False)
        if dice.random() < 0.7:
            return text.encode("utf-8", "surrogatepass")
    for _ in range(dice.randint(1, 3)):
        text = _mutated(text, dice) or "version: 1\n"
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if dice.random() < 0.1:
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def write(folder: Path, dice: random.Random) -> Path:
    """Writes an accident into the folder, beside a part that one of the files includes."""
    (folder / "part.yaml").write_bytes(accident(dice) if dice.random() < 0.05 else PART.encode())
    path = folder / "mutated.yaml"
    path.write_bytes(accident(dice))
    return path


def _mutated(text: str, dice: random.Random) -> str:
    """Insertions, deletions, swaps of lines, repetitions, replaced words, a cut."""
    at, to = sorted(dice.randrange(len(text) + 1) for _ in range(2))
    kind = dice.randrange(7)
    if kind == 0:
        return text[:at] + dice.choice(PIECES) + text[at:]
    if kind == 1:
        return text[:at] + text[min(to, at + dice.randint(1, 30)) :]
    if kind == 2:
        lines = text.split("\n")
        dice.shuffle(lines)
        return "\n".join(lines)
    if kind == 3:
        return text[:at] + text[at:to] * 2 + text[to:]
    if kind == 4:
        words = text.split(" ")
        words[dice.randrange(len(words))] = dice.choice(PIECES)
        return " ".join(words)
    if kind == 5:
        return text[:at] + chr(dice.choice((dice.randrange(128), dice.randrange(0x10000)))) + text[at:]
    return text[:to] if dice.random() < 0.3 else text


def _disturb(data: Any, dice: random.Random) -> None:
    """One accident somewhere in the data: a value lost, replaced, moved to another key, or repeated."""
    places = list(_places(data))
    if not places:
        return
    container, key = dice.choice(places)
    kind = dice.randrange(4)
    if kind == 0:
        del container[key]
    elif kind == 1:
        container[key] = json.loads(json.dumps(dice.choice(VALUES)))
    elif kind == 2:
        other, where = dice.choice(places)
        container[key] = json.loads(json.dumps(other[where])) if _still(other, where) else None
    elif isinstance(container, dict):
        container[dice.choice(["extends", "retry", "timeout", "pool", "x", "per_op", "include", "pipeline"])] = (
            container[key]
        )
    else:
        container.append(json.loads(json.dumps(container[key])))


def _still(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def _places(data: Any) -> Any:
    pairs = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    for key, value in pairs:
        yield data, key
        yield from _places(value)
