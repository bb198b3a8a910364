"""What no device calls: functions and imports that tests, tools and CPython need."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator

from host_tools.devices.code.fixed import filled

# A function names itself at most so often.
_OWN_USES = 3
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def without_unused(trees: dict[str, ast.Module], kept: Collection[str]) -> None:
    """Take out functions and methods whose names occur nowhere but in themselves, and imports
    that a file does not use. kept: names that others know."""
    used = sum((Counter(uses_of(tree)) for tree in trees.values()), Counter[str]())
    found = True
    while found:
        found = False
        for path, tree in trees.items():
            removal = _Removal(used, kept)
            trees[path] = removal.visit(tree)
            found = found or removal.found
            used = removal.used
    attributes = {
        node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    for tree in trees.values():
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        _drop_imports(tree, named.union(attributes, kept))
        filled(tree)


class _Removal(ast.NodeTransformer):
    def __init__(self, used: Counter[str], kept: Collection[str]) -> None:
        self.used = used
        self.kept = kept
        self.found = False

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST | None:
        is_free = node.name not in self.kept and node.name[:2] != "__"
        if is_free and self.used[node.name] <= _OWN_USES:
            own = Counter(uses_of(node))
            if self.used[node.name] <= own[node.name]:
                self.used = self.used - own
                self.found = True
                return None
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function


def _drop_imports(tree: ast.Module, used: Collection[str]) -> None:
    for node in list(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [a for a in node.names if (a.asname or a.name) in used]
            if not node.names:
                tree.body.remove(node)


def uses_of(node: ast.AST, own: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names that code takes from elsewhere, once for each use. own: a function's own names."""
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        inside = list(ast.walk(node))
        stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        stored |= {n.arg for n in inside if isinstance(n, ast.arg)}
        own = (own | stored) - {x for n in inside if isinstance(n, ast.Global) for x in n.names}
    if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.arg)) and not (
        isinstance(node, ast.Name) and (node.id in own or node.id == "const")
    ):
        yield from names_of(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from uses_of(child, own)


def names_of(node: ast.AST) -> list[str]:
    values = [getattr(node, field, None) for field in ("id", "attr", "name", "arg")]
    return [name for name in values if isinstance(name, str)]
