"""Short names: MicroPython keeps the text of every name that it meets for ever.

1. A name changes if the agent defines it, unless it has to stay (kept.py).
2. A public name changes in all files at once, a private one (`_name`) only in the files of its
   family: those that can mean the same by it.
3. It becomes the first candidate that no other name of its kind has in these files. A module's
   name and an object's are never confused (uses.py), so both may become the same: a device has
   one text less.
"""

from __future__ import annotations

import ast
import itertools
import keyword
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from host_tools.devices.code import files
from host_tools.devices.code.files import BUNDLE_OF, module_path
from host_tools.devices.code.fixed import fixed
from host_tools.devices.code.kept import (
    OF_INTERPRETERS_OBJECTS,
    constants,
    known_outside,
    names_that_stay,
)
from host_tools.devices.code.uses import NameKind, Use, Uses, names_of

# Names that a .mpy file refers to by a number of one or two bytes, and that every MicroPython has
# in its firmware (static qstrs, part of the format of .mpy 6).
_IN_FIRMWARE = (
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


@cache
def prepared(root: Path) -> dict[str, ast.Module]:
    """Of each file, what devices need of it, with the names that it has here."""
    return {path: fixed(path, tree) for path, tree in files.sources(root).items()}


def short_names(path: str) -> dict[str, str]:
    """Of each name in a file of the agent or a board that changes, the one on devices."""
    return tables().get(path, {})


def tables() -> dict[str, dict[str, str]]:
    """Of each file, its `short_names`."""
    return _tables(files.ROOT)


def renamed(path: str, tree: ast.Module) -> ast.Module:
    """A file of `prepared`, changed: it has short names."""
    short = short_names(path)
    for use in Uses(tree).shared:
        if use.name in short:
            use.rename(short[use.name])
    return tree


@cache
def _tables(root: Path) -> dict[str, dict[str, str]]:
    trees = prepared(root)
    uses = {path: Uses(tree) for path, tree in trees.items()}
    stay = names_that_stay(trees, uses)
    families = [_Family(paths, uses) for paths in _families(trees)]
    shortener = _Shortener(_Candidates(trees, uses))
    counts = Counter(use.name for of_file in uses.values() for use in of_file.shared)
    for name in sorted(counts.keys() - stay, key=lambda name: (-counts[name], name)):
        inside = [family for family in families if name in family.kinds]
        defining = [family for family in inside if name in family.defined]
        if name[0] == "_":
            for family in defining:
                shortener.shorten(name, [family])
        elif defining:
            shortener.shorten(name, inside)
    short = {path: dict(family.short) for family in families for path in family.paths}
    _separate_constants(short, trees)
    return short


def _separate_constants(short: dict[str, dict[str, str]], trees: Mapping[str, ast.Module]) -> None:
    """A private constant costs a device nothing, but files of a bundle may each have theirs by
    the same name."""
    for number, path in enumerate(BUNDLE_OF):
        if path in trees:
            private = [name for name in constants(trees[path]) if name[0] == "_"]
            short[path].update({name: f"_C{number}{name}" for name in private})


# ---- what changes together -------------------------------------------------------------------


class _Family:
    """Files that can mean the same by a private name.

    Attributes:
        kinds: of each name that they mention, as what.
        defined: names that they define.
        in_bundle: some of them become one module with files of other families.
        short: what was found for their names.
        taken: the values of `short`, by kind.
    """

    def __init__(self, paths: set[str], uses: Mapping[str, Uses]) -> None:
        self.paths = paths
        mentioned = [use for path in sorted(paths) for use in uses[path].shared]
        self.kinds = _kinds(mentioned)
        self.defined = {use.name for use in mentioned if use.defines}
        self.in_bundle = not paths.isdisjoint(BUNDLE_OF)
        self.short: dict[str, str] = {}
        self.taken: dict[NameKind, set[str]] = {kind: set() for kind in NameKind}


def _kinds(mentioned: Iterable[Use]) -> dict[str, NameKind]:
    kinds: dict[str, NameKind] = {}
    for use in mentioned:
        kinds[use.name] = kinds.get(use.name, NameKind(0)) | use.kind
    return kinds


def _families(trees: Mapping[str, ast.Module]) -> list[set[str]]:
    """A file belongs to the family of each file with which it shares private names."""
    family_of = {path: {path} for path in trees}
    for path, tree in trees.items():
        for other in _sharing(tree, trees):
            joined = family_of[path] | family_of[other]
            family_of.update(dict.fromkeys(joined, joined))
    return [family for path, family in family_of.items() if path == min(family)]


def _sharing(tree: ast.Module, trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Files whose private names a file may mention: it imports one, derives a class from theirs,
    or answers for them (`__getattr__`)."""
    nodes = list(ast.walk(tree))
    bases = {
        name
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        for inside in ast.walk(base)
        for name in names_of(inside)
    }
    hooks = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
    in_hooks = [node for hook in hooks for node in ast.walk(hook)]
    for node in nodes:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        for alias in node.names:
            if alias.name in bases or alias.name[0] == "_" or node in in_hooks:
                modules = (node.module, f"{node.module}.{alias.name}")
                yield from (path for path in map(module_path, modules) if path in trees)


# ---- what it becomes -------------------------------------------------------------------------


@dataclass
class _Shortener:
    """Gives out candidates. in_bundles: those that are names of modules in a bundle, whose files
    become one."""

    candidates: _Candidates
    in_bundles: set[str] = field(default_factory=set)

    def shorten(self, name: str, families: Collection[_Family]) -> None:
        """Find a name's short one, the same in all these families, if one is cheaper."""
        kind = NameKind(0)
        for family in families:
            kind |= family.kinds[name]
        in_bundle = NameKind.MODULE in kind and any(family.in_bundle for family in families)
        taken = set(self.in_bundles) if in_bundle else set()
        for family in families:
            taken.update(*(family.taken[part] for part in kind))
        short = next(short for short in self.candidates.of(kind) if short not in taken)
        if not self.candidates.is_free(short) and len(short) >= len(name):
            return
        for family in families:
            family.short[name] = short
            for part in kind:
                family.taken[part].add(short)
        if in_bundle:
            self.in_bundles.add(short)


class _Candidates:
    """Short names, the cheapest first."""

    def __init__(self, trees: Mapping[str, ast.Module], uses: Mapping[str, Uses]) -> None:
        shared = [use for of_file in uses.values() for use in of_file.shared]
        self._counts = {
            kind: Counter(use.name for use in shared if kind in use.kind) for kind in NameKind
        }
        module_names = (of_file.functions | of_file.interpreters for of_file in uses.values())
        object_names = (of_file.read_in_classes for of_file in uses.values())
        self._refused: dict[NameKind, set[str]] = {
            NameKind.MODULE: set().union(*module_names),
            NameKind.OBJECT: known_outside(trees).union(OF_INTERPRETERS_OBJECTS, *object_names),
        }
        self._parameters = sorted(
            {
                node.arg
                for path in BUNDLE_OF
                if path in trees
                for node in ast.walk(trees[path])
                if isinstance(node, ast.arg)
            }
        )

    def is_free(self, name: str) -> bool:
        """Whether each device has this text anyway."""
        return name in _IN_FIRMWARE or name in self._parameters

    def of(self, kind: NameKind) -> Iterator[str]:
        """Those that may be a name of this kind."""
        # What is a name of the other kind already costs a file's table nothing more.
        other = self._counts[NameKind.OBJECT if NameKind.MODULE in kind else NameKind.MODULE]
        in_firmware = sorted(_IN_FIRMWARE, key=lambda name: -other[name])
        for name in itertools.chain(in_firmware, self._parameters, _letters()):
            if keyword.iskeyword(name):
                continue
            if not any(name in self._counts[part] or name in self._refused[part] for part in kind):
                yield name


def _letters() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)
