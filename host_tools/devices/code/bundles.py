"""Several modules as one.

On MicroPython a module takes memory by itself: its table of names, three names (its own, its
package's for it, its file's), and again each name that it imports. So what stays in memory in
every agent is two modules there: `agent.base`, which is needed first, and `agent.core`.
"""

from __future__ import annotations

import ast
import copy
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.devices.code import files
from host_tools.devices.code.files import BUNDLE_OF, BUNDLES, DeviceCodeError, module_path
from host_tools.devices.code.fixed import filled
from host_tools.devices.code.kept import constants
from host_tools.devices.code.names import prepared, renamed
from host_tools.devices.code.uses import Uses


def module_code(path: str) -> str:
    """A file, or one of BUNDLES, as devices with MicroPython get it."""
    tree = _bundle(path) if path in BUNDLES else _linked(path, "")
    text = ast.unparse(tree) + "\n"
    return _frequent_names(ast.parse(text)) + text if path in BUNDLES else text


def _bundled(module: str, name: str) -> tuple[str, bool]:
    """The bundle that holds `name` of `module`, "" if none does; and whether it is a module."""
    if of := BUNDLE_OF.get(module_path(f"{module}.{name}")):
        return of, True
    return BUNDLE_OF.get(module_path(module), ""), False


def _linked(path: str, bundle: str) -> ast.Module:
    """A file with short names that imports from bundles what they hold. bundle: of which the file
    is a part."""
    tree = renamed(path, copy.deepcopy(prepared(files.ROOT)[path]))
    links = _Links(path, bundle)
    tree = links.visit(tree)
    _Modules(path, links.modules).visit(tree)
    return filled(tree)


class _Links(ast.NodeTransformer):
    """modules: name of a module in a file's top level -> the bundle that it is in, "" for the
    file's own."""

    def __init__(self, path: str, bundle: str) -> None:
        self._bundle = bundle
        self._original = prepared(files.ROOT)[path]
        self.modules: dict[str, str] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        module = node.module or ""
        parts: dict[str, list[ast.alias]] = {}
        for alias in node.names:
            of, is_module = _bundled(module, alias.name)
            if not of:
                parts.setdefault(module, []).append(alias)
            elif is_module:
                stem = Path(of).stem
                self.modules[alias.asname or alias.name] = "" if of == self._bundle else stem
                if of != self._bundle:
                    parts.setdefault("agent", []).append(ast.alias(stem))
            elif of != self._bundle:
                parts.setdefault(f"agent.{Path(of).stem}", []).append(alias)
        found: list[ast.stmt] = []
        for name, aliases in parts.items():
            once = {(alias.name, alias.asname): alias for alias in aliases}
            found.append(ast.ImportFrom(name, list(once.values()), 0))
        return found


class _Modules(ast.NodeTransformer):
    """MODULE.name becomes BUNDLE.name, or name in the bundle itself: no function that uses it may
    have a local one of that name."""

    def __init__(self, path: str, modules: Mapping[str, str]) -> None:
        self._path = path
        self._modules = modules
        self._local: list[set[str]] = []

    def _is_module(self, name: str) -> bool:
        return name in self._modules and not self._is_local(name)

    def _is_local(self, name: str) -> bool:
        return any(name in local for local in self._local)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        inside = list(ast.walk(node))
        local = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self._local.append(local | {n.arg for n in inside if isinstance(n, ast.arg)})
        self.generic_visit(node)
        self._local.pop()
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        base = node.value
        if (
            not isinstance(base, ast.Name)
            or base.id not in self._modules
            or self._is_local(base.id)
        ):
            return self.generic_visit(node)
        stem = self._modules[base.id]
        instead = stem or node.attr
        if self._is_local(instead):
            raise DeviceCodeError(
                _(
                    "{path}, line {lineno}: the local name {attr} hides that of {id}, which "
                    "is in CORE; rename it."
                ).format(path=self._path, lineno=node.lineno, attr=instead, id=base.id)
            )
        if stem:
            base.id = stem
            return node
        return ast.Name(node.attr, node.ctx)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and self._is_module(node.id):
            raise DeviceCodeError(
                _(
                    "{path}, line {row}: {string} is a module of CORE and may only stand in "
                    "{string}.NAME; correct it."
                ).format(path=self._path, row=node.lineno, string=node.id)
            )
        return node


def _bundle(bundle: str) -> ast.Module:
    """The files of a bundle as one: names that a file makes mean the same in all of it.

    Raises:
        DeviceCodeError: two files make one name, or a file hides it.
    """
    made: dict[str, tuple[str, str]] = {}
    plain: dict[str, ast.stmt] = {}
    imports: dict[str, ast.ImportFrom] = {}
    body: list[ast.stmt] = []
    for path in _in_order({path: prepared(files.ROOT)[path] for path in BUNDLES[bundle]}):
        for node in _linked(path, bundle).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    _add(made, alias.name, ("", alias.name), path)
                    plain[alias.name] = ast.Import([alias])
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                names = imports.setdefault(module, ast.ImportFrom(module, [], 0)).names
                for alias in node.names:
                    _add(made, alias.asname or alias.name, (module, alias.name), path)
                    if all(ast.dump(alias) != ast.dump(other) for other in names):
                        names.append(alias)
            elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
                pass  # for tests and tools; the agent imports what it needs
            else:
                for name in _top_level(node):
                    _add(made, name, (path, name), path)
                body.append(node)
    head = [found[name] for found in (plain, imports) for name in sorted(found)]
    return ast.Module([*head, *body], [])


def _frequent_names(tree: ast.Module) -> str:
    """Code that never runs, and names first what the file names most often.

    A .mpy file numbers its names in the order in which they occur. Each use of the first 128
    takes one byte less than that of another."""
    uses = Counter(use.name for use in Uses(tree).shared if use.name not in constants(tree))
    uses.update(node.arg for node in ast.walk(tree) if isinstance(node, ast.arg))
    names = [name for name in uses if name.isidentifier() and not keyword.iskeyword(name)]
    first = sorted(names, key=lambda name: (-uses[name], name))[:127]
    # As attributes: the compiler meets these first, in all of a file.
    return "\n ".join(["while 1:", "break", *(f"None.{name}" for name in first)]) + "\n"


def _in_order(trees: Mapping[str, ast.Module]) -> list[str]:
    """What a file imports at its top comes before it."""
    found: list[str] = []

    def visit(path: str) -> None:
        imports = [node for node in trees[path].body if isinstance(node, ast.ImportFrom)]
        for node in imports:
            for alias in node.names:
                base = node.module or ""
                for other in (module_path(f"{base}.{alias.name}"), module_path(base)):
                    if other in trees and other not in found and other != path:
                        visit(other)
        if path not in found:
            found.append(path)

    for path in trees:
        visit(path)
    return found


def _add(made: dict[str, tuple[str, str]], name: str, what: tuple[str, str], path: str) -> None:
    before = made.setdefault(name, what)
    if before != what:
        raise DeviceCodeError(
            _(
                "{path} makes {what}, and so does {other} ({before}): both are in CORE; rename "
                "one."
            ).format(path=path, what=what[1], other=before[0] or _("an import"), before=before[1])
        )


def _top_level(node: ast.AST) -> Iterator[str]:
    """Names that a statement at a file's top level makes there."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield node.id
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _top_level(inner)
