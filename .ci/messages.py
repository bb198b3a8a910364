#!/usr/bin/env python3
"""Renews the catalogues of host_tools/locale from the messages in the code.

    .venv/bin/python .ci/messages.py            writes .po and .mo, tells what is not translated
    .venv/bin/python .ci/messages.py --check    changes nothing, tells what is not as it should be

A translation stays while its message is the same; a changed message is a new one. Beside what
stands in `_()`, in code and in templates, these are taken: the help of the verbs (`help=` and
docstrings, as click shows them), the nouns of `counted`, and what the checkers of tables expect
(`text()`, `Meta(description=)`). What the code no longer says is dropped. Nothing is guessed
("fuzzy"): a wrong instruction is worse than an English one.

A text for people that no catalogue sees is a problem, too: an error's or a verb's text, or a
sentence anywhere, or a word of a template, that is not in `_()`. `_ENGLISH` names the files whose
texts stay English, `_NAMES` words that are the same in every language; the comment `# English`
marks a line of code.
"""

from __future__ import annotations

import ast
import io
import re
import string
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from host_tools import __version__  # noqa: E402
from host_tools.common.i18n import DOMAIN, LANGUAGES, LOCALE  # noqa: E402

_KEYWORDS = {"_": None, "ngettext": (1, 2), "marked": None}
_PLURALS = {"id": "nplurals=1; plural=0;"}
_HEADER = "# Desalink's messages. Renewed by .ci/messages.py; translations are edited here."
# What people type: options, the verbs of desalink, commands of the system.
_VERBS = "|".join(sorted(file.stem for file in (ROOT / "host_tools/cli").glob("[!_]*.py")))
_TYPED = re.compile(
    rf"(?<![\w-])--[a-z][a-z-]+|desalink (?:{_VERBS})(?: [a-z]+)*|sudo \w+ \S+|[A-Z]+_[A-Z_]+"
)
# A catalogue must not change because it was made anew.
_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def _paths(language: str) -> tuple[Path, Path]:
    directory = LOCALE / language / "LC_MESSAGES"
    return directory / f"{DOMAIN}.po", directory / f"{DOMAIN}.mo"


def _help_texts(source: Path) -> Iterator[str]:
    """What click shows of a verb: its module's first line, its docstrings, its options' help."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    if not source.name.startswith("_"):
        yield (ast.get_docstring(tree) or "").partition("\n")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(decorator).startswith(("click.", "command.", "desalink."))
            for decorator in node.decorator_list
        ):
            yield (ast.get_docstring(node) or "").partition("\f")[0].rstrip()
        if isinstance(node, ast.keyword) and node.arg == "help":
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def _called(node: ast.Call) -> str:
    """The name of a function or method."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _constants(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            if re.search("[A-Za-z]{2}", inner.value):
                yield inner.value


