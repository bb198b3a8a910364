"""Short names: MicroPython keeps every name that it meets for ever.

Errors and sources keep theirs, as a log names them, and so do files. `short_names` has the table
for what else a person may meet.
"""

from __future__ import annotations

import ast
import asyncio
import binascii
import builtins
import errno
import hashlib
import io
import itertools
import json
import keyword
import os
import re
import select
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from host_tools.devices.code import files
from host_tools.devices.code.files import BUNDLE_OF, module_path
from host_tools.devices.code.fixed import FIXED, fixed
from host_tools.devices.code.shorter import shorter
from host_tools.devices.code.unused import FUNCTIONS, names_of, without_unused

# What objects of the interpreters have: the same name in a file may mean theirs.
_FOREIGN = (
    asyncio, binascii, builtins, errno, hashlib, io, json, os, select, socket, ssl, struct, sys,
    time, bytes, dict, int, list, memoryview, set, str, BaseException, io.BytesIO, os.stat_result,
    asyncio.Event, asyncio.Lock, asyncio.StreamWriter, asyncio.Task, select.poll, socket.socket,
    ssl.SSLContext, ssl.SSLSocket,
)  # fmt: skip
# What the simulation (tests/sim) reads of an agent that it runs as released.
_SIMULATED = frozenset(
    "bytes_in bytes_out bytes_written const in_flight open_journal query reach ticks_add ticks_us"
    " writes Client Journal".split()
)
_WORD = re.compile(r"[A-Za-z_]\w*")
# Names that a .mpy file refers to by a number of one or two bytes, and that every MicroPython has
# in its firmware (static qstrs, part of the format of .mpy 6).
_STATIC = (
    "ArithmeticError AssertionError AttributeError EOFError Ellipsis Exception GeneratorExit"
    " ImportError IndentationError IndexError KeyError KeyboardInterrupt LookupError MemoryError"
    " NameError NotImplementedError OSError OverflowError RuntimeError StopIteration SyntaxError"
    " SystemExit TypeError ValueError ZeroDivisionError abs all any append bool bytearray bytecode"
    " bytes callable chr clear close copy dict dir divmod endswith eval exec extend find format"
    " from_bytes get getattr hasattr hash index insert int isalpha isdigit isinstance"
    " islower isspace issubclass isupper items iter join keys len list locals lower lstrip map"
    " object open ord pop popitem pow print range read readinto readline remove replace repr"
    " reverse rfind rindex round rsplit rstrip self setattr setdefault sort sorted split"
    " startswith str strip sum super throw to_bytes tuple type update upper zip"
).split()
_GLOBAL, _ATTRIBUTE = 1, 2


@dataclass
class _Use:
    """A name in a file. kinds: whether it is looked for among a module's names, an object's, or
    perhaps both; `node.field` is to be changed."""

    name: str
    kinds: int
    makes: bool
    node: ast.AST
    field: str
    at: int = -1

    def rename(self, short: str) -> None:
        if self.at >= 0:
            getattr(self.node, self.field)[self.at] = short
        else:
            setattr(self.node, self.field, short)


