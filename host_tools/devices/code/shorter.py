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

    def _visit_simple(
        self, node: ast.Assign | ast.AugAssign | ast.Return | ast.Expr
    ) -> list[ast.stmt]:
        """Loops before a statement fill the lists that it makes first."""
        before: list[ast.stmt] = []
        made: list[ast.ListComp] = []
        if node.value:
            _collect(node.value, made)
        for each in made:
            if each is node.value and isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                used = {n.id for n in ast.walk(each) if isinstance(n, ast.Name)}
                if isinstance(target, ast.Name) and target.id not in used:
                    return list(self._filled(target.id, each))
            name = self._fresh("made")
            before += self._filled(name, each)
            _Instead(each, ast.Name(name, ast.Load())).visit(node)
        return [*before, node]

    visit_Assign = visit_AugAssign = visit_Return = visit_Expr = _visit_simple

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


def _collect(node: ast.expr, found: list[ast.ListComp]) -> bool:
    """Append to `found` the lists that are always made before anything else is done. False if
    something else has been done."""
    if _is_plain(node):
        found.append(node)
        return True
    if isinstance(node, ast.BoolOp | ast.IfExp):
        first = node.values[0] if isinstance(node, ast.BoolOp) else node.test
        _collect(first, found)
        return False
    if isinstance(node, ast.Lambda | ast.ListComp | ast.GeneratorExp | ast.DictComp):
        return False
    for inside in ast.iter_child_nodes(node):
        if isinstance(inside, ast.expr) and not _collect(inside, found):
            return False
    return not isinstance(node, ast.Call | ast.Await | ast.Yield)


class _Instead(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)
