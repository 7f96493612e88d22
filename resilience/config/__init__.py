"""YAML configuration: a file becomes the same frozen dataclasses that Python code would write.

`load` gives a file's pipelines. For packages that own more sections (`exchanges`): `Document` reads a file into nodes
that know their positions, `convert` makes a dataclass of a node, `build_pipelines` makes pipelines of one, and
`Problems` collects what is wrong with all sections. YAML itself is imported when a file is read.
"""

from __future__ import annotations

from .build import build_pipelines
from .convert import convert
from .document import Document, Node
from .load import Contents, check_file, examine, load, preset, read_settings, read_version
from .problems import InvalidConfig, Problem, Problems

__all__ = [
    "Contents",
    "Document",
    "InvalidConfig",
    "Node",
    "Problem",
    "Problems",
    "build_pipelines",
    "check_file",
    "convert",
    "examine",
    "load",
    "preset",
    "read_settings",
    "read_version",
]
