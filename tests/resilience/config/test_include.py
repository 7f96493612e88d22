"""include: a configuration in several files, from one folder, read as if it were one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import resilience
from resilience import ConfigError, Timeout
from resilience.config import Document, InvalidConfig, check_file
from resilience.config.document import MOST_BYTES
from resilience.config.include import MOST_DEPTH, MOST_FILES
from resilience.config.parser import MOST_NODES

ROOT = "version: 1\ninclude: [./limits.yaml]\npipelines: {a: {extends: b, timeout: 2s}}\n"
LIMITS = "version: 1\npipelines: {b: [timeout: 1s]}\n"


def write(folder: Path, **files: str) -> Path:
    """Writes NAME.yaml for each; a double underscore is a folder."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "root.yaml"


def told(path: Path) -> list[str]:
    """The problems of a file, by loading and by checking, with the folder left out."""
    with pytest.raises(InvalidConfig) as caught:
        resilience.load(path)
    checked = check_file(path)  # which knows the sections of other packages, too
    assert [(each.file, each.line, each.rule) for each in checked] == [
        (each.file, each.line, each.rule) for each in caught.value.problems
    ]
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_pipelines_of_an_included_file_are_as_if_written_in_the_file(tmp_path: Path) -> None:
    """Either may extend the other's."""
    pipelines = resilience.load(write(tmp_path, root=ROOT, limits=LIMITS))
    assert {name: pipeline.policies for name, pipeline in pipelines.items()} == {"a": (Timeout(2),), "b": (Timeout(1),)}


def test_all_sections_are_joined_and_files_include_further_files(tmp_path: Path) -> None:
    """Each relative to the one that names it."""
    path = write(
        tmp_path,
        root="version: 1\ninclude: [parts/one.yaml]\n",
        parts__one="version: 1\ninclude: [./deep/two.yml.yaml]\ntelemetry: {traces: off}\n",
        parts__deep__two="",
    )
    (tmp_path / "parts/deep/two.yml.yaml").write_text("version: 1\npipelines: {b: [timeout: 1s]}\n")
    assert check_file(path) == []
    root = Document.load(path)
    assert root.keys() == ["version", "telemetry", "pipelines"]
    names = ["root.yaml", "parts/one.yaml", "parts/deep/two.yml.yaml"]
    assert [os.path.relpath(file, tmp_path) for file in root.source.files] == names


def test_problems_name_the_file_in_which_they_are(tmp_path: Path) -> None:
    """Of all files at once."""
    bad = "version: 1\npipelines:\n  b:\n    - timeout: 1\ntelemetri: {}\n"
    lines = told(write(tmp_path, root=ROOT.replace("2s", "2"), limits=bad))
    assert [line.split(": ")[0] for line in lines] == ["limits.yaml:4:16", "limits.yaml:5:1", "root.yaml:3:38"]


