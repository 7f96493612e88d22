"""The schema accepts exactly what is accepted of ``resources:`` and ``exchanges:``, by `resilience check` and by whom
those sections are for; `jsonschema` is the judge (see tests/support/schema_judge.py).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from config_samples import ODD
from schema_judge import RELATIONS, SAMPLES, SCHEMA, WHOLE, agree, overrides_drawn, stack_drawn, validator

from exchanges.bybit.ops import OPERATIONS
from exchanges.bybit.settings import BybitSettings
from exchanges.config import KINDS, check_exchanges, check_resources, read_config, read_exchanges, read_resources
from resilience.config import Document, InvalidConfig, Problems
from resilience.config.fields import Fields
from resilience.config.load import check_file
from resilience.config.registry import POLICIES, spelled
from resilience.config.shapes import fields_of

SECTIONS = {"resources": check_resources, "exchanges": check_exchanges}
ADDRESSES = [
    "https://api.example.com", "HTTPS://API.example.com:443/", "http://127.0.0.1:1", "http://localhost", "http://[::1]:80",
    "http://api.example.com", "ftp://api.example.com", "//api.example.com", "https://", "https:///v5", "https://:80",
    "https://me@api.example.com", "https://a:b@api.example.com", "https://api.example.com?x", "https://api.example.com#x",
    "https://api example.com", "https://api.example.com\\v5", "https://api.example.com:x", "https://api.example.com:0",
    "https://[", "https://api.example.com/a@b", " https://api.example.com", "https://api.example.com\n",
]  # fmt: skip
STRANGE = [*ODD, *ADDRESSES, "bybit", "binance", "aiohttp", "mainnet", "simulator", "inverse", "off", "\t", "\u3000"]
RELATED = re.compile(
    RELATIONS.pattern + r"|no pipeline is named|has \d pools, must have one"
    r"|base_url (holds a user|is no address|'.*' is no address|'.*': http is allowed on loopback)|ca_file .* is no file"
)
"""Beside those of policies: names of pipelines, what lends a session, addresses, and files that must be there."""
AT_ONCE = 200
"""Exchanges that are read as one file."""
STACK = [{"deadline": "9s"}, "retry", {"timeout": "1s"}, {"pool": "rest"}]
EXCHANGE = validator(SCHEMA["properties"]["exchanges"]["additionalProperties"])
RESOURCE = validator(SCHEMA["properties"]["resources"]["additionalProperties"])


def told(section: str, entries: Sequence[Any]) -> dict[int, list[str]]:
    """What is said of each of these resources or exchanges. The pipeline ``p7`` is there for the exchange ``e7``."""
    found: dict[int, list[str]] = {}
    for first in range(0, len(entries), AT_ONCE):
        some = dict(enumerate(entries[first : first + AT_ONCE], first))
        root = {"pipelines": {f"p{number}": STACK for number in some}}
        problems = Problems()
        problems.add = problems.found.append  # type: ignore[method-assign]  # however many there are
        node = Document.parse(json.dumps(root | {section: {f"e{number}": one for number, one in some.items()}}))
        (read_exchanges if section == "exchanges" else read_resources)(node, problems)
        for problem in problems.found:
            found.setdefault(int(re.findall(r"\d+", problem.path)[0]), []).append(problem.text)
    return found


def both_agree(section: str, entries: Sequence[Any]) -> int:
    """How many are good, if the schema and the reader agree about each."""
    said, good = told(section, entries), 0
    for number, entry in enumerate(entries):
        accepted = (EXCHANGE if section == "exchanges" else RESOURCE).is_valid(entry)
        agree(accepted, said.get(number, []), entry, RELATED)
        good += accepted
    return good


def exchange(number: int, **settings: Any) -> dict[str, Any]:
    return {"adapter": "bybit", "pipeline": f"p{number}", **settings}


def test_both_agree_about_every_setting_of_a_resource() -> None:
    """Every odd value in the place of each, of the kind that it has, and of the whole entry."""
    entries = [*STRANGE, {}, {"kind": "aiohttp"}]
    for odd in STRANGE:
        entries += [{"kind": "aiohttp", key: odd} for key in [*fields_of(KINDS["aiohttp"]).keys.shapes, "nothing"]]
    assert 100 < both_agree("resources", entries) < len(entries) - 100


def test_both_agree_about_every_setting_of_an_exchange() -> None:
    """Its own settings, the parts of the credentials, operations as a whole and what each of them is."""
    entries = [*STRANGE, {}, {"adapter": "bybit"}, {"pipeline": "p3"}]
    for odd in STRANGE:
        for key in [*fields_of(BybitSettings).keys.shapes, "nothing"]:
            entries.append(exchange(len(entries), **{key: odd}))
        for credentials in ({"key": odd, "secret": "x"}, {"key": "x", "secret": odd}, {"key": "x", "other": odd}):
            entries.append(exchange(len(entries), credentials=credentials))
        for key in (*OPERATIONS[:2], "nothing"):
            entries.append(exchange(len(entries), operations={key: odd}))
        for route in ({"pipeline": odd}, {"pipeline": odd, "timeout": "4s"}, {"nothing": odd}):
            entries.append(exchange(len(entries), operations={OPERATIONS[0]: route}))
    assert 100 < both_agree("exchanges", entries) < len(entries) - 100


@pytest.mark.parametrize("name", POLICIES)
def test_both_agree_about_what_an_exchange_and_an_operation_override(name: str) -> None:
    """One policy, in either place: what it is as a whole, and each of its settings."""
    values = [*ODD[::3], "off", SAMPLES.get(name, {})]
    for position, field in enumerate(spelled(name).keys.shapes):
        values += [{field: odd} for odd in ODD[position % 9 :: 9]]
        values += [{**SAMPLES.get(name, {}), field: odd} for odd in ODD[position % 9 :: 9]]
    entries: list[Any] = []
    for value in values:
        entries.append(exchange(len(entries), **{name: value}))
        entries.append(exchange(len(entries), operations={OPERATIONS[0]: {name: value}}))
    assert 4 <= both_agree("exchanges", entries) < len(entries) - 4


def random_file(dice: random.Random) -> Any:
    """A whole file whose exchanges override, as do some of their operations; most of what is in it is good."""
    pipelines: dict[str, Any] = {"p0": STACK, "p1": [*stack_drawn(dice), {"pool": "rest"}]}
    pipelines["p2"] = {"extends": dice.choice(["p0", "p0", "p1", "virtuoso"]), **overrides_drawn(dice, 1)}
    root: dict[str, Any] = {"version": 1, "pipelines": pipelines}
    root["exchanges"] = {f"e{number}": _exchange(dice) for number in range(dice.choice([0, 1, 1, 1, 2]))}
    if dice.random() < 0.5:
        fields = fields_of(KINDS["aiohttp"])
        root["resources"] = {
            name: {"kind": "aiohttp", **_odd(fields, dice)} for name in dice.choice([["rest"], ["a", "b"]])
        }
    if dice.random() < 0.1:
        root[dice.choice([*root])] = dice.choice(STRANGE)
    if dice.random() < 0.1:
        del root[dice.choice([*root])]
    return root


def _exchange(dice: random.Random) -> Any:
    made = {"adapter": "bybit", "pipeline": _pipeline(dice), **_odd(fields_of(BybitSettings), dice)}
    if dice.random() < 0.6:
        names = dice.sample([*OPERATIONS], dice.randint(1, 2)) + (["nothing"] if dice.random() < 0.05 else [])
        made["operations"] = {name: _route(dice) for name in names}
    if dice.random() < 0.1:
        del made[dice.choice([*made])]
    return made | overrides_drawn(dice, 1)


def _route(dice: random.Random) -> Any:
    named = {"pipeline": _pipeline(dice)} if dice.random() < 0.4 else {}
    return dice.choice(STRANGE) if dice.random() < 0.05 else named | overrides_drawn(dice, 2)


def _pipeline(dice: random.Random) -> str:
    return dice.choice(["p0", "p0", "p0", "p1", "p2", "p3"])


def _odd(fields: Fields, dice: random.Random) -> dict[str, Any]:
    """No setting, or one of them with an odd value."""
    return {key: dice.choice(STRANGE) for key in dice.sample([*fields.keys.shapes], dice.choice([0, 0, 0, 1]))}


def check_random_files(seeds: range, folder: Path) -> int:
    """How many are good, if all agree about each: the schema, `resilience check`, and who makes the exchanges."""
    path, good = folder / "exchanges.yaml", 0
    for seed in seeds:
        root = random_file(random.Random(seed))
        path.write_text(json.dumps(root))
        said = [problem.text for problem in check_file(path, sections=SECTIONS)]
        try:
            read_config(str(path))
            refused = []
        except InvalidConfig as error:
            refused = [problem.text for problem in error.problems]
        if "exchanges" in root:  # else it is for those who lend what they like
            assert bool(said) == bool(refused), (root, said, refused)
        accepted = WHOLE.is_valid(root)
        agree(accepted, said, root, RELATED)
        good += accepted
    return good


def test_all_agree_about_random_files(tmp_path: Path) -> None:
    """Three hundred, some of them good."""
    assert check_random_files(range(300), tmp_path) > 15


@pytest.mark.sweep
def test_all_agree_about_many_random_files(tmp_path: Path) -> None:
    """Thirty thousand."""
    assert check_random_files(range(1_000, 31_000), tmp_path) > 1_500
