"""What a mutant is: one small change of one module's syntax tree, found again by what it says and not by a number.

Changed are comparisons, conditions, arithmetic, constants, returned values, keyword arguments, what an `except`
catches, and statements (left out). Left alone is what only people read: docstrings, annotations, messages, log lines.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Module", "Mutant"]

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_CAUGHT = {"BaseException": "Exception", "Exception": "BaseException"}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Calls whose strings are names for people: the field that `check` is told stands in its message only.
_NAMING = {"check", "check_wait", "matcher"}
_FOR_PEOPLE = {"ConfigError", "TypeError", "RuntimeError", "ParamSpec", "TypeVar", "getLogger", "warn"}
_VALUE = re.compile(r"[a-z][a-z0-9_.]*")  # strings that programs read; a text for people has spaces or capitals
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One change: `key` names it for people and for the file of survivors.

    `lines` are those of the changed statement (its head, if it has a body). `function` is the first line of the
    outermost function around it, 0 for what happens when the module is imported.
    """

    module: Module
    key: str
    lines: range
    function: int
    node: ast.AST
    field: str
    index: int | None
    new: ast.AST

    def tree(self) -> ast.Module:
        """The module's syntax tree with this change."""
        _put(self.node, self.field, self.index, self.new)
        return self.module.tree

    def __repr__(self) -> str:
        return f"{self.module.path}: {self.key}"


class Module:
    """One file: its tree, and its mutants in the order of the text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text())
        self.mutants: list[Mutant] = []
        self._seen: Counter[str] = Counter()
        self._walk(self.tree, [], 0, None)

    # -- where ------------------------------------------------------------------------------------------------

    def _walk(self, node: ast.AST, names: list[str], function: int, statement: ast.stmt | None) -> None:
        """Collect the changes of everything below `node`."""
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params", "bases", "ctx"):
                continue
            children = value if isinstance(value, list) else [value]
            for index, child in enumerate(children):
                if isinstance(child, ast.AST) and not _is_left_alone(child):
                    place = node, field, index if isinstance(value, list) else None
                    self._visit(child, place, names, function, statement)

    def _visit(
        self,
        node: ast.AST,
        place: tuple[ast.AST, str, int | None],
        names: list[str],
        function: int,
        statement: ast.stmt | None,
    ) -> None:
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None:
            for new in _changes(node, place[0], statement, names, bool(function)):
                self._add(place, new, names, function, statement)
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names = [*names, node.name]
        if isinstance(node, _FUNCTIONS):
            self._walk(node.args, names, function, node)  # defaults are computed where the function is made
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            for index, child in enumerate(node.body):
                if not _is_left_alone(child):
                    self._visit(child, (node, "body", index), names, function or first, child)
        else:
            self._walk(node, names, function, statement)

    def _add(
        self, place: tuple[ast.AST, str, int | None], new: ast.AST, names: list[str], function: int, at: ast.stmt
    ) -> None:
        old = _get(*place)
        ast.fix_missing_locations(ast.copy_location(new, old))
        body = getattr(at, "body", None)
        end = body[0].lineno - 1 if isinstance(body, list) and body else at.end_lineno or at.lineno
        before = _head(at)
        _put(*place, new)
        after = "(left out)" if isinstance(new, ast.Pass) else _head(new if at is old else at)
        _put(*place, old)
        key = f"{'.'.join(names) or '<module>'}: {before} -> {after}"
        self._seen[key] += 1
        if self._seen[key] > 1:
            key += f" #{self._seen[key]}"
        lines = range(at.lineno, max(at.lineno, end) + 1)
        self.mutants.append(Mutant(self, key, lines, function, *place, new))


# -- what --------------------------------------------------------------------------------------------------------


def _changes(node: ast.AST, parent: ast.AST, at: ast.stmt, names: list[str], inside: bool) -> Iterator[ast.AST]:
    """All that may take the place of this node."""
    if isinstance(node, ast.stmt):
        if inside:
            yield from _statements(node, names)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for op in _COMPARISONS[type(node.ops[0])]:
            yield ast.Compare(node.left, [op()], node.comparators)
    elif isinstance(node, ast.Compare):
        for i, old in enumerate(node.ops):
            yield ast.Compare(
                node.left, [*node.ops[:i], _COMPARISONS[type(old)][0](), *node.ops[i + 1 :]], node.comparators
            )
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        named = isinstance(parent, ast.Call) and ast.unparse(parent.func) in _NAMING
        yield from _constants(node, isinstance(at, ast.Raise) or named)
    elif isinstance(node, ast.Call) and inside:
        for i in range(len(node.keywords)):
            if node.keywords[i].arg is not None:
                yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])
    elif isinstance(node, ast.Name) and isinstance(parent, ast.Call) and node is parent.func and node.id in _SWAPPED:
        yield ast.Name(_SWAPPED[node.id], ast.Load())
    elif isinstance(node, ast.Name) and isinstance(parent, ast.ExceptHandler) and node.id in _CAUGHT:
        yield ast.Name(_CAUGHT[node.id], ast.Load())
    if isinstance(parent, (ast.If, ast.While, ast.IfExp, ast.comprehension)) and _is_bare_test(node, parent):
        yield ast.UnaryOp(ast.Not(), copy.copy(node))


def _statements(node: ast.stmt, names: list[str]) -> Iterator[ast.AST]:
    """A statement left out, or its neighbour in meaning."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets):
            if names[-1] != "__init__":
                yield ast.Pass()
            elif not isinstance(node.value, ast.Constant):
                yield ast.Assign(targets, ast.Constant(None))
    elif isinstance(node, ast.AugAssign):
        yield ast.Pass()
        if type(node.op) in _ARITHMETIC:
            yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
    elif isinstance(node, ast.Return) and not _is_flag(node.value):
        yield ast.Pass() if node.value is None else ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, (ast.Expr, ast.Raise, ast.Delete)):
        yield ast.Pass()