class _Uses(ast.NodeVisitor):
    """All uses of names in a file, but for functions' own."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[_Use] = []
        # What a device keeps as it is: keywords, and what comes from the interpreter.
        self.foreign: set[str] = set()
        self.own: set[str] = set()  # of functions
        # Found where a class has its names, too, though it does not make them.
        self.in_classes: set[str] = set()
        self._functions: list[set[str]] = []
        self._class: set[str] | None = None
        self._modules = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and _is_ours(node)
            for alias in node.names
            if (files.ROOT / module_path(f"{node.module}.{alias.name}")).is_file()
        }
        self.visit(tree)

    def _add(self, node: ast.AST, field: str, name: str, makes: bool) -> None:
        if self._class is not None and name in self._class:
            self.found.append(_Use(name, _ATTRIBUTE, makes, node, field))
        elif any(name in own for own in self._functions):
            self.own.add(name)
        elif self._class is not None:
            self.in_classes.add(name)
            self.found.append(_Use(name, _GLOBAL | _ATTRIBUTE, makes, node, field))
        else:
            self.found.append(_Use(name, _GLOBAL, makes, node, field))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._modules and node.id not in (self._class or ()):
            self.own.add(node.id)
            return
        self._add(node, "id", node.id, not isinstance(node.ctx, ast.Load))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        kinds = _GLOBAL if base in self._modules else _ATTRIBUTE
        makes = isinstance(node.ctx, ast.Store) and base in ("self", "signer")
        self.found.append(_Use(node.attr, kinds, makes, node, "attr"))
        self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._add(node, "name", node.name, True)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        for at, name in enumerate(node.names):
            self.found.append(_Use(name, _GLOBAL, True, node, "names", at))

    def visit_Import(self, node: ast.Import) -> None:
        self.foreign.update(alias.asname or alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if not _is_ours(node):
                self.foreign.add(alias.name)
                continue
            if (alias.asname or alias.name) in self._modules:
                self.own.add(alias.asname or alias.name)
                continue
            in_function = bool(self._functions)
            self.found.append(_Use(alias.name, _GLOBAL, False, alias, "name"))
            if alias.asname and not in_function:
                self._add(alias, "asname", alias.asname, True)
            elif in_function:
                alias.asname = alias.asname or alias.name

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.foreign.add(node.arg)
        self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._add(node, "name", node.name, True)
        for outer in (*node.bases, *node.keywords, *node.decorator_list):
            self.visit(outer)
        before, self._class = self._class, set(_stored(node.body))
        for inner in node.body:
            self.visit(inner)
        self._class = before

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        if not isinstance(node, ast.Lambda):
            self._add(node, "name", node.name, True)
            for outer in node.decorator_list:
                self.visit(outer)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default:
                self.visit(default)
        body = node.body if isinstance(node.body, list) else [node.body]
        own = set(_stored(body)) | {n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)}
        self._within(own - _declared(body), body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def _visit_made(self, node: ast.expr) -> None:
        self._within(set(_stored([node])), list(ast.iter_child_nodes(node)))

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_SetComp = _visit_made

    def _within(self, own: set[str], nodes: Iterable[ast.AST]) -> None:
        before, self._class = self._class, None
        self._functions.append(own)
        self.own |= own
        for node in nodes:
            self.visit(node)
        self._functions.pop()
        self._class = before


def _is_ours(node: ast.ImportFrom) -> bool:
    return (node.module or "").partition(".")[0] in ("agent", "boards")


def _stored(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names that statements make in their own scope."""
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
        yield from _stored(ast.iter_child_nodes(node))


def _declared(nodes: Iterable[ast.AST]) -> set[str]:
    found = (n for node in nodes for n in ast.walk(node))
    return {name for node in found if isinstance(node, ast.Global) for name in node.names}


# ---- the tables ------------------------------------------------------------------------------


@cache
def prepared(root: Path) -> dict[str, ast.Module]:
    """Of each file, what devices need of it, with the names that it has here."""
    trees = {path: fixed(path, tree) for path, tree in files.sources(root).items()}
    without_unused(trees, _known_outside(trees))
    return {path: shorter(tree) for path, tree in trees.items()}


def short_names(path: str) -> dict[str, str]:
    """Of each name in a file of the agent or a board that can be changed, the one on devices."""
    return tables().get(path, {})


def tables() -> dict[str, dict[str, str]]:
    """Of each file, its names that become short."""
    return _tables(files.ROOT)


def renamed(path: str, tree: ast.Module) -> ast.Module:
    """A file of `prepared`, changed: it has short names."""
    short = short_names(path)
    for use in _Uses(tree).found:
        if use.name in short:
            use.rename(short[use.name])
    return tree


def _letters() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)


