"""The order of rooms: imports point downward, SQL stands in the store and the registry, one class
name means one thing, and nothing reaches into another module's objects.

Each rule is a function over a folder of sources, so that a test can show that it fails.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import ROOT

# From the bottom to the top: a room imports itself and what stands before it.
ROOMS = {
    "host_tools": "common listings wire states keys province devices people field broker archive"
    " office store derive exports contracts evidence report alerts situation ingest pages"
    " simulate demo cli".split(),
    "agent": "interpreter wire device net journal link measure sources province top".split(),
}
# What of a room stands below all others.
PLACED = dict.fromkeys(
    ("agent.device.interpreter", "agent.device.cpython", "agent.device.heap"), "interpreter"
)
# What a technician's laptop needs reaches nothing of the province's side, by no detour.
LAPTOP = "field"
PROVINCE_ONLY = (
    *("province.registry", "broker", "archive", "office", "store", "derive", "ingest", "pages"),
)

SQL_PLACES = re.compile(
    r"host_tools/(store/|(alerts|pages)/records/"
    r"|province/(registry\w*|records|contract_records)\.py)"
)
_SQL = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|CREATE\s+(TABLE|INDEX|UNIQUE)\s|PRAGMA\s)",
    re.DOTALL | re.IGNORECASE,
)
# A statement that is put together elsewhere, and handed to an open database.
_DATABASES = {"db", "_db", "database", "_database"}
_QUERIES = {"all", "execute", "executemany", "executescript", "insert", "iterate", "one", "value"}

# One meaning, on the two sides of the wire: the device's own, and what the province knows of it.
ONE_MEANING = {"Birth", "Board", "Certificate", "KeyFileError", "Session", "Stream"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sources(root: Path, *trees: str) -> Iterator[tuple[str, ast.Module]]:
    """Path from the root and syntax of each file."""
    for tree in trees:
        for path in sorted((root / tree).rglob("*.py")):
            yield path.relative_to(root).as_posix(), parsed(path)


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, also within functions and for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import module`: both may be meant.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> tuple[str, str] | None:
    """Tree and room of a module, None if it is none of ours."""
    tree, _, rest = module.partition(".")
    if tree not in ROOMS:
        return None
    for name, placed in PLACED.items():
        if f"{module}.".startswith(f"{name}."):
            return tree, placed
    room = rest.partition(".")[0]
    if room in ROOMS[tree]:
        return tree, room
    return (tree, "top") if "top" in ROOMS[tree] else None


def upward(root: Path) -> set[str]:
    """Imports that point from a room to one above it."""
    found = set()
    for path, tree in sources(root, *ROOMS):
        here = room_of(path.removesuffix(".py").replace("/", "."))
        for module in imported(tree):
            there = room_of(module)
            if here is None or there is None or here[0] != there[0]:
                continue
            order = ROOMS[here[0]]
            if order.index(there[1]) > order.index(here[1]):
                found.add(f"{path} -> {here[0]}.{there[1]}")
    return found


def reachable(root: Path) -> set[str]:
    """Modules of the province's side that the laptop's room reaches."""
    modules = {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): tree
        for path, tree in sources(root, "host_tools")
    }

    def named(module: str) -> str | None:
        if module in modules:
            return module
        parent = module.rpartition(".")[0]
        return parent if parent in modules else None

    seen: set[str] = set()
    waiting = [name for name in modules if name.startswith(f"host_tools.{LAPTOP}")]
    found = set()
    while waiting:
        module = waiting.pop()
        for target in map(named, imported(modules[module])):
            if target is None or target in seen:
                continue
            seen.add(target)
            if target.removeprefix("host_tools.").startswith(PROVINCE_ONLY):
                found.add(f"{module} -> {target}")
            else:
                waiting.append(target)
    return found


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string, with `x` for what a formatted one puts in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )


def queries(tree: ast.Module) -> Iterator[ast.Call]:
    """Every call that hands a statement to a database, and every opening past the store."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = getattr(owner, "attr", getattr(owner, "id", ""))
            if (name in _DATABASES and node.func.attr in _QUERIES) or (
                name == "sqlite3" and node.func.attr == "connect"
            ):
                yield node


def stray_sql(root: Path) -> set[str]:
    """Files with SQL outside its places."""
    return {
        path
        for path, tree in sources(root, "host_tools")
        if not SQL_PLACES.match(path)
        and (any(_SQL.match(text) for text in texts(tree)) or any(queries(tree)))
    }


