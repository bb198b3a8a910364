"""The language of texts: who chooses it, how numbers look, and that nothing stays untranslated."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog

from host_tools.common import i18n
from host_tools.common.i18n import LanguageError, _, language, ngettext, number, set_language
from tests.host_tools.conftest import Run
from tests.support import ROOT

VARIABLES = ("DESALINK_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
MESSAGE = "There is no label to print: no device of these villages is enrolled."


@pytest.fixture(autouse=True)
def _nobody_chose(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    set_language(None)
    yield
    set_language(None)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "id_ID.UTF-8"}, "id"),
        ({"LANG": "id"}, "id"),
        ({"LANG": "in_ID"}, "id"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "idu_NG"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "id_ID.UTF-8"}, "id"),
        ({"LC_MESSAGES": "id_ID.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANGUAGE": "id:en"}, "id"),
        ({"LC_ALL": "C", "LANGUAGE": "jv:id"}, "id"),
        ({"LANG": "id_ID.UTF-8", "LANGUAGE": "de"}, "en"),
        ({"LANG": "id_ID.UTF-8", "LC_ALL": ""}, "id"),
        ({"LANGUAGE": "id", "DESALINK_LANG": "en"}, "en"),
        ({"LANGUAGE": "en", "DESALINK_LANG": "ID"}, "id"),
    ],
)
def test_the_environment_chooses(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert language() == expected
    assert (_(MESSAGE) == MESSAGE) == (expected == "en")


def test_a_choice_of_the_program_is_stronger_and_can_be_taken_back(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DESALINK_LANG", "en")
    set_language("id_ID")
    assert (language(), _(MESSAGE) == MESSAGE) == ("id", False)
    set_language(None)
    assert (language(), _(MESSAGE)) == ("en", MESSAGE)


def test_an_unknown_language_is_refused_and_changes_nothing():
    set_language("id")
    with pytest.raises(LanguageError, match="Tidak ada bahasa 'fr'; .* en, id"):
        set_language("fr")
    assert language() == "id"


def test_a_message_that_no_catalogue_has_stays_as_it_is():
    set_language("id")
    assert _("Not a message of anybody.") == "Not a message of anybody."
    assert ngettext("{count} zebra", "{count} zebras", 2) == "{count} zebras"


def test_numbers_as_people_write_them():
    assert (number(1234567), number(1234.56, 1)) == ("1,234,567", "1,234.6")
    set_language("id")
    assert (number(1234567), number(1234.56, 1), number(-0.25, 2)) == (
        "1.234.567",
        "1.234,6",
        "-0,25",
    )


def test_lang_may_stand_anywhere_and_counts_for_help_too(desalink: Run):
    english = desalink("labels", "--help").out
    for arguments in (["--lang", "id", "labels", "--help"], ["labels", "--help", "--lang=id"]):
        done = subprocess.run(
            [sys.executable, "-c", "from host_tools.cli import main; main()", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        for text in (
            "Mencetak stiker perangkat",
            "Semua perangkat di provinsi",
            "  check  Mencoc",
        ):
            assert text in done.stdout
    assert "stiker" not in english
    ended = desalink("labels", "--lang", "fr", "--help")
    assert (ended.code, "no language 'fr'" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        (
            "--help",
            ["Pemakaian: desalink [PILIHAN] PERINTAH", "Menampilkan bantuan ini", "status "],
        ),
        ("provision --vilage", ["Kesalahan: Tidak ada pilihan '--vilage'"]),
        ("provision --village 1 --slot-number 1000", ["1000 di luar rentang 1<=x<=999"]),
        ("kit open", ["Argumen belum diisi 'BERKAS'"]),
        ("kits", ["maksud Anda 'kit'?"]),
    ],
)
def test_the_command_line_itself_speaks_indonesian(typed: str, texts: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from host_tools.cli import main; main()", *typed.split()],
        env={**os.environ, "LANG": "id_ID.UTF-8"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    for text in texts:
        assert text in done.stdout + done.stderr
    for english in ("Usage", "Error", "Options", "Commands", "Show "):
        assert english not in done.stdout + done.stderr


def test_nothing_is_loaded_before_a_text_is_asked_for():
    code = (
        "import sys; from host_tools.common.i18n import _; assert 'gettext' not in sys.modules;"
        "_('x'); assert 'gettext' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_message_is_translated_and_the_catalogue_is_up_to_date():
    """Extracts the messages anew; the .po and the .mo must be byte for byte what that gives."""
    done = subprocess.run(
        [sys.executable, ".ci/messages.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def _messages() -> Any:
    """The program that renews the catalogues, as a module."""
    spec = importlib.util.spec_from_file_location("messages", ROOT / ".ci" / "messages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("message", "translation", "problem"),
    [
        ("Take {board} out.", "Cabut {board}.", None),
        ("Take {board} out.", "", "not translated"),
        ("Take {board} out.", "Cabut {papan}.", "other placeholders"),
        ("Take {board} out.", "Cabut.", "other placeholders"),
        ("Say it with --board.", "Sebutkan dengan --papan.", "other commands"),
        ("Run 'desalink kit open'.", "Jalankan 'desalink kit buka'.", "other commands"),
        ("Then: sudo modprobe x", "Lalu: sudo modprob x", "other commands"),
        (("{n} board", "{n} boards"), ("{n} papan",), None),
        (("{n} board", "{n} boards"), ("satu papan",), "other placeholders"),
    ],
)
def test_a_wrong_translation_is_noticed(message: Any, translation: Any, problem: str | None):
    catalogue = Catalog(locale="id")
    catalogue.add(message, translation)
    found = _messages().problems(catalogue)
    assert [text.partition(":")[0].partition(" in the")[0] for text in found] == (
        [problem] if problem else []
    )


def test_a_variable_in_the_place_of_the_translation_is_noticed(tmp_path: Path):
    messages = _messages()
    source = tmp_path / "module.py"
    messages.ROOT = tmp_path
    harmless = "from host_tools.common.i18n import _\nx = [1 for _ in 'ab']\nprint(_('x'))\n"
    source.write_text(harmless)
    assert messages.shadows(source) == []
    source.write_text(harmless + "a, _ = 1, 2\n")
    assert len(messages.shadows(source)) == 1


@pytest.mark.parametrize(
    ("source", "noticed"),
    [
        ('raise KitError(_("It is lost."))', False),
        ('raise KitError("it is lost")', True),
        ('raise KitError(f"{what} is lost" if what else "")', True),
        ('click.echo("Done: " + name)', True),
        ('app.note("It is lost")', True),
        ('notes.append("The file is lost; look for it.")', True),
        ('notes.append("The file is lost; look for it.")  # English', False),
        ('raise ValueError("it is lost")', False),
        ('rows("SELECT a FROM b WHERE c = ?")', False),
    ],
)
def test_a_text_that_no_catalogue_sees_is_noticed(tmp_path: Path, source: str, noticed: bool):
    messages = _messages()
    file = tmp_path / "host_tools" / "module.py"
    file.parent.mkdir()
    file.write_text(f'"""A docstring is not shown to people."""\n{source}\n')
    messages.ROOT = tmp_path
    assert bool(messages.untranslated(file, {"KitError"})) == noticed


@pytest.mark.parametrize(
    ("source", "noticed"),
    [
        ('<p class="faint">{{ _("It is lost.") }}</p>', False),
        ('<input placeholder="{{ _("code") }}" name="code"> {{ size }} Mbps', False),
        ("<style>p { color: red }</style>", False),
        ("<p>It is lost.</p>", True),
        ('<input placeholder="code">', True),
        ("<p>{{ count }} rows</p>", True),
        ("{% trans %}It is lost.{% endtrans %}", True),
    ],
)
def test_a_word_of_a_template_that_no_catalogue_sees_is_noticed(
    tmp_path: Path, source: str, noticed: bool
):
    messages = _messages()
    messages.ROOT = tmp_path
    template = tmp_path / "page.html"
    template.write_text(source)
    assert bool(messages.untranslated_words(template)) == noticed


# Of sentences, and of no name of an option, a file or a village.
_ENGLISH = re.compile(r"\b(the|is|are|was|were|of|with|and|there|no|this|has|have|not)\b", re.I)
# On a province without devices. `status --check` has the words that monitoring systems know.
OPERATORS = (
    *("status", "status --check", "outages", "usage", "quarantine list", "devices list"),
    *("villages --regency berau", "villages --regency x", "technicians list", "kit list"),
    *("enrolments list", "crl check", "renew services", "rules list", "rules show 9"),
    *("contracts list", "events list", "month show 2026-01", "month show x", "archive"),
    *("archive --month x", "archive --check --month 2026-01", "devices show 6403112001-1"),
    *("devices revoke x", "kit revoke x", "technicians revoke x", "status --provider x"),
    *("status --village x", "status --village 6403112001 --regency 6403", "outages --since x"),
    *("status --watch --json", "ingest --broker x", "restore x .", "backup nowhere/x"),
    *("report 2026-01 -o x", "service install --unit-dir nowhere", "firmware add x"),
    *("contracts end x --on 2026-01-01 --why y", "events withdraw x --why y", "init ."),
)


@pytest.mark.parametrize("verb", OPERATORS)
def test_operators_verbs_say_nothing_in_english(
    desalink: Run, founded: Path, verb: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DESALINK_LANG", "id")
    ended = desalink("-C", founded, *verb.split())
    said = re.sub(r"'[^']*'", "", ended.out + ended.err)
    assert said and not _ENGLISH.search(said), said


def test_catalogues_exist_for_every_language_but_the_messages_own():
    for name in i18n.LANGUAGES:
        path = i18n.LOCALE / name / "LC_MESSAGES" / "desalink.mo"
        assert path.exists() == (name != "en")
