#!/usr/bin/env python3
"""Renews the catalogues of host_tools/locale from the messages in the code.

    .venv/bin/python .ci/messages.py            writes .po and .mo, tells what is not translated
    .venv/bin/python .ci/messages.py --check    changes nothing, tells what is not as it should be

A translation stays while its message is word for word the same; a changed message is a new one.
Beside what stands in `_()`, the help of the verbs is taken: `help=` and docstrings, as
click shows them. What the code no longer says is dropped. Nothing is guessed ("fuzzy"): a wrong
instruction is worse than an English one.
"""

from __future__ import annotations

import ast
import io
import re
import string
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from host_tools import __version__  # noqa: E402
from host_tools.common.i18n import DOMAIN, LANGUAGES, LOCALE  # noqa: E402

_KEYWORDS = {"_": None, "ngettext": (1, 2)}
_PLURALS = {"id": "nplurals=1; plural=0;"}
_HEADER = "# Desalink's messages. Renewed by .ci/messages.py; translations are edited here."
# What people type: options, the verbs of desalink, commands of the system.
_TYPED = re.compile(
    r"(?<![\w-])--[a-z][a-z-]+|desalink (?:crl|devices?|doctor|enrolments|firmware|kit|labels|menu"
    r"|provision|technicians) ?[a-z]*|sudo \w+ \S+|[A-Z]+_[A-Z_]+"
)
# A catalogue must not change because it was made anew.
_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def _paths(language: str) -> tuple[Path, Path]:
    directory = LOCALE / language / "LC_MESSAGES"
    return directory / f"{DOMAIN}.po", directory / f"{DOMAIN}.mo"


def _help_texts(source: Path) -> Iterator[str]:
    """What click shows of a verb: its module's first line, its docstrings, its options' help."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    yield (ast.get_docstring(tree) or "").partition("\n")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield (ast.get_docstring(node) or "").partition("\f")[0].rstrip()
        if isinstance(node, ast.keyword) and node.arg == "help":
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def extracted() -> set[str | tuple[str, ...]]:
    """Each message of the code, a pair where it has a plural."""
    found: set[str | tuple[str, ...]] = set()
    for _file, _line, message, _comments, _context in extract_from_dir(
        str(ROOT / "host_tools"), [("**.py", "python")], keywords=_KEYWORDS
    ):
        found.add(message)
    for source in (ROOT / "host_tools" / "cli").glob("[!_]*.py"):
        found.update(text for text in _help_texts(source) if text)
    return found


def _texts(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def _fields(text: str) -> set[str]:
    return {name for _text, name, _spec, _kind in string.Formatter().parse(text) if name}


def renewed(language: str) -> Catalog:
    """The catalogue of a language as the code wants it, with the translations that there are."""
    po, _mo = _paths(language)
    old = Catalog(locale=language, domain=DOMAIN)
    if po.exists():
        with po.open("rb") as file:
            old = read_po(file, locale=language, domain=DOMAIN)
    new = Catalog(
        locale=language,
        domain=DOMAIN,
        project="desalink",
        version=__version__,
        msgid_bugs_address="the project's issues",
        header_comment=_HEADER,
        creation_date=_DATE,
        revision_date=_DATE,
        last_translator="Desalink",
        language_team="Desalink",
        fuzzy=False,
    )
    # Babel has no rule for Indonesian, which has no plural forms.
    new.mime_headers = [("Plural-Forms", _PLURALS[language])]
    for message in sorted(extracted(), key=str):
        known = old.get(message)
        flags = {"python-brace-format"} if "{" in str(message) else set()
        translation = known.string if known and not known.fuzzy else None
        new.add(message, translation, flags=flags)
    return new


def problems(catalogue: Catalog) -> list[str]:
    """What is missing or wrong in a catalogue, a sentence each."""
    found = []
    for message in catalogue:
        if not message.id:
            continue
        names = [message.id] if isinstance(message.id, str) else list(message.id)
        texts = _texts(message)
        if not texts or not all(texts):
            found.append(f"not translated: {names[0]!r}")
            continue
        wanted = set().union(*(_fields(name) for name in names))
        for text in texts:
            if _fields(text) != wanted:
                found.append(f"other placeholders in the translation of {names[0]!r}")
            if sorted(_TYPED.findall(text)) != sorted(_TYPED.findall(names[-1])):
                found.append(f"other commands in the translation of {names[0]!r}")
    return found


def shadows(file: Path) -> list[str]:
    """Places where a file that imports `_` from i18n gives the name another meaning."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "host_tools.common.i18n"
        and any(alias.name == "_" for alias in node.names)
        for node in ast.walk(tree)
    )
    if not imports:
        return []
    # A comprehension's names are its own.
    harmless = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
    }
    return [
        f"{file.relative_to(ROOT)}:{node.lineno}: `_` is a variable and the translation at once"
        for node in ast.walk(tree)
        if node not in harmless
        and (
            (isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store))
            or (isinstance(node, ast.arg) and node.arg == "_")
        )
    ]


def _written(catalogue: Catalog) -> tuple[bytes, bytes]:
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalogue, width=99, no_location=True, sort_output=True, omit_header=False)
    write_mo(mo, catalogue)
    return po.getvalue(), mo.getvalue()


def main(arguments: list[str]) -> int:
    """Write the catalogues, or with --check only compare; returns the exit code."""
    check = arguments == ["--check"]
    found = []
    for file in sorted((ROOT / "host_tools").rglob("*.py")):
        found += shadows(file)
    for language in LANGUAGES:
        if language == "en":
            continue  # the messages are English
        catalogue = renewed(language)
        for path, content in zip(_paths(language), _written(catalogue), strict=True):
            if check and (not path.exists() or path.read_bytes() != content):
                found.append(f"{path.relative_to(ROOT)} is not up to date; run .ci/messages.py")
            if not check:
                path.write_bytes(content)
        found += [f"{language}: {problem}" for problem in problems(catalogue)]
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