DIALECT = "host_tools/store/dialect.py"
_DIALECT = re.compile(
    r"\b(PRAGMA|WITHOUT ROWID|AUTOINCREMENT|INSERT OR|REPLACE INTO|sqlite_\w+|BLOB|ATTACH|VACUUM"
    r"|BEGIN (IMMEDIATE|EXCLUSIVE)|IFNULL|strftime|GLOB|INDEXED BY|rowid"
    r"|ON CONFLICT|excluded|CROSS JOIN)\b|\bLIMIT -1|\btotal\("
    # The greater or lesser of several values, which is no aggregate.
    r"|\b(max|min)\((?:[^(),]|\((?:[^()]|\([^()]*\))*\))*,"
)


def stray_dialect(root: Path) -> set[str]:
    """Files of the store with words of one database outside the dialect's file."""
    found = set()
    for path, tree in sources(root, "host_tools/store"):
        words = any(_DIALECT.search(text) for text in texts(tree))
        if path != DIALECT and (words or "sqlite3" in imported(tree)):
            found.add(path)
    return found


def twice(root: Path) -> set[str]:
    """Class names that stand for two classes."""
    places = defaultdict(set)
    for path, tree in sources(root, *ROOMS):
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path)
    return {name for name, paths in places.items() if len(paths) > 1} - ONE_MEANING


# Public in spite of their names: of named tuples, of `os`, and of MicroPython's asyncio.
_PUBLIC = {"_io_queue", "_replace", "_asdict", "_fields", "_make", "_exit"}


def reached_into(root: Path) -> set[str]:
    """Modules that touch a private attribute which they don't define."""
    found = set()
    for path, tree in sources(root, *ROOMS):
        touched, own = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name):
                own.add(node.id)
            elif isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                (own if owner in ("self", "cls") else touched).add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                own.add(node.value)  # in __slots__
        if any(re.fullmatch(r"_[a-z]\w*", name) for name in touched - own - _PUBLIC):
            found.add(path)
    return found


RULES = [
    pytest.param(upward, id="imports point downward"),
    pytest.param(reachable, id="a laptop needs nothing of the province's side"),
    pytest.param(stray_sql, id="SQL stands in the store and the registry"),
    pytest.param(stray_dialect, id="one file of the store knows which database it is"),
    pytest.param(twice, id="one class name has one meaning"),
    pytest.param(reached_into, id="private attributes stay private"),
]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_holds(rule: Callable[[Path], set[str]]):
    assert rule(ROOT) == set()


LAZY = "def f():\n    from host_tools.store import lock\n"
DETOUR = {
    "host_tools/field/a.py": "from host_tools.people import b\n",
    "host_tools/people/b.py": "import host_tools.store\n",
    "host_tools/store/__init__.py": "",
}
TWO_VALUES = "q = f'SELECT sum(max(coalesce({a}, 0), b)) FROM c'\n"
TWO = {"host_tools/wire/a.py": "class A: ...\n", "agent/net/a.py": "class A: ...\n"}


@pytest.mark.parametrize(
    ("rule", "broken", "files"),
    [
        (upward, "host_tools/wire/a.py -> host_tools.store", {"host_tools/wire/a.py": LAZY}),
        (upward, "agent/net/a.py -> agent.top", {"agent/net/a.py": "import agent.start\n"}),
        (reachable, "host_tools.people.b -> host_tools.store", DETOUR),
        (stray_sql, "host_tools/cli/a.py", {"host_tools/cli/a.py": "q = 'SELECT a FROM b'\n"}),
        (stray_sql, "host_tools/a.py", {"host_tools/a.py": "q = f'SELECT {a} FROM b'\n"}),
        (stray_sql, "host_tools/a.py", {"host_tools/a.py": "q = 'select a from b'\n"}),
        (stray_sql, "host_tools/a.py", {"host_tools/a.py": "def f(db, q):\n    db.one(q)\n"}),
        (stray_sql, "host_tools/a.py", {"host_tools/a.py": "sqlite3.connect('b')\n"}),
        (stray_dialect, "host_tools/store/a.py", {"host_tools/store/a.py": "import sqlite3\n"}),
        (stray_dialect, "host_tools/store/a.py", {"host_tools/store/a.py": "q = 'PRAGMA a'\n"}),
        (stray_dialect, "host_tools/store/a.py", {"host_tools/store/a.py": TWO_VALUES}),
        (twice, "A", TWO),
        (reached_into, "agent/a.py", {"agent/a.py": "def f(b):\n    return b._x\n"}),
    ],
)
def test_each_rule_finds_what_breaks_it(
    tmp_path: Path, rule: Callable[[Path], set[str]], broken: str, files: dict[str, str]
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert rule(tmp_path) == {broken}
