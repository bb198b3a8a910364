"""Where a file of the agent uses which name, and whose names they are.

The same word may be several names: one that a module has, one that an object has, one that only a
function has. This tells them apart.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntFlag

from host_tools.devices.code import files
from host_tools.devices.code.files import module_path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Objects to which the agent gives its own attributes.
_OWN_OBJECTS = ("self", "signer")


class NameKind(IntFlag):
    """Where the interpreter looks for a name: among a module's, among an object's, or in both."""

    MODULE = 1
    OBJECT = 2


@dataclass
class Use:
    """One place in a file that mentions a name which other files may mention too.

    defines: whether the name is given there, and not only read. `node.field` holds it; where that
    is a list, `position` says which of it.
    """

    name: str
    kind: NameKind
    defines: bool
    node: ast.AST
    field: str
    position: int | None = None

    def rename(self, name: str) -> None:
        if self.position is None:
            setattr(self.node, self.field, name)
        else:
            getattr(self.node, self.field)[self.position] = name


class Uses(ast.NodeVisitor):
    """All that a file mentions.

    Attributes:
        shared: each use of a name that other files may mention.
        interpreters: names that come from the interpreter, and keywords: they stay.
        functions: names that only a function has: they stay.
        read_in_classes: names of a module that a class reads in its body: they are looked for
            among the class's first.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.shared: list[Use] = []
        self.interpreters: set[str] = set()
        self.functions: set[str] = set()
        self.read_in_classes: set[str] = set()
        # The scopes around what is visited: a function's names, and those of the class if its
        # body is the innermost scope.
        self._scopes: list[set[str]] = []
        self._class: set[str] | None = None
        self._modules = _imported_modules(tree)
        self.visit(tree)

    def _mention(self, node: ast.AST, field: str, name: str, defines: bool) -> None:
        """A name without an object before it."""
        kind = NameKind.MODULE
        if self._class is not None and name in self._class:
            kind = NameKind.OBJECT
        elif any(name in scope for scope in self._scopes):
            self.functions.add(name)
            return
        elif self._class is not None:
            kind = NameKind.MODULE | NameKind.OBJECT
            self.read_in_classes.add(name)
        self.shared.append(Use(name, kind, defines, node, field))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._modules and node.id not in (self._class or ()):
            self.functions.add(node.id)
            return
        self._mention(node, "id", node.id, not isinstance(node.ctx, ast.Load))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        kind = NameKind.MODULE if owner in self._modules else NameKind.OBJECT
        defines = isinstance(node.ctx, ast.Store) and owner in _OWN_OBJECTS
        self.shared.append(Use(node.attr, kind, defines, node, "attr"))
        self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._mention(node, "name", node.name, True)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        for position, name in enumerate(node.names):
            self.shared.append(Use(name, NameKind.MODULE, True, node, "names", position))

    def visit_Import(self, node: ast.Import) -> None:
        self.interpreters.update(alias.asname or alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not _is_agents(node):
            self.interpreters.update(alias.name for alias in node.names)
            return
        for alias in node.names:
            if (alias.asname or alias.name) in self._modules:
                self.functions.add(alias.asname or alias.name)
                continue
            self.shared.append(Use(alias.name, NameKind.MODULE, False, alias, "name"))
            if self._scopes:
                # The function goes on with the name that it has here.
                alias.asname = alias.asname or alias.name
            elif alias.asname:
                self._mention(alias, "asname", alias.asname, True)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.interpreters.add(node.arg)
        self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._mention(node, "name", node.name, True)
        for outside in (*node.bases, *node.keywords, *node.decorator_list):
            self.visit(outside)
        outer_class, self._class = self._class, set(names_stored(node.body))
        for statement in node.body:
            self.visit(statement)
        self._class = outer_class

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        if not isinstance(node, ast.Lambda):
            self._mention(node, "name", node.name, True)
            for decorator in node.decorator_list:
                self.visit(decorator)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default:
                self.visit(default)
        body = node.body if isinstance(node.body, list) else [node.body]
        parameters = {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
        self._visit_scope((parameters | set(names_stored(body))) - _declared_global(body), body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def _visit_comprehension(self, node: ast.expr) -> None:
        self._visit_scope(set(names_stored([node])), list(ast.iter_child_nodes(node)))

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_SetComp = _visit_comprehension

    def _visit_scope(self, names: set[str], nodes: Iterable[ast.AST]) -> None:
        outer_class, self._class = self._class, None
        self._scopes.append(names)
        self.functions |= names
        for node in nodes:
            self.visit(node)
        self._scopes.pop()
        self._class = outer_class


def _is_agents(node: ast.ImportFrom) -> bool:
    return (node.module or "").partition(".")[0] in ("agent", "boards")


def _imported_modules(tree: ast.Module) -> set[str]:
    """Names under which a file imports modules of the agent and the boards."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and _is_agents(node)
        for alias in node.names
        if (files.ROOT / module_path(f"{node.module}.{alias.name}")).is_file()
    }


def names_stored(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names that statements give in their own scope."""
    for node in nodes:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        yield from names_stored(ast.iter_child_nodes(node))


def _declared_global(nodes: Iterable[ast.AST]) -> set[str]:
    inside = (inner for node in nodes for inner in ast.walk(node))
    return {name for node in inside if isinstance(node, ast.Global) for name in node.names}


def names_of(node: ast.AST) -> list[str]:
    """The names that a node itself mentions."""
    values = [getattr(node, field, None) for field in ("id", "attr", "name", "arg")]
    return [name for name in values if isinstance(name, str)]
