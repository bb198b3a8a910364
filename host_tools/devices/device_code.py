"""The agent's files as devices get them.

Every device gets the wire's numbers in place of their names. MicroPython keeps every name that it
meets for ever, so its files get short names, too. A traceback on such a device shows these, with
its files and errors as they are; `short_names` has the table. Lines keep their numbers.

On MicroPython a module takes memory by itself: its table of names, three names (its own, its
package's for it, its file's), and again each name that it imports. So what stays in memory in
every agent is two modules there: `agent.base`, which is needed first, and `agent.core`.
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
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_HERE = Path(__file__).resolve()
ROOT = _HERE.parents[2]
IDS = ("agent/wire/ids.py", "agent/wire/ids_seldom.py")
# What is fixed in a release for MicroPython (agent/device/interpreter.py).
_KEY_TABLES = ("KEYS", "_TABLE")
_FIXED = {"MICROPYTHON": "True", "FROM_SOURCE": "False"}
_PRIVATE = re.compile(r"_[A-Za-z0-9]\w*")


class DeviceCodeError(DesalinkError):
    """A file uses the wire's numbers in a form that can't be replaced."""


def constants(path: Path) -> dict[str, Any]:
    """Names and values of the constants at a file's top level."""
    found = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                pass  # computed
    return found


@cache
def _numbers(root: Path) -> dict[str, Any]:
    return constants(root / IDS[0]) | constants(root / IDS[1])


def source_code(path: str, micropython: bool = False) -> bytes:
    """A file (its path from the root, or one of BUNDLES) as devices get it.

    Raises:
        DeviceCodeError: a number that there is not, or another use of `ids`.
    """
    if path in BUNDLES:
        return _bundle_code(path).encode()
    return _source_code(ROOT, path, (ROOT / path).read_text(), micropython)


@cache
def _source_code(root: Path, path: str, code: str, micropython: bool) -> bytes:
    """Short names depend on all files below the root."""
    return "\n".join(_edited(path, code, ast.parse(code), micropython)).encode()


def _edited(path: str, code: str, tree: ast.Module, micropython: bool) -> list[str]:
    """The lines of a file as devices get it."""
    dropped = {"ids", "const"} if micropython else {"ids"}
    lines = code.split("\n")
    short = short_names(path) if micropython else {}
    bundle = _BUNDLE_OF.get(path, "") if micropython else None
    edits = _imports(tree, dropped, lines, short, bundle)
    if micropython:
        edits |= _tables_of_keys(tree, lines, short)
        for node in _unused(ROOT).get(path, ()):
            first = min(part.lineno for part in (node, *node.decorator_list))
            for row in range(first, (node.end_lineno or 0) + 1):
                edits[row, -1] = len(lines[row - 1]), " " * node.col_offset + "pass"
    prefixes = _modules_of(bundle, tree) if bundle else set()
    numbers = _numbers(ROOT)
    parameters = _parameters(tree) if micropython else {}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.string.strip()]
    for at, token in enumerate(tokens):
        row, begin = token.start
        if token.type != tokenize.NAME or (row, -1) in edits:
            continue
        instead = short.get(token.string) or parameters.get(token.start)
        attribute = [t.string for t in tokens[at + 1 : at + 3]]
        after_dot = at and tokens[at - 1].string == "."
        end = token.end
        if token.string == "ids" and not after_dot:
            if attribute[:1] != ["."]:
                raise DeviceCodeError(
                    _("{path}: ids may only stand in ids.NAME; correct it.").format(path=path)
                )
            if attribute[1] not in numbers:
                raise DeviceCodeError(
                    _("{path}: {ids} has no {attribute}; correct the name.").format(
                        path=path, ids=IDS[0], attribute=attribute[1]
                    )
                )
            instead, end = str(numbers[attribute[1]]), tokens[at + 2].end
        elif micropython and token.string == "FROM_SOURCE" and not after_dot:
            edits[row, -1] = len(lines[row - 1]), ""
        elif micropython and token.string in _FIXED and _is_read(tokens, at):
            instead = _FIXED[token.string]
        elif micropython and attribute[:1] == ["."] and attribute[-1] in _FIXED:
            instead, end = _FIXED[attribute[1]], tokens[at + 2].end
        elif token.string in prefixes and not after_dot:
            if attribute[:1] != ["."]:
                raise DeviceCodeError(
                    _(
                        "{path}, line {row}: {string} is a module of CORE and may only stand in "
                        "{string}.NAME; correct it."
                    ).format(path=path, row=row, string=token.string)
                )
            edits[row, begin] = tokens[at + 1].end[1], ""
        if instead:
            edits[row, begin] = end[1], instead
    for (row, begin), (end_column, instead) in sorted(edits.items(), reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[: max(begin, 0)] + instead + line[end_column:]
    return lines


def _tables_of_keys(
    tree: ast.Module, lines: list[str], short: dict[str, str]
) -> dict[tuple[int, int], tuple[int, str]]:
    """The edits that leave key, default, and "path" in tables of keys (agent/config.py): the host
    checks the rest before it builds a release."""
    edits = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])) in _KEY_TABLES:
            rows = [line.split() for line in ast.literal_eval(node.value).splitlines()]
            text = "\n".join(" ".join(w[:2] + w[2:3] * (w[2] == "path")) for w in rows)
            for row in range(node.lineno, (node.end_lineno or 0) + 1):
                edits[row, -1] = len(lines[row - 1]), ""
            instead = f"{short.get(name, name)} = {text!r}"
            edits[node.lineno, -1] = len(lines[node.lineno - 1]), instead
    return edits


