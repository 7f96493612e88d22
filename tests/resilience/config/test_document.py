"""Document: nodes that know where they stand, and everything that a YAML file may not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience import ConfigError
from resilience.config import Document, InvalidConfig, Node, Problems
from resilience.config.environment import Environment


def problems(text: str | bytes, path: Path, **options: object) -> list[str]:
    """Every problem of a text, as lines without the file's name."""
    file = path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidConfig) as caught:
        Document.load(file, **options)  # type: ignore[arg-type]
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def test_nodes_know_their_kind_position_and_path() -> None:
    """Lines and columns count from 1, in characters; a path is made of the file's own keys."""
    root = Document.parse("é: 1\nb:\n  - x\n  - {c: 'y', \"d e\": []}\n", "some.yaml")
    assert (root.kind, root.line, root.col, root.path, root.keys()) == ("mapping", 1, 1, "$", ["é", "b"])
    b = root.get("b")
    assert b is not None
    assert (b.kind, b.path, b.line, b.key_at, len(b)) == ("sequence", "b", 3, (2, 1), 2)
    x, mapping = b
    assert (x.text, x.style, x.path, x.line, x.col) == ("x", "plain", "b[0]", 3, 5)
    entries = dict(mapping.items())
    assert (entries["c"].text, entries["c"].style) == ("y", "quoted")
    assert (entries["c"].path, entries["c"].line, entries["c"].col, entries["c"].key_at) == ("b[1].c", 4, 9, (4, 6))
    assert (entries["d e"].kind, entries["d e"].path) == ("sequence", "b[1]['d e']")
    assert "c" in mapping
    assert mapping.get("nothing") is None
    assert repr(mapping) == "<mapping b[1] at some.yaml:4:5>"
    assert str(mapping.error("is wrong")) == "some.yaml:4:5: b[1]: is wrong"


def test_no_scalar_is_read_as_anything_but_its_text() -> None:
    """What YAML 1.1 makes False, 8, 45045 and a date of stays what was written; keys too."""
    root = Document.parse("on: no\n010: 010\n12:30:45: 12:30:45\n2024-01-01: 1e3\nnull: ~\n")
    assert [(key, node.text) for key, node in root.items()] == [
        ("on", "no"),
        ("010", "010"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "1e3"),
        ("null", "~"),
    ]
    node = root.get("null")
    assert node is not None
    assert node.is_null


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: a: the key 'a' stands here twice (first at 1:1); keep one of them"),
        ("x: {'a': 1, a: 3}", "1:13: x.a: the key 'a' stands here twice (first at 1:5); keep one of them"),
        ("a: &x 1\n", "1:4: a: the anchor &x is not allowed; there are no aliases here"),
        ("a: &x [1]\n", "1:4: a: the anchor &x is not allowed; there are no aliases here"),
        ("a: *x\n", "1:4: a: the alias *x is not allowed; write the value out"),
        ("&k a: 1", "1:1: $: a key has no anchor, alias or tag"),
        ("*k : 1", "1:1: $: a key has no anchor, alias or tag"),
        ("!!str a: 1", "1:1: $: a key has no anchor, alias or tag"),
        ("a: !!python/object/apply:os.system [x]", "1:4: a: the tag 'tag:yaml.org,2002:python/object/apply:os.system' "
         "is not allowed; values are plain data"),
        ("a: !x {b: 1}", "1:4: a: the tag '!x' is not allowed; values are plain data"),
        ("a: ! b", "1:4: a: the tag '!' is not allowed; values are plain data"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "1:1: $: %TAG is not allowed; values are plain data"),
        ("b: {<<: {a: 1}}", "1:5: b: merge keys (<<) are not allowed; write the entries out"),
        ("? [a, b]\n: c", "1:3: $: a key must be plain text, not a list or a mapping"),
        ("b: {? {x: 1} : c}", "1:7: b: a key must be plain text, not a list or a mapping"),
        ("'': 1", "1:1: $: a key is empty"),
        ("a\u200bb: 1", "1:1: $: a key is one line of at most 128 printable characters"),
        (f"{'k' * 129}: 1", "1:1: $: a key is one line of at most 128 printable characters"),
        ("a: 1\n---\nb: 1\n", "2:1: $: a second document begins here; a file holds one"),
        ("", "1:1: $: the file is empty"),
        ("# nothing\n", "1:1: $: the file is empty"),
        ("a: {b: [1, 2\n", "2:1: a.b: is not valid YAML: did not find expected ',' or ']' while parsing a flow "
         "sequence"),
        ("a:\n\tb: 1\n", "2:1: a: is not valid YAML: found character that cannot start any token while scanning for "
         "the next token; indent with spaces, and quote a value that begins with a special character"),
        ("a: b\n c: d\n", "2:3: $: is not valid YAML: mapping values are not allowed in this context"),
        ("ab: x\n\x07: y", "2:1: $: the character U+0007 has no place in a configuration file"),
        ("a: x\u2028y", "1:5: $: the character U+2028 has no place in a configuration file"),
        ("a: x\ufeffy", "1:5: $: the character U+FEFF has no place in a configuration file"),
        (b"a: 1\nb: \xc3\xa9\xff\n", "2:5: $: is not UTF-8 text; save it as UTF-8"),
        ("a: 1\n".encode("utf-16"), "1:1: $: is not UTF-8 text; save it as UTF-8"),
        (" " * (256 * 1024 + 1), "1:1: $: is larger than 256 kB; split it"),
        ("[" * 65 + "]" * 65, f"1:65: {'[0]' * 63}: nested deeper than 64 levels"),
        ("[" * 100_000, f"1:65: {'[0]' * 63}: nested deeper than 64 levels"),
        ("a: [" + "1," * 20_000 + "]", "1:39999: a: more than 20000 values; split the file"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str | bytes, expected: str, tmp_path: Path) -> None:
    """Each with the position of the very thing, and in one line that says what to do."""
    assert problems(text, tmp_path) == [expected]