@cache
def _tables(root: Path) -> dict[str, dict[str, str]]:
    """Two names get the same short one where no file, nor another that shares its classes, has
    both as names of one kind: so that a device has few."""
    trees = prepared(root)
    found = {path: _Uses(tree) for path, tree in trees.items()}
    constants = {path: _constants(tree) for path, tree in trees.items()}
    outside = _known_outside(trees)
    kept = outside.union(*map(dir, _FOREIGN), *constants.values())
    kept = kept.union(*(uses.foreign for uses in found.values()))
    groups = _groups(trees)
    uses = [[use for path in sorted(group) for use in found[path].found] for group in groups]
    counts = Counter(use.name for group in uses for use in group)
    made = [{use.name for use in group if use.makes} - kept for group in uses]
    kinds: list[dict[str, int]] = [{} for _group in groups]
    for of_group, group in zip(kinds, uses, strict=True):
        for use in group:
            of_group[use.name] = of_group.get(use.name, 0) | use.kinds
    candidates = _Candidates(found.values(), outside)
    # Files of a bundle share their top level's names.
    bundled = [not group.isdisjoint(BUNDLE_OF) for group in groups]
    in_bundles: set[str] = set()
    taken: list[dict[int, set[str]]] = [{_GLOBAL: set(), _ATTRIBUTE: set()} for _g in groups]
    by_group: list[dict[str, str]] = [{} for _group in groups]
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        inside = [i for i, of_group in enumerate(kinds) if name in of_group]
        if name[0] == "_":
            places = [[i] for i in inside if name in made[i]]
        else:
            places = [inside] if any(name in made[i] for i in inside) else []
        for place in places:
            kind = 0
            for i in place:
                kind |= kinds[i][name]
            bits = [bit for bit in (_GLOBAL, _ATTRIBUTE) if kind & bit]
            others = set().union(*(taken[i][bit] for i in place for bit in bits))
            shared = kind & _GLOBAL and any(bundled[i] for i in place)
            if shared:
                others |= in_bundles
            short = next(short for short in candidates.of(kind) if short not in others)
            if short in _STATIC or len(short) < len(name):
                for i in place:
                    by_group[i][name] = short
                    for bit in bits:
                        taken[i][bit].add(short)
                if shared:
                    in_bundles.add(short)
    tables = {path: dict(by_group[i]) for i, group in enumerate(groups) for path in group}
    # A private constant costs a device nothing, but must be one file's only.
    for number, path in enumerate(BUNDLE_OF):
        own = constants.get(path, set())
        tables.get(path, {}).update({n: f"_C{number}{n}" for n in own if n[0] == "_"})
    return tables


class _Candidates:
    """Short names, the cheapest first."""

    def __init__(self, of_files: Collection[_Uses], outside: Collection[str]) -> None:
        uses = [use for uses in of_files for use in uses.found]
        self._counts = {
            kind: Counter(use.name for use in uses if use.kinds & kind)
            for kind in (_GLOBAL, _ATTRIBUTE)
        }
        foreign = set().union(*map(dir, (thing for thing in _FOREIGN if thing is not builtins)))
        self._others = {
            _GLOBAL: set().union(*(uses.own | uses.foreign for uses in of_files)),
            _ATTRIBUTE: foreign.union(outside, *(uses.in_classes for uses in of_files)),
        }

    def of(self, kind: int) -> Iterator[str]:
        # What a file has as a name of the other kind costs it nothing more.
        other = self._counts[_ATTRIBUTE if kind & _GLOBAL else _GLOBAL]
        static = sorted(_STATIC, key=lambda name: -other[name])
        letters = (f"{x}_" if kind & _GLOBAL else x for x in _letters())
        for name in itertools.chain(static, letters):
            if keyword.iskeyword(name):
                continue
            if any(
                kind & bit and (name in self._counts[bit] or name in self._others[bit])
                for bit in (_GLOBAL, _ATTRIBUTE)
            ):
                continue
            yield name