def _is_read(tokens: list[tokenize.TokenInfo], at: int) -> bool:
    """Whether the name there is neither bound, nor imported, nor the attribute of another."""
    return tokens[at - 1].string not in (".", "import") and tokens[at + 1].string != "="


def _imports(
    tree: ast.AST,
    dropped: set[str],
    lines: list[str],
    short: dict[str, str],
    bundle: str | None,
) -> dict[tuple[int, int], tuple[int, str]]:
    """The edits that leave out the names in `dropped` of `from agent. ... import ...`, and import
    from bundles what they hold. bundle: of which the file is a part, None: there are none.

    An edit: (line, column) -> (column of the end, text); column -1 stands for the whole line."""
    edits = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("agent."):
            continue
        parts: dict[str, list[str]] = {}
        for alias in node.names:
            name = short.get(alias.name, alias.name)
            if alias.name in dropped:
                continue
            of, is_module = _bundled(node.module or "", alias.name)
            if bundle is None or not of:
                parts.setdefault(f"from {node.module} import", []).append(name)
            elif of == bundle:
                pass  # it is here
            elif is_module:
                stem = Path(of).stem
                parts.setdefault("from agent import", []).append(f"{stem} as {alias.name}")
            else:
                parts.setdefault(f"from agent.{Path(of).stem} import", []).append(name)
        text = "; ".join(f"{head} {', '.join(names)}" for head, names in parts.items())
        plain = f"from {node.module} import {', '.join(alias.name for alias in node.names)}"
        if text == plain:
            continue
        for row in range(node.lineno, (node.end_lineno or 0) + 1):
            edits[row, -1] = len(lines[row - 1]), ""
        instead = text or ("pass" if node.col_offset else "")
        indent = " " * node.col_offset
        edits[node.lineno, -1] = len(lines[node.lineno - 1]), (indent + instead).rstrip()
    return edits


def _bundled(module: str, name: str) -> tuple[str, bool]:
    """The bundle that holds `name` of `module`, "" if none does; and whether it is a module."""
    path = module.replace(".", "/")
    if of := _BUNDLE_OF.get(f"{path}/{name}.py"):
        return of, True
    return _BUNDLE_OF.get(f"{path}.py", ""), False