def _helpers_texts(source: Path) -> Iterator[str | tuple[str, str]]:
    """What functions translate that were given it in English: counts, checkers."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _called(node)
        if name == "counted" and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
            noun = node.args[1].value
            yield f"{{count}} {noun}", f"{{count}} {noun}s"
        if name == "text" and isinstance(node.func, ast.Name) and len(node.args) == 2:
            yield from _constants(node.args[1])
        if name == "Meta":
            yield from (
                text
                for keyword in node.keywords
                if keyword.arg == "description"
                for text in _constants(keyword.value)
            )


def extracted() -> set[str | tuple[str, ...]]:
    """Each message of the code, a pair where it has a plural."""
    found: set[str | tuple[str, ...]] = set()
    for _file, _line, message, _comments, _context in extract_from_dir(
        str(ROOT / "host_tools"),
        [("**.py", "python"), ("**/templates/**.html", "jinja2")],
        options_map={"**.html": {"silent": "no"}},
        keywords=_KEYWORDS,
    ):
        found.add(message)
    for source in (ROOT / "host_tools" / "cli").glob("*.py"):
        found.update(text for text in _help_texts(source) if text)
    for source in (ROOT / "host_tools").rglob("*.py"):
        found.update(_helpers_texts(source))
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


# Texts that stay English, each with its reason.
_ENGLISH = (
    "common/errors.py",  # the family itself
    "demo/",  # it shows the province to who evaluates it; its screen is English
    "derive/",  # findings are recorded with the evidence
    "field/device_check/",  # a record for the project's own list of boards
    "field/stick/files/",  # both languages at once: no catalogue is there yet
    "pages/views/api.py",  # an interface for programs
    "wire/",  # reasons are recorded with the message
)
# They end a command, or are printed by one.
_SAID = {"abort", "note", "echo", "confirm", "prompt", "fail", "UsageError", "BadParameter"}
_TRANSLATED = {"_", "ngettext", "marked", "counted", "text", "Meta"}
# Of click: these are looked up in the catalogue when they are shown.
_LOOKED_UP = {"help", "metavar", "epilog", "message", "description"}
_WORDS = re.compile(r"[A-Za-z]{2,}[ ,;:]")
_SENTENCE = re.compile(r"""[A-Z{'"-].* .* .*[.?]""", re.DOTALL)
_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|PRAGMA|ALTER|CREATE|CASE|WHERE|FROM)\b")


def _families() -> set[str]:
    """The names of all errors that are sentences for people."""
    found = {"DesalinkError"}
    bases: dict[str, set[str]] = {}
    for source in (ROOT / "host_tools").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    while more := {name for name, its in bases.items() if its & found} - found:
        found |= more
    return found


def _text_of(node: ast.AST) -> str | None:
    """A text's words; what an f-string puts in is `{}`."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text_of(value) or "{}" for value in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def untranslated(file: Path, families: set[str]) -> list[str]:
    """Texts of a file that people see and no catalogue does."""
    if str(file.relative_to(ROOT / "host_tools")).startswith(_ENGLISH):
        return []
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    found = []

    def walk(node: ast.AST, said: bool) -> None:
        """`said`: the node is what a person is shown."""
        if isinstance(node, ast.Call):
            name = _called(node)
            if name in _TRANSLATED:
                return
            walk(node.func, False)
            shown = name in _SAID or name in families
            for argument in node.args:
                walk(argument, shown)
            for keyword in node.keywords:
                if keyword.arg not in _LOOKED_UP:
                    walk(keyword.value, shown)
            return
        text = _text_of(node)
        if text is not None:
            if _SQL.search(text) or not _WORDS.search(text):
                return
            if "# English" in lines[node.lineno - 1]:
                return
            if said or _SENTENCE.fullmatch(text):
                place = f"{file.relative_to(ROOT)}:{node.lineno}"
                found.append(f"{place}: not in `_()`: {text[:60]!r}")
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        inside = isinstance(node, (ast.IfExp, ast.BoolOp, ast.BinOp, ast.Starred))
        for child in ast.iter_child_nodes(node):
            walk(child, said and inside)

    walk(ast.parse(source), False)
    return found


# Units, abbreviations and what programs read.
_NAMES = {"Desalink", "Mbps", "MTBF", "MTTR", "QR", "SHA", "html", "ms"}
_SHOWN_ATTRIBUTES = {"alt", "aria-label", "placeholder", "title"}


class _ShownWords(HTMLParser):
    """The words of a page that people see."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in _SHOWN_ATTRIBUTES:
                self.handle_data(value or "")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.words += re.findall("[A-Za-z]{2,}", data)


def untranslated_words(template: Path) -> list[str]:
    """Words of a template that people see and no catalogue does."""
    source = template.read_text(encoding="utf-8")
    tree = Environment(extensions=["jinja2.ext.i18n"]).parse(source)
    page = _ShownWords()
    page.feed(" ".join(part.data for part in tree.find_all(nodes.TemplateData)))
    place = template.relative_to(ROOT)
    found = [f"{place}: not in `_()`: {word}" for word in page.words if word not in _NAMES]
    if "{% trans" in source:
        # Its placeholders are `%(name)s`, and the checks know those of `.format()`.
        found.append(f"{place}: use `_()` in the place of `trans`")
    return found


def _written(catalogue: Catalog) -> tuple[bytes, bytes]:
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalogue, width=99, no_location=True, sort_output=True, omit_header=False)
    write_mo(mo, catalogue)
    return po.getvalue(), mo.getvalue()


def main(arguments: list[str]) -> int:
    """Write the catalogues, or with --check only compare; returns the exit code."""
    check = arguments == ["--check"]
    found = []
    families = _families()
    for file in sorted((ROOT / "host_tools").rglob("*.py")):
        found += shadows(file) + untranslated(file, families)
    for template in sorted((ROOT / "host_tools").rglob("templates/*.html")):
        found += untranslated_words(template)
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