def _constants(tree: ast.Module) -> set[str]:
    """The names that are given to `const`: the compiler puts their values in."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "const"
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _known_outside(trees: dict[str, ast.Module]) -> set[str]:
    """Names that are given as texts, or that others than the agent know."""
    kept = {*_SIMULATED, *FIXED}
    for path, tree in trees.items():
        nodes = list(ast.walk(tree))
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        by_text = [n for n in nodes if isinstance(n, ast.Call) and _is_by_text(n.func)]
        for node in [tree] if path.startswith(_TEXTS_ARE_NAMES) else by_text:
            kept |= set(_texts(node))
        # A log names errors and sources.
        logged = path.startswith(("agent/sources/", "boards/"))
        kept |= {node.name for node in classes if logged or node.name.endswith("Error")}
        if path.startswith("boards/"):
            # Of an ESP32's own modules nothing is known here.
            kept |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and n.attr[0] != "_"}
            kept |= {n.name for n in nodes if isinstance(n, FUNCTIONS) and n.name[0] != "_"}
            kept |= {n.id for body in tree.body for n in ast.walk(body) if _is_top(n, body)}
            # What MicroPython starts stays as it is, and imports from the agent.
            kept |= {n.name for n in nodes if isinstance(n, ast.alias)}
        if path in _INTERFACES:
            names = {n.name for n in nodes if isinstance(n, (*FUNCTIONS, ast.ClassDef))}
            if path == _BOARD:
                names.update(name for node in classes for name in _stored(node.body))
            kept |= {name for name in names if name[0] != "_"}
    # What provisioning, visits and the check of a board run on a device calls the agent.
    for script in _SCRIPTS:
        for text in _texts(fixed(script, ast.parse((_FIELD / script).read_bytes()))):
            kept |= set(_WORD.findall(text))
    return kept


# What boards, provisioning and visits use.
_FIELD = Path(__file__).resolve().parents[2] / "field"
_SCRIPTS = ("provision/payload.py", "provision/serial_device.py", "device_check/scripts.py")
_BOARD = "agent/device/board.py"
_INTERFACES = (_BOARD, "agent/visit.py", "agent/start.py")
_BY_TEXT = ("getattr", "hasattr", "setattr", "delattr")
_TEXTS_ARE_NAMES = ("agent/sources/", "boards/", "agent/device/heap.py")


def _is_by_text(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id in _BY_TEXT


def _texts(node: ast.AST) -> Iterator[str]:
    """Texts in code, without those for people."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for_people = isinstance(node, ast.Call) and ast.unparse(node.func) == "_"
    for inside in [] if for_people else ast.iter_child_nodes(node):
        yield from _texts(inside)


def _is_top(node: ast.AST, statement: ast.stmt) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and not isinstance(statement, (*FUNCTIONS, ast.ClassDef))


def _groups(trees: dict[str, ast.Module]) -> list[set[str]]:
    """Files that share private names: one imports them, or derives a class, from another, or has
    another answer for it (`__getattr__`)."""
    groups = {path: {path} for path in trees}
    for path, tree in trees.items():
        nodes = list(ast.walk(tree))
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        bases = {
            name
            for node in classes
            for base in node.bases
            for n in ast.walk(base)
            for name in names_of(n)
        }
        hooks = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
        answering = [node for hook in hooks for node in ast.walk(hook)]
        for node in nodes:
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for name in [alias.name for alias in node.names]:
                if not (name in bases or name[0] == "_" or node in answering):
                    continue
                for module in (node.module, f"{node.module}.{name}"):
                    other = module_path(module)
                    if other in trees:
                        joined = groups[path] | groups[other]
                        groups.update(dict.fromkeys(joined, joined))
    return [group for path, group in groups.items() if path == min(group)]


# ---- parameters ------------------------------------------------------------------------------


@cache
def _keywords(root: Path) -> set[str]:
    """Names of arguments that are given by name anywhere, or may be."""
    nodes = (node for tree in prepared(root).values() for node in ast.walk(tree))
    found = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    return found | {"self", "cls", "settings", "timeout_ms"}


def with_short_parameters(tree: ast.Module) -> ast.Module:
    """A file with short names for the parameters that are never given by name."""
    by_name = _keywords(files.ROOT)
    for function in [n for n in ast.walk(tree) if isinstance(n, FUNCTIONS)]:
        inside = list(ast.walk(function))
        used = {n.id for n in inside if isinstance(n, ast.Name)}
        used |= {n.arg for n in inside if isinstance(n, ast.arg)}
        used |= {n.name for n in inside if isinstance(n, ast.ExceptHandler) and n.name}
        used |= {n.asname or n.name for n in inside if isinstance(n, ast.alias)}
        inner = {
            arg.arg
            for node in inside
            if node is not function and isinstance(node, (*FUNCTIONS, ast.Lambda))
            for arg in ast.walk(node.args)
            if isinstance(arg, ast.arg)
        }
        names = itertools.chain(_PARAMETERS, _letters())
        free = (name for name in names if name not in used and not keyword.iskeyword(name))
        for arg in [*function.args.posonlyargs, *function.args.args]:
            name = arg.arg
            if name in inner or name in by_name or name[0] == "_":
                continue
            arg.arg = next(free)
            for node in inside:
                if isinstance(node, ast.Name) and node.id == name:
                    node.id = arg.arg
    return tree


_PARAMETERS = ("append", "args", "abs", "all", "any", "bool")
