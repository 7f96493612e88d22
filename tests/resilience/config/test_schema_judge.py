"""The schema accepts exactly what the loader accepts, with `jsonschema` as the judge of the one and files of the other.

The exchanges' sections have a test of their own (tests/exchanges/test_schema_judge.py).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from config_samples import ODD
from schema_judge import SAMPLES, SCHEMA, WHOLE, agree, settings_drawn, validator

from resilience.config import Document, InvalidConfig, Problems
from resilience.config.build import read_pipelines
from resilience.config.registry import POLICIES, SECTIONS, section, spelled
from resilience.config.sections import read_settings

AT_ONCE = 1500
"""Entries that are read as one file, which may have 20,000 values."""

_BARE, *_ENTRIES = SCHEMA["$defs"]["policy"]["anyOf"]
BARE = validator(_BARE)
ENTRY = dict(zip(POLICIES, map(validator, _ENTRIES), strict=True))
DERIVED = validator(SCHEMA["properties"]["pipelines"]["additionalProperties"]["anyOf"][1])


def refusals(pipelines: Any) -> list[str]:
    """What the loader says about a `pipelines:` section; empty if it accepts it."""
    problems = Problems()
    try:
        node = Document.parse(json.dumps(pipelines), problems=problems)
        read_pipelines(node, problems, lambda name: {"open": list} if name == "rest" else None, ["rest"])
    except InvalidConfig as error:
        return [problem.text for problem in error.problems]
    return [problem.text for problem in problems.found]


def entries(name: str) -> Iterator[Any]:
    """Every odd value in the place of every setting, and of all of them."""
    yield name
    for odd in ODD:
        yield {name: odd}
        for field in [*spelled(name).keys.shapes, "nothing"]:
            yield {name: {**SAMPLES.get(name, {}), field: odd}}


@pytest.mark.parametrize("name", POLICIES)
def test_both_agree_about_every_setting_of_a_policy(name: str) -> None:
    """A thousand entries and more for most."""
    tried = list(entries(name))
    problems = Problems()
    problems.add = problems.found.append  # type: ignore[method-assign]  # however many there are
    for first in range(0, len(tried), AT_ONCE):
        some = {str(first + number): [entry] for number, entry in enumerate(tried[first : first + AT_ONCE])}
        node = Document.parse(json.dumps(some), problems=problems)
        read_pipelines(node, problems, lambda name: {"open": list} if name == "rest" else None, ["rest"])
    told: dict[int, list[str]] = {}
    for problem in problems.found:
        told.setdefault(int(re.findall(r"\d+", problem.path)[0]), []).append(problem.text)
    good = 0
    for number, entry in enumerate(tried):
        accepted = (BARE if isinstance(entry, str) else ENTRY[name]).is_valid(entry)
        agree(accepted, told.get(number, []), entry)
        good += accepted
    assert 10 < good < len(tried) - 10 or name == "coalesce"


@pytest.mark.parametrize("name", POLICIES)
def test_both_agree_about_overrides(name: str) -> None:
    """The same values beside `extends`, where nothing is required and null or off takes the policy away."""
    base = [{name: SAMPLES.get(name, {})}]
    for odd in [*ODD[::4], "off"]:
        whole = {"extends": "base", name: odd}
        agree(DERIVED.is_valid(whole), refusals({"base": base, "p": whole}), whole)
    for field in spelled(name).keys.shapes:
        for odd in ODD[::9]:
            one = {"extends": "base", name: {field: odd}}
            agree(DERIVED.is_valid(one), refusals({"base": base, "p": one}), one)


@pytest.mark.parametrize("name", SECTIONS)
def test_both_agree_about_the_sections_that_observe(name: str) -> None:
    """Telemetry and dashboard."""
    judge = validator(SCHEMA["properties"][name])
    for field in [*section(name)[0].keys.shapes, "nothing"]:
        for odd in ODD:
            problems = Problems()
            read_settings(Document.parse(json.dumps({name: {field: odd}})), problems)
            agree(judge.is_valid({field: odd}), [problem.text for problem in problems.found], {name: {field: odd}})


def random_file(dice: random.Random) -> Any:
    """A whole file of one or two pipelines, most of whose settings are good."""
    pipelines: dict[str, Any] = {}
    for number in range(dice.randint(1, 2)):
        names = dice.sample(list(POLICIES), dice.randint(0, 3))
        settings = {name: settings_drawn(name, dice) for name in names}
        if number and dice.random() < 0.5:
            pipelines[f"p{number}"] = {"extends": dice.choice(["p0", "orders", "nobody", 5]), **settings}
        else:
            pipelines[f"p{number}"] = [{name: settings[name]} for name in names]
    root = {"version": dice.choice([1, 1, 1, 2, "1"]), "pipelines": pipelines}
    return dice.choice([root, {"version": 1, "pipelines": pipelines}, {"version": 1, "pipelines": dice.choice(ODD)}])


def both(seeds: range) -> int:
    from resilience.config.load import _check

    good = 0
    for seed in seeds:
        root = random_file(random.Random(seed))
        problems = Problems()
        try:
            _check(Document.parse(json.dumps(root)), problems, {})
            told = [problem.text for problem in problems.found]
        except InvalidConfig as error:
            told = [problem.text for problem in error.problems]
        accepted = WHOLE.is_valid(root)
        agree(accepted, told, root)
        good += accepted
    return good


def test_both_agree_about_random_files() -> None:
    """Two hundred, some of them good."""
    assert both(range(200)) > 20


@pytest.mark.sweep
def test_both_agree_about_many_random_files() -> None:
    """Fifty thousand."""
    assert both(range(1_000, 51_000)) > 5_000
