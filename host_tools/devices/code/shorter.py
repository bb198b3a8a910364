"""The same code in forms that take fewer bytes on MicroPython."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from host_tools.devices.code.unused import FUNCTIONS


def shorter(tree: ast.Module) -> ast.Module:
    """Lists are filled by loops in place of functions of their own, `async with` a lock becomes
    what it does, and `from None` goes: there an exception has no cause."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Constant):
            node.cause = None
        if isinstance(node, FUNCTIONS):
            _Function(node).visit_body()
    return ast.fix_missing_locations(tree)


class _Function(ast.NodeTransformer):
    """Changes the statements of one function. Functions inside of it have their own turn."""

    def __init__(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._function = function
        self._names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
        self._names |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}

    def visit_body(self) -> None:
        self._function.body = [new for node in self._function.body for new in self._new(node)]

    def _new(self, node: ast.stmt) -> list[ast.stmt]:
        found = self.visit(node)
        return found if isinstance(found, list) else [found]

    def _visit_other_scope(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_other_scope
    visit_Lambda = _visit_other_scope

    def visit_AsyncWith(self, node: ast.AsyncWith) -> list[ast.stmt]:
        """Of a lock: nothing else is entered so."""
        (item,) = node.items
        lock = ast.unparse(item.context_expr)
        (acquired,) = ast.parse(f"await {lock}.acquire()").body
        (released,) = ast.parse(f"{lock}.release()").body
        body = [new for inner in node.body for new in self._new(inner)]
        return [acquired, ast.Try(body=body, handlers=[], orelse=[], finalbody=[released])]

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        (target, *others) = node.targets
        if _is_plain(node.value) and isinstance(target, ast.Name) and not others:
            used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            if target.id not in used:
                return list(self._filled(target.id, node.value))
        return node

    def visit_Return(self, node: ast.Return) -> ast.stmt | list[ast.stmt]:
        if not _is_plain(node.value):
            return node
        name = self._fresh("found")
        return [
            *self._filled(name, node.value),
            ast.Return(ast.Name(name, ast.Load())),
        ]

    def _filled(self, name: str, made: ast.ListComp) -> Iterator[ast.stmt]:
        """Statements that fill the list `name` as a comprehension does."""
        (source,) = made.generators
        renamed = {
            n.id: self._fresh(n.id) for n in ast.walk(source.target) if isinstance(n, ast.Name)
        }
        for part in (source.target, made.elt, *source.ifs):
            for node in ast.walk(part):
                if isinstance(node, ast.Name):
                    node.id = renamed.get(node.id, node.id)
        yield ast.Assign([ast.Name(name, ast.Store())], ast.List([], ast.Load()))
        (step,) = ast.parse(f"{name}.append(0)").body
        step.value.args = [made.elt]  # type: ignore[attr-defined]
        for test in reversed(source.ifs):
            step = ast.If(test, [step], [])
        yield ast.For(source.target, source.iter, [step], [])

    def _fresh(self, name: str) -> str:
        while name in self._names:
            name += "0"
        self._names.add(name)
        return name


def _is_plain(node: ast.expr | None) -> TypeGuard[ast.ListComp]:
    """Whether this is a list's comprehension with one loop, and without functions inside."""
    return (
        isinstance(node, ast.ListComp)
        and len(node.generators) == 1
        and not any(
            isinstance(n, ast.Lambda | ast.ListComp | ast.GeneratorExp | ast.NamedExpr)
            for n in ast.walk(node)
            if n is not node
        )
    )