def _is_flag(node: ast.expr | None) -> bool:
    """True, False or None: turned around elsewhere if at all, and None would be as good as False."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _constants(node: ast.Constant, for_people: bool) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and not for_people and _VALUE.fullmatch(value):
        yield ast.Constant(value + "_x")


def _is_bare_test(node: ast.AST, parent: ast.AST) -> bool:
    """A condition that no other operator turns around."""
    tests = parent.ifs if isinstance(parent, ast.comprehension) else [parent.test]  # type: ignore[attr-defined]
    return node in tests and not isinstance(node, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant))


def _is_left_alone(node: ast.AST) -> bool:
    """What only people or type checkers read, and what a log says."""
    if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Nonlocal, ast.Global, ast.Assert)):
        return True
    if isinstance(node, ast.Expr):
        value = node.value
        return isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and "log" in ast.unparse(value.func))
    if isinstance(node, ast.AugAssign):
        return isinstance(node.value, ast.JoinedStr)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in _FOR_PEOPLE
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return isinstance(target, ast.Name) and target.id in ("__all__", "__slots__", "_LAZY")
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Literal", "Union", "Callable", "ClassVar")


# -- the tree ----------------------------------------------------------------------------------------------------


def _get(node: ast.AST, field: str, index: int | None) -> ast.AST:
    value = getattr(node, field)
    found: ast.AST = value if index is None else value[index]
    return found


def _put(node: ast.AST, field: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[index] = new


def _head(node: ast.AST) -> str:
    """A statement on one line, without its body."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        arguments = f"({ast.unparse(node.args)})" if isinstance(node, _FUNCTIONS) else ""
        return f"def {node.name}{arguments}"
    if isinstance(node, ast.Try):
        caught = [ast.unparse(handler.type) for handler in node.handlers if handler.type is not None]
        return f"try: except {', '.join(caught)}"
    body = getattr(node, "body", None)
    if isinstance(body, list):
        node = copy.copy(node)
        node.body, node.orelse = [ast.Pass()], []  # type: ignore[attr-defined]
        return " ".join(ast.unparse(node).split("\n")[:-1])
    return " ".join(ast.unparse(node).split())