def test_what_is_just_within_the_limits_is_read(tmp_path: Path) -> None:
    """64 levels, 20,000 nodes, 256 kB, a byte order mark, a directive for YAML's own version."""
    assert Document.parse("[" * 64 + "]" * 64).kind == "sequence"
    assert len(Document.parse("[" + "1," * 19_999 + "]")) == 19_999
    assert Document.parse("a: 1\n" + "#" * (256 * 1024 - 5)).keys() == ["a"]
    assert Document.parse("%YAML 1.1\n---\na: 1\n...\n").keys() == ["a"]
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert Document.load(file).keys() == ["a"]


def test_an_alias_bomb_stays_small() -> None:
    """Nine levels of nine aliases make 387 million nodes where they are followed; here the anchors are refused."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(InvalidConfig) as caught:
        Document.parse("\n".join(levels))
    assert {problem.rule for problem in caught.value.problems} == {"alias"}
    assert len(caught.value.problems) == 9 + 8 * 9


def test_all_problems_are_told_at_once_and_the_text_is_one_line(tmp_path: Path) -> None:
    """The error's text names the first and counts the others; `problems` has them in the order of the file."""
    text = "a: 1\nb: &x 2\nc: !t 3\na: 4\nd: ${env:HOME}\n"
    assert [line.split(": ")[0] for line in problems(text, tmp_path)] == ["2:4", "3:4", "4:1", "5:4"]
    with pytest.raises(ConfigError) as caught:
        Document.parse(text, "f.yaml")
    assert str(caught.value) == "f.yaml:2:4: b: the anchor &x is not allowed; there are no aliases here (and 3 more)"


def test_a_file_full_of_problems_is_given_up() -> None:
    """After a hundred nobody reads on."""
    with pytest.raises(InvalidConfig) as caught:
        Document.parse("a: 1\n" * 5_000)
    assert len(caught.value.problems) == 101
    assert "gave up after 100 problems" in [problem.text for problem in caught.value.problems][-1]


def test_problems_can_be_collected_over_several_sections() -> None:
    """Given a collector, what need not end the reading is put there, and the useless node is marked."""
    found = Problems()
    root = Document.parse("a: *x\nb: 1\n", "f.yaml", problems=found)
    a = root.get("a")
    assert a is not None
    assert a.broken is found.found[0]
    with found.catch():
        raise root.error("and this")
    with pytest.raises(InvalidConfig, match=r"f.yaml:1:1: \$: and this \(and 1 more\)"):
        found.finish()


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0.yaml"])
def test_a_file_that_cannot_be_read_is_one_line(name: str, tmp_path: Path) -> None:
    """Missing, a folder, or no name of a file at all."""
    with pytest.raises(ConfigError) as caught:
        Document.load(f"{tmp_path}/{name}")
    assert not isinstance(caught.value, InvalidConfig)
    assert ": cannot be read: " in str(caught.value)
    assert str(caught.value).isprintable()


