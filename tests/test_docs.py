"""What README.md and docs/ say exists: commands with their options, targets of make, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from host_tools.cli import desalink
from tests.support import ROOT
from tests.test_rooms import ROOMS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_COMMAND = re.compile(r"^ {4}desalink (.+)|`desalink ([^`]+)`", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def _of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _unknown(words: list[str]) -> list[str]:
    """The words of a command line that desalink does not have: a verb or an option."""
    command: click.Command = desalink
    context = click.Context(desalink)
    unknown = []
    for word in words:
        # `technicians add|list` names several; each is checked as far as it stands alone.
        names = word.strip("[]").split("|")
        if names[0].startswith("-") and names[0].strip("-"):
            known = {name for one in (desalink, command) for p in one.params for name in p.opts}
            unknown += [n for n in names if n.partition("=")[0] not in {*known, "-h", "--help"}]
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", names[0]):
            found = [command.get_command(context, name) for name in names]
            unknown += [name for name, one in zip(names, found, strict=True) if one is None]
            if found[0] is None:
                break
            command = found[0]
    return unknown


@pytest.mark.parametrize("page", PAGES, ids=_of)
def test_commands_and_options_of_the_pages_exist(page: Path) -> None:
    wrong = {}
    for shown in _COMMAND.finditer(page.read_text().replace("\\\n", " ")):
        line = " ".join((shown[1] or shown[2]).split())
        words = shlex.split(line.partition(" &")[0].partition(" #")[0])
        if unknown := _unknown(words[2 if words[0] in ("-C", "--lang") else 0 :]):
            wrong[line] = unknown
    assert wrong == {}


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page


def test_every_room_is_described_in_its_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The host tools")[2]
    assert re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE) == ROOMS["host_tools"]


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_of)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.finditer(page.read_text()):
        target = page.parent / link[1] if link[1] else page
        if not target.exists() or (link[2] and link[2] not in _anchors(target)):
            dead.append(link[0])
    assert dead == []