def _modules_of(bundle: str, tree: ast.AST) -> set[str]:
    """Names of modules of a bundle that a file imports."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if _bundled(node.module or "", alias.name) == (bundle, True)
    }


# ---- bundles -------------------------------------------------------------------------------

CORE_PATH = "agent/core.py"
# What is needed first: to collect often, to read the settings and the certificate.
BASE = tuple(
    f"agent/{name}.py"
    for name in ("device/interpreter", "device/heap", "device/board", "net/errors")
)
# What else every agent keeps in memory while it runs.
CORE = tuple(
    f"agent/{name}.py"
    for name in (
        "device/clock wire/cbor wire/cose wire/ed25519 wire/sha512 wire/comb"
        " net/tasks net/traffic net/udp net/dns net/packet net/connection net/mqtt"
        " journal/segment journal/stream journal/journal link/linux link/probes link/broker"
        " link/names link/outages link/quality link/upstream link/ladder measure/report"
        " measure/sampler province/acks province/backoff province/birth province/certificate"
        " province/delivery province/session supervise"
    ).split()
)
BUNDLES = {"agent/base.py": BASE, CORE_PATH: CORE}
_BUNDLE_OF = {path: bundle for bundle, paths in BUNDLES.items() for path in paths}


def _bundle_code(bundle: str) -> str:
    """The files of a bundle as one: names that a file makes mean the same in all of it.

    Raises:
        DeviceCodeError: two files make one name, or a file hides it.
    """
    codes = {path: (ROOT / path).read_text() for path in BUNDLES[bundle]}
    trees = {path: ast.parse(code) for path, code in codes.items()}
    made: dict[str, tuple[str, str]] = {}
    imports: dict[str, list[str]] = {}
    bodies = []
    for path in _in_order(trees):
        tree, short = trees[path], short_names(path)
        _check_hidden(path, tree, _modules_of(bundle, tree))
        lines = _edited(path, codes[path], tree, True)
        for node in tree.body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    _add(made, alias.name, ("", alias.name), path)
                    imports.setdefault(f"import {alias.name}", [])
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    of, is_module = _bundled(node.module or "", alias.name)
                    if alias.name in ("ids", "const") or of == bundle:
                        continue
                    name = short.get(alias.name, alias.name)
                    _add(made, name, (node.module or "", alias.name), path)
                    where = node.module
                    if of:
                        where = "agent" if is_module else f"agent.{Path(of).stem}"
                        name = f"{Path(of).stem} as {name}" if is_module else name
                    names = imports.setdefault(f"from {where} import", [])
                    names += [name] * (name not in names)
            elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
                pass  # for tests and tools; the agent imports what it needs
            else:
                for name in _top_level(node):
                    _add(made, short.get(name, name), (path, name), path)
                continue
            for row in range(node.lineno - 1, node.end_lineno or 0):
                lines[row] = ""
        bodies += [line for line in lines if line.strip()]
    head = [f"{text} {', '.join(sorted(names))}".rstrip() for text, names in imports.items()]
    text = "\n".join([*sorted(head), *bodies, ""])
    return _frequent_names(ast.parse(text)) + text


def _frequent_names(tree: ast.Module) -> str:
    """Code that never runs, and names first what the file names most often.

    A .mpy file numbers its names in the order in which they occur. Each use of the first 128
    takes one byte less than that of another."""
    uses = Counter(_uses(tree))
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            uses.update([node.name, node.name])
            uses.update(arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg))
        elif isinstance(node, ast.ClassDef):
            uses.update([node.name] * 4 + ["__name__", "__module__", "__qualname__"])
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
            base = (node.module or "").replace(".", "/")
            for alias in node.names:
                for other in (f"{base}/{alias.name}.py", f"{base}.py"):
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


def _check_hidden(path: str, tree: ast.Module, modules: set[str]) -> None:
    """MODULE.name becomes name: no function that uses it may have a local one of that name."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        inside = list(ast.walk(function))
        local = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        local |= {n.arg for n in inside if isinstance(n, ast.arg)}
        for n in inside:
            if not isinstance(n, ast.Attribute) or not isinstance(n.value, ast.Name):
                continue
            if n.value.id in modules and n.attr in local:
                raise DeviceCodeError(
                    _(
                        "{path}, line {lineno}: the local name {attr} hides that of {id}, which "
                        "is in CORE; rename it."
                    ).format(path=path, lineno=n.lineno, attr=n.attr, id=n.value.id)
                )


def _constants_of_bundles(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """By file of a bundle, the names that are given to `const`: the compiler puts their values
    in."""
    found = {}
    for path in _BUNDLE_OF:
        found[path] = {
            target.id
            for node in (trees[path].body if path in trees else ())
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "const"
            for target in node.targets
            if isinstance(target, ast.Name)
        }
    return found


def _letters() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)


# ---- what no device calls -------------------------------------------------------------------

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def _unused(root: Path) -> dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]]:
    """By file, the functions and methods whose names occur nowhere but in themselves, or in others
    of these: tests call them, and programs on CPython."""
    trees = _trees(root)
    kept = _known_outside(trees)
    unused: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
    while True:
        dead = {id(node) for nodes in unused.values() for node in nodes}
        used: Counter[str] = Counter()
        for tree in trees.values():
            used.update(_live_names(tree, dead))
        found = {
            path: [
                node
                for node in ast.walk(tree)
                if isinstance(node, _FUNCTIONS)
                and node.name not in kept
                and node.name[:2] != "__"
                and used[node.name] <= _live_names(node, dead)[node.name]
            ]
            for path, tree in trees.items()
        }
        if found == unused:
            return found
        unused = found


def _live_names(tree: ast.AST, dead: Collection[int]) -> Counter[str]:
    """Names that are used, and imported, outside of the functions in `dead`."""
    return Counter(_uses(tree, dead))