# -- the environment ------------------------------------------------------------------------------------------


def parse(text: str, *prefixes: str, **values: str) -> Node:
    return Document.parse(text, "f.yaml", env=Environment(prefixes or ("BYBIT_",), values))


def test_a_reference_is_replaced_by_one_scalar() -> None:
    """Whatever the value holds, it is never read as YAML; a number may come from it, and text is always text."""
    root = parse('a: "${env:BYBIT_A}"\nb: ${env:BYBIT_B}\n', BYBIT_A="{x: [1, 2]} # &a", BYBIT_B="no")
    a, b = (node for _, node in root.items())
    assert (a.kind, a.text, a.style, a.written) == ("scalar", "{x: [1, 2]} # &a", "env", "${env:BYBIT_A}")
    assert (b.text, b.is_null) == ("no", False)
    assert not any(node.is_null for _, node in parse("a: ${env:BYBIT_A}", BYBIT_A="null").items())


def test_a_value_is_not_looked_into_for_further_references() -> None:
    """No nesting: what the environment holds is final."""
    node = parse("a: ${env:BYBIT_A}", BYBIT_A="${env:BYBIT_B}", BYBIT_B="x").get("a")
    assert node is not None
    assert node.text == "${env:BYBIT_B}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: ${env:BYBIT_NO}", "1:4: a: the environment variable BYBIT_NO is not set"),
        ("a: ${env:HOME}", "1:4: a: ${env:HOME} is not allowed: the name must begin with BYBIT_"),
        ("a: x${env:BYBIT_A}", "1:4: a: ${ begins a reference, which must be the whole value: ${env:NAME} and nothing "
         "around it"),
        ("a: '${env:${env:BYBIT_A}}'", "1:4: a: ${ begins a reference, which must be the whole value: ${env:NAME} and "
         "nothing around it"),
        ("a: ${BYBIT_A}", "1:4: a: ${ begins a reference, which must be the whole value: ${env:NAME} and nothing "
         "around it"),
        ("a: '${env:}'", "1:4: a: '' is no name of an environment variable"),
        ("a: '${env:BYBIT_A }'", "1:4: a: 'BYBIT_A ' is no name of an environment variable"),
        ("${env:BYBIT_A}: a", "1:1: $: a key is written out; ${env:NAME} stands only for values"),
        ("a: {b: ${env:BYBIT_A}}", "1:9: a: is not valid YAML: did not find expected ',' or '}' while parsing a flow "
         "mapping; inside braces, put ${env:NAME} in quotes"),
    ],
)  # fmt: skip
def test_a_reference_that_cannot_be_resolved(text: str, expected: str) -> None:
    """Missing, not allowed, only a part of the value, nested, or in a key."""
    with pytest.raises(InvalidConfig) as caught:
        parse(text, BYBIT_A="value")
    assert str(caught.value) == f"f.yaml:{expected}"


def test_the_allowed_prefixes_are_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default names that begin with BYBIT_."""
    monkeypatch.setenv("ACME_KEY", "x")
    with pytest.raises(ConfigError, match="must begin with BYBIT_"):
        Document.parse("a: ${env:ACME_KEY}")
    node = Document.parse("a: ${env:ACME_KEY}", prefixes=("ACME_",)).get("a")
    assert node is not None
    assert node.text == "x"


def test_a_value_from_the_environment_never_shows() -> None:
    """Neither in a problem, nor in what a node says that it found, nor in a repr."""
    root = parse("a: ${env:BYBIT_A}\n", BYBIT_A="canary\nsecret")
    node = root.get("a")
    assert node is not None
    error = node.error("found 'canary\\nsecret' and canary\nsecret")
    texts = [node.found, repr(node), repr(node.source.env), str(error)]
    assert not any("canary" in text for text in texts)
    assert texts[-1] == "f.yaml:1:4: a: found '${env:BYBIT_A}' and ${env:BYBIT_A}"