def test_nothing_overrides_anything(tmp_path: Path) -> None:
    """A name that stands in two files is told with both places; a version stands in each."""
    (line,) = told(write(tmp_path, root=ROOT, limits=LIMITS.replace("{b", "{a: [], b")))
    assert line.startswith("limits.yaml:2:13: pipelines.a: the key 'a' stands in two files (first at ")
    assert line.endswith("root.yaml:3:13); keep one")
    extra = "telemetry: {traces: off}\n"
    (line,) = told(write(tmp_path, root=ROOT + extra, limits=LIMITS + extra))
    assert line.startswith("limits.yaml:3:1: telemetry: the key 'telemetry' stands in two files")
    (line,) = told(write(tmp_path, root=ROOT, limits=LIMITS.replace("version: 1\n", "")))
    assert line.startswith("limits.yaml:1:1: $: the key version is missing")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("/etc/passwd.yaml", "must be the path of a .yaml file beneath this folder, such as ./limits.yaml"),
        ("../limits.yaml", "must be the path of a .yaml file"),
        ("a/../limits.yaml", "must be the path of a .yaml file"),
        (".hidden.yaml", "must be the path of a .yaml file"),
        ("./././limits.yaml", "must be the path of a .yaml file"),
        ("C:\\limits.yaml", "must be the path of a .yaml file"),
        ("limits.json", "must be the path of a .yaml file"),
        ("'*.yaml'", "must be the path of a .yaml file"),
        ("~/limits.yaml", "must be the path of a .yaml file"),
        ("'${env:BYBIT_FILE}'", "found the value of ${env:BYBIT_FILE}, must be the path of a .yaml file"),
        ("[limits.yaml]", "found a list, must be the path"),
        ("*alias", "the alias *alias is not allowed"),
        ("missing.yaml", "missing.yaml: cannot be read: No such file or directory"),
        ("folder.yaml", "folder.yaml is no file"),
        ("pipe.yaml", "pipe.yaml is no file"),
        ("link.yaml", "link.yaml is a symbolic link that leads out of its folder"),
        ("away/limits.yaml", "away/limits.yaml is a symbolic link that leads out of its folder"),
        ("root.yaml", "root.yaml includes itself"),
        ("again.yaml", "root.yaml includes itself, by way of this file"),
        ("limits.yaml, ./limits.yaml", "limits.yaml is included twice; name it once"),
        ("limits.yaml, same.yaml", "same.yaml is included twice; name it once"),
    ],
)
def test_only_files_of_the_folder_can_be_included(
    entry: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told at the entry; a file that waits for ever, or lies elsewhere, is not opened."""
    monkeypatch.setenv("BYBIT_FILE", "limits.yaml")
    folder = tmp_path / "configuration"
    path = write(folder, root=ROOT.replace("./limits.yaml", entry), limits=LIMITS, again=ROOT.replace("limits", "root"))
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    write(tmp_path, limits=LIMITS)
    (folder / "link.yaml").symlink_to(tmp_path / "limits.yaml")
    (folder / "away").symlink_to(tmp_path)
    (folder / "same.yaml").symlink_to("limits.yaml")
    (line,) = told(path)
    assert expected in line.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("include: limits.yaml", "root.yaml:2:10: include: found 'limits.yaml', must be a list of files"),
        ("include: {a: b}", "root.yaml:2:10: include: found a mapping, must be a list of files"),
        ("include: *x", "root.yaml:2:10: include: the alias *x"),
        ("include: [./list.yaml]", "list.yaml:1:1: $: found an empty list, must be a mapping of sections"),
        ("include: [./bad.yaml]", "bad.yaml:2:1: $: is not valid YAML"),
        ("include: [./latin.yaml]", "latin.yaml:1:3: $: is not UTF-8 text"),
        ("include: [./empty.yaml]", "empty.yaml:1:1: $: the file is empty"),
    ],
)
def test_what_cannot_be_included_is_told(text: str, expected: str, tmp_path: Path) -> None:
    """And nothing else, since what the file would have held is missing everywhere."""
    path = write(
        tmp_path, root=f"version: 1\n{text}\npipelines: {{a: {{extends: b}}}}\n", list="[]\n", bad="[", empty=""
    )
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    path.with_name("latin.yaml").write_bytes(b"# \xe9\n")
    (line,) = told(path)
    assert line.startswith(expected)


def test_a_folder_that_is_itself_a_link_is_the_folder(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: every file a link into a folder that is a link."""
    write(tmp_path / "data", root=ROOT, limits=LIMITS)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (tmp_path / "data").rename(mounted / "..2024")
    (mounted / "..data").symlink_to("..2024")
    for name in ("root.yaml", "limits.yaml"):
        (mounted / name).symlink_to(f"..data/{name}")
    assert check_file(mounted / "root.yaml") == []
    (tmp_path / "etc").symlink_to(mounted)
    assert check_file(tmp_path / "etc" / "root.yaml") == []


def test_the_bounds_hold_for_all_files_together(tmp_path: Path) -> None:
    """Bytes, values, files and depth."""
    half = "# " + "x" * (MOST_BYTES // 2) + "\n"
    (line,) = told(write(tmp_path, root=ROOT + half, limits=LIMITS + half))
    assert line == "limits.yaml:1:1: $: is larger than 256 kB; split it (all files together)"
    many = "x: [" + "1," * (MOST_NODES // 2) + "]\n"
    (line,) = told(write(tmp_path, root=ROOT + many, limits=LIMITS + many))
    assert f"more than {MOST_NODES} values" in line
    files = {f"f{n}": "version: 1\n" for n in range(MOST_FILES)}
    names = ", ".join(f"{name}.yaml" for name in files)
    (line,) = told(write(tmp_path, root=f"version: 1\ninclude: [{names}]\n", **files))
    assert f"more than {MOST_FILES} files" in line
    files = {f"f{n}": f"version: 1\ninclude: [f{n + 1}.yaml]\n" for n in range(MOST_DEPTH + 1)}
    (line,) = told(write(tmp_path, root="version: 1\ninclude: [f0.yaml]\n", **files))
    assert f"deeper than {MOST_DEPTH} levels" in line


def test_values_of_the_environment_stay_hidden_in_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one file was given does not show in a complaint about another."""
    monkeypatch.setenv("BYBIT_X", "canary-value")
    limits = "version: 1\npipelines: {b: [rate_limit: '${env:BYBIT_X}', hedge: canary-value]}\n"
    assert "canary" not in "".join(told(write(tmp_path, root=ROOT, limits=limits)))


def test_a_text_that_is_no_file_includes_nothing(tmp_path: Path) -> None:
    """It has no folder; the key is then like any other that is unknown."""
    assert "include" in Document.parse(ROOT)
    with pytest.raises(ConfigError, match="cannot be read"):
        resilience.load(tmp_path / "nothing.yaml")