def _uses(
    node: ast.AST, dead: Collection[int] = (), own: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Names that code takes from elsewhere, once for each use. own: a function's own names."""
    if id(node) in dead:
        return
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        inside = list(ast.walk(node))
        stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        stored |= {n.arg for n in inside if isinstance(n, ast.arg)}
        own = (own | stored) - {x for n in inside if isinstance(n, ast.Global) for x in n.names}
    for name in _names_of(node):
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.arg)) and not (
            isinstance(node, ast.Name) and (name in own or name == "const")
        ):
            yield name
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
        children = node.body if node.test.value else node.orelse
    for child in children:
        yield from _uses(child, dead, own)


# ---- names ---------------------------------------------------------------------------------

# What objects of the interpreters have: the same name in a file may mean theirs.
_FOREIGN = (
    asyncio, binascii, builtins, errno, hashlib, io, json, os, select, socket, ssl, struct, sys,
    time, bytes, dict, int, list, memoryview, set, str, BaseException, io.BytesIO, os.stat_result,
    asyncio.Event, asyncio.Lock, asyncio.StreamWriter, asyncio.Task, select.poll, socket.socket,
    ssl.SSLContext, ssl.SSLSocket,
)  # fmt: skip
# What the simulation (tests/sim) reads of an agent that it runs as released.
_SIMULATED = frozenset(
    "bytes_in bytes_out bytes_written in_flight open_journal query reach ticks_us writes Client"
    " Journal".split()
)
_WORD = re.compile(r"[A-Za-z_]\w*")
# Names that a .mpy file refers to by a number of one or two bytes, and that every MicroPython has
# in its firmware (static qstrs, part of the format of .mpy 6): for the names that most files have.
# Only those that no file uses as what they are.
_STATIC = (
    "ArithmeticError IndentationError NotImplementedError ZeroDivisionError AssertionError"
    " GeneratorExit LookupError StopIteration SyntaxError Ellipsis KeyError NameError chr dir"
    " bytecode divmod eval exec islower isspace isupper issubclass locals ord popitem rfind rindex"
    " rsplit upper"
).split()
# For parameters: what a function does not use itself.
_STATIC_ANYWHERE = ("append", "args", "abs", "all", "any", "bool")


def short_names(path: str) -> dict[str, str]:
    """Of each name in a file of the agent or a board that can be changed, the one on devices."""
    return tables().get(path, {})


def tables() -> dict[str, dict[str, str]]:
    """Of each file, its names that become short."""
    return _tables(ROOT)


@cache
def _trees(root: Path) -> dict[str, ast.Module]:
    return {
        name: ast.parse((root / name).read_bytes())
        for room in ("agent", "boards")
        for path in sorted((root / room).rglob("*.py"))
        # What is frozen into firmware keeps its names, and knows none of the agent's.
        if (name := path.relative_to(root).as_posix()) not in IDS and "/firmware/" not in name
    }


@cache
def _tables(root: Path) -> dict[str, dict[str, str]]:
    """Two names get the same short one where no file, nor another that shares its classes, has
    both: so that a device has few. Private ones begin with a line, others end with one."""
    trees = _trees(root)
    kept = _kept_everywhere(trees)
    fixed = _constants_of_bundles(trees)
    kept |= {name for names in fixed.values() for name in names}
    groups = _groups(trees)
    # Of the groups that are in bundles, names that are made at a file's top level must differ.
    tops: list[set[str]] = [
        {
            name
            for path in group & set(_BUNDLE_OF)
            for node in trees[path].body
            for name in [*_top_level(node), *(a.name for a in getattr(node, "names", ()))]
        }
        for group in groups
    ]
    of_bundles: set[str] = set()
    names = [Counter(itertools.chain(*(_names(trees[p]) for p in group))) for group in groups]
    uses = sum(names, Counter())
    tables: list[dict[str, str]] = [{} for _group in groups]
    bound = [set().union(*(_bound(trees[path]) for path in group)) - kept for group in groups]
    for name, _count in sorted(uses.items(), key=lambda item: (-item[1], item[0])):
        private = name[0] == "_"
        inside = [i for i, known in enumerate(names) if name in known]
        if private:
            places = [[i] for i in inside if name in bound[i]]
        else:
            places = [inside] if any(name in bound[i] for i in inside) else []
        for place in places:
            taken = set().union(*(tables[i].values() for i in place))
            top = any(name in tops[i] for i in place)
            if top:
                taken |= of_bundles
            letters = (f"_{x}" if private else f"{x}_" for x in _letters())
            free = itertools.chain(_STATIC[private::2], letters)
            short = next(x for x in free if x not in taken and x not in uses)
            if short in _STATIC or len(short) < len(name):
                for i in place:
                    tables[i][name] = short
                if top:
                    of_bundles.add(short)
    by_file = {path: dict(tables[i]) for i, group in enumerate(groups) for path in group}
    # A private constant costs a device nothing, but must be one file's only.
    for number, (path, constant) in enumerate(fixed.items()):
        by_file.get(path, {}).update({n: f"_C{number}{n}" for n in constant if n[0] == "_"})
    return by_file


