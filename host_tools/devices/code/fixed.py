"""What is known of a device before it runs: the wire's numbers, its interpreter, its checks."""

from __future__ import annotations

import ast
from typing import Any

from host_tools.common.i18n import _
from host_tools.devices.code import files
from host_tools.devices.code.files import DeviceCodeError

# What a release for MicroPython knows of itself (agent/device/interpreter.py).
FIXED = {"MICROPYTHON": True, "FROM_SOURCE": False}
_OWN_TABLE = "_TABLE"
_KEY_TABLES = ("KEYS", _OWN_TABLE)


def with_numbers(path: str, code: str) -> bytes:
    """A file as devices with CPython get it: the wire's numbers stand for their names. Lines keep
    their numbers, so a traceback fits the file."""
    lines = code.split("\n")
    edits: dict[tuple[int, int], tuple[int, str]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and _is_ids(node.value):
            end = node.end_col_offset or 0
            edits[node.lineno, node.col_offset] = end, repr(_number(path, node))
        elif isinstance(node, ast.ImportFrom) and node.module == "agent.wire":
            names = [alias.name for alias in node.names if alias.name != "ids"]
            if len(names) == len(node.names):
                continue
            for row in range(node.lineno, (node.end_lineno or 0) + 1):
                edits[row, 0] = len(lines[row - 1]), ""
            rest = f"from agent.wire import {', '.join(names)}" if names else ""
            instead = " " * node.col_offset + (rest or "pass" * bool(node.col_offset))
            edits[node.lineno, 0] = len(lines[node.lineno - 1]), instead
    _check_ids(path, ast.parse(code))
    for (row, begin), (column, instead) in sorted(edits.items(), reverse=True):
        line = lines[row - 1].encode()
        lines[row - 1] = (line[:begin] + instead.encode() + line[column:]).decode()
    return "\n".join(lines).encode()


def fixed(path: str, tree: ast.Module) -> ast.Module:
    """A file as an agent's on MicroPython that does not run from source."""
    _check_ids(path, tree)
    return filled(_Fixed(path).visit(tree))


def filled(tree: ast.Module) -> ast.Module:
    """A tree whose blocks are not empty."""
    for node in ast.walk(tree):
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _is_ids(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "ids"


def _check_ids(path: str, tree: ast.Module) -> None:
    nodes = list(ast.walk(tree))
    in_place = {id(n.value) for n in nodes if isinstance(n, ast.Attribute)}
    if any(_is_ids(node) and id(node) not in in_place for node in nodes):
        raise DeviceCodeError(
            _("{path}: ids may only stand in ids.NAME; correct it.").format(path=path)
        )


def _number(path: str, node: ast.Attribute) -> Any:
    numbers = files.numbers(files.ROOT)
    if node.attr not in numbers:
        raise DeviceCodeError(
            _("{path}: {ids} has no {attribute}; correct the name.").format(
                path=path, ids=files.IDS[0], attribute=node.attr
            )
        )
    return numbers[node.attr]


class _Fixed(ast.NodeTransformer):
    def __init__(self, path: str) -> None:
        self._path = path

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if _is_ids(node.value):
            return ast.parse(repr(_number(self._path, node)), mode="eval").body
        if node.attr in FIXED:
            return ast.Constant(FIXED[node.attr])
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        is_read = node.id in FIXED and isinstance(node.ctx, ast.Load)
        return ast.Constant(FIXED[node.id]) if is_read else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node.orelse if _is_never(node.test) else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        neutral = isinstance(node.op, ast.And)  # "and True" and "or False" say nothing
        last = node.values[-1]
        values = [v for v in node.values if not _is_constant(v, neutral)]
        if _is_constant(last, neutral):
            return node  # it is the value
        node.values = values
        return values[0] if len(values) == 1 else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        if (node.module or "").startswith("agent."):
            known = {"ids", "const", *FIXED}
            node.names = [alias for alias in node.names if alias.name not in known]
        return node if node.names else None

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        name = ast.unparse(node.targets[0])
        if name == "FROM_SOURCE":
            return None
        self.generic_visit(node)
        if name in _KEY_TABLES and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(_shorter_table(str(node.value.value), name == _OWN_TABLE))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        self.generic_visit(node)
        return None if isinstance(node.value, ast.Constant) else node  # a docstring


def _shorter_table(table: str, in_sections: bool) -> str:
    """A table of keys (agent/config.py) with key, default, and "path": the host checks the rest
    before it builds a release. in_sections: a line with one word is what the keys after it begin
    with."""
    lines = []
    section = ""
    for key, *words in map(str.split, table.splitlines()):
        begin = key[: key.rfind(".") + 1]
        if in_sections and begin != section:
            section = begin
            lines.append(section)
        lines.append(
            " ".join([key.removeprefix(section), words[0], *words[1:2] * ("path" in words)])
        )
    return "\n".join(lines)


def _is_never(test: ast.expr) -> bool:
    """Whether a condition is `... and False`, and what stands before does nothing."""
    return (
        isinstance(test, ast.BoolOp)
        and isinstance(test.op, ast.And)
        and any(_is_constant(value, False) for value in test.values)
        and not any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(test))
    )


def _is_constant(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
