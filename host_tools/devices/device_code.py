"""The agent's files as devices get them.

Every device gets the wire's numbers in place of their names. MicroPython keeps every name that it
meets for ever, so its files get short private names, too: `_a`, `_b`, ... in each file anew. A
traceback on a device shows these; `short_names` gives the table to read it by. Lines keep their
numbers.
"""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import keyword
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError

_ROOT = Path(__file__).resolve().parents[2]
IDS = ("agent/wire/ids.py", "agent/wire/ids_seldom.py")
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


def source_code(path: str, micropython: bool = False) -> bytes:
    """A file (its path from the root) as devices get it.

    Raises:
        DeviceCodeError: a number that there is not, or another use of `ids`.
    """
    code = (_ROOT / path).read_text()
    tree = ast.parse(code)
    dropped = {"ids", "const"} if micropython else {"ids"}
    lines = code.split("\n")
    edits = _imports(tree, dropped, lines)
    numbers = constants(_ROOT / IDS[0]) | constants(_ROOT / IDS[1])
    short = short_names(path) if micropython else {}
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
                raise DeviceCodeError(f"{path}: ids may only stand in ids.NAME; correct it.")
            if attribute[1] not in numbers:
                raise DeviceCodeError(f"{path}: {IDS[0]} has no {attribute[1]}; correct the name.")
            instead, end = str(numbers[attribute[1]]), tokens[at + 2].end
        elif token.string == "MICROPYTHON" and micropython and _is_read(tokens, at):
            instead = "True"
        elif attribute == [".", "MICROPYTHON"] and micropython:
            instead, end = "True", tokens[at + 2].end
        if instead:
            edits[row, begin] = end[1], instead
    for (row, begin), (end_column, instead) in sorted(edits.items(), reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[: max(begin, 0)] + instead + line[end_column:]
    return "\n".join(lines).encode()


def _is_read(tokens: list[tokenize.TokenInfo], at: int) -> bool:
    """Whether the name there is neither bound, nor imported, nor the attribute of another."""
    return tokens[at - 1].string not in (".", "import") and tokens[at + 1].string != "="


def _imports(
    tree: ast.AST, dropped: set[str], lines: list[str]
) -> dict[tuple[int, int], tuple[int, str]]:
    """The edits that leave out the names in `dropped` of `from agent. ... import ...`.

    An edit: (line, column) -> (column of the end, text); column -1 stands for the whole line."""
    edits = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("agent."):
            continue
        names = [alias.name for alias in node.names]
        kept = [name for name in names if name not in dropped]
        if kept == names:
            continue
        instead = "pass" if node.col_offset else ""
        if kept:
            instead = f"from {node.module} import {', '.join(kept)}"
        for row in range(node.lineno, (node.end_lineno or 0) + 1):
            edits[row, -1] = len(lines[row - 1]), ""
        indent = " " * node.col_offset
        edits[node.lineno, -1] = len(lines[node.lineno - 1]), (indent + instead).rstrip()
    return edits


def _letters() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)


# ---- private names -----------------------------------------------------------------------------

_WORD = re.compile(r"[A-Za-z_]\w*")


def short_names(path: str) -> dict[str, str]:
    """Of each private name in a file of the agent or a board, the one that devices see."""
    return _tables().get(path, {})


@cache
def _tables() -> dict[str, dict[str, str]]:
    trees = {
        path.relative_to(_ROOT).as_posix(): ast.parse(path.read_bytes())
        for room in ("agent", "boards")
        for path in sorted((_ROOT / room).rglob("*.py"))
    }
    kept = set().union(*map(_kept, trees.values()))
    table = {}
    for group in _groups(trees):
        uses = Counter(itertools.chain(*(_names(trees[path]) for path in group)))
        bound = set().union(*(_bound(trees[path]) for path in group))
        ours = sorted(
            (name for name in bound - kept if _PRIVATE.fullmatch(name)),
            key=lambda name: (-uses[name], name),
        )
        free = (f"_{letters}" for letters in _letters())
        short = dict(zip(ours, (name for name in free if name not in uses), strict=False))
        table.update(dict.fromkeys(group, short))
    return table


def _kept(tree: ast.AST) -> set[str]:
    """Names that stand in texts or are keywords of calls: they stay as they are."""
    found = set()
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs = [n.body[0] for n in ast.walk(tree) if isinstance(n, documented) and n.body]
    texts = {id(doc.value) for doc in docs if isinstance(doc, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set() if id(node) in texts else set(_WORD.findall(node.value))
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "arg"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


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


def _groups(trees: dict[str, ast.Module]) -> Iterable[set[str]]:
    """Files that share private names: one imports them, or derives a class, from another."""
    groups = {path: {path} for path in trees}
    for path, tree in trees.items():
        bases = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for base in node.bases
            for name in _names(base)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for alias in node.names:
                if not (alias.name in bases or _PRIVATE.fullmatch(alias.name)):
                    continue
                for module in (node.module, f"{node.module}.{alias.name}"):
                    other = module.replace(".", "/") + ".py"
                    if other in trees and groups[other] is not groups[path]:
                        joined = groups[path] | groups[other]
                        groups.update(dict.fromkeys(joined, joined))
    return {id(group): group for group in groups.values()}.values()


# ---- parameters ----------------------------------------------------------------------------


@cache
def _keywords() -> set[str]:
    """Names of arguments that are given by name anywhere, or may be."""
    found = {"self", "cls", "settings", "timeout_ms"}
    for room in ("agent", "boards", "tests/sim", "tests/agent"):
        for path in sorted((_ROOT / room).rglob("*.py")):
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
        used = {name for node in inside for name in _names(node)} | set(dir(builtins))
        used |= {found[p] for n in inside if (p := _place(n)) in found}
        inner = {
            arg.arg
            for node in inside
            if node is not function
            and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for arg in ast.walk(node.args)
            if isinstance(arg, ast.arg)
        }
        free = (name for name in _letters() if name not in used and not keyword.iskeyword(name))
        for arg in [*function.args.posonlyargs, *function.args.args]:
            name = arg.arg
            if len(name) < 2 or name in inner or name in _keywords() or name[0] == "_":
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