def _kept_everywhere(trees: dict[str, ast.Module]) -> set[str]:
    return _known_outside(trees).union(*map(dir, _FOREIGN))


def _known_outside(trees: dict[str, ast.Module]) -> set[str]:
    """Names that are given as texts, or that others than the agent know."""
    kept = set().union(*map(_kept, trees.values()))
    for path, tree in trees.items():
        kept |= set(path.removesuffix(".py").split("/"))
        # A log names errors and sources; of an ESP32's own modules nothing is known here.
        logged = path.startswith(("agent/sources/", "boards/"))
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        kept |= {name for name in classes if logged or name.endswith("Error")}
        if path.startswith("boards/"):
            kept |= {name for name in _names(tree) if name[0] != "_"}
    # What provisioning and visits run on a device calls the agent.
    for node in ast.walk(trees["agent/visit.py"]) if "agent/visit.py" in trees else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            kept.add(node.name)
    provision = _HERE.parents[1] / "field" / "provision"
    for name in ("payload.py", "serial_device.py"):
        kept |= set(_WORD.findall((provision / name).read_text()))
    return kept | _SIMULATED | set(_FIXED)


def _kept(tree: ast.AST) -> Iterator[str]:
    """Names that are given as texts (getattr), or are keywords of calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def _names(tree: ast.AST) -> Iterator[str]:
    return itertools.chain.from_iterable(map(_names_of, ast.walk(tree)))


def _names_of(node: ast.AST) -> list[str]:
    values = [getattr(node, field, None) for field in ("id", "attr", "name", "arg")]
    return [name for name in values if isinstance(name, str)]


def _bound(tree: ast.AST) -> set[str]:
    """Names that the file makes: others belong to the interpreter."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "signer"):
                found.add(node.attr)
    return found


def _groups(trees: dict[str, ast.Module]) -> list[set[str]]:
    """Files that share private names: one imports them, or derives a class, from another, or has
    another answer for it (`__getattr__`)."""
    groups = {path: {path} for path in trees}
    for path, tree in trees.items():
        nodes = list(ast.walk(tree))
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        bases = {name for node in classes for base in node.bases for name in _names(base)}
        hooks = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
        answering = [node for hook in hooks for node in ast.walk(hook)]
        for node in nodes:
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for name in [alias.name for alias in node.names]:
                if not (name in bases or _PRIVATE.fullmatch(name) or node in answering):
                    continue
                for module in (node.module, f"{node.module}.{name}"):
                    other = module.replace(".", "/") + ".py"
                    if other in trees:
                        joined = groups[path] | groups[other]
                        groups.update(dict.fromkeys(joined, joined))
    return [group for path, group in groups.items() if path == min(group)]


# ---- parameters ----------------------------------------------------------------------------


@cache
def _keywords(root: Path) -> set[str]:
    """Names of arguments that are given by name anywhere, or may be."""
    found = {"self", "cls", "settings", "timeout_ms"}
    for room in ("agent", "boards"):
        for path in sorted((root / room).rglob("*.py")):
            tree = ast.parse(path.read_bytes())
            found |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg}
    return found


def _parameters(tree: ast.AST) -> dict[tuple[int, int], str]:
    """Place of each name of a parameter -> a short one; for those that are never given by name."""
    found: dict[tuple[int, int], str] = {}
    functions = [
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for function in functions:
        inside = list(ast.walk(function))
        used = set().union(*map(_names_of, inside))
        used |= {found[p] for n in inside if (p := _place(n)) in found}
        inner = {
            arg.arg
            for node in inside
            if node is not function
            and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for arg in ast.walk(node.args)
            if isinstance(arg, ast.arg)
        }
        names = itertools.chain(_STATIC_ANYWHERE, _letters())
        free = (name for name in names if name not in used and not keyword.iskeyword(name))
        for arg in [*function.args.posonlyargs, *function.args.args]:
            name = arg.arg
            if name in inner or name in _keywords(ROOT) or name[0] == "_":
                continue
            short = next(free)
            found |= {
                _place(node): short
                for node in inside
                if (isinstance(node, ast.Name) and node.id == name) or node is arg
            }
    return found


def _place(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", -1)
