"""From the office's stick to the first device, on a laptop that has nothing but Python."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest

from host_tools.common.i18n import _, set_language
from host_tools.field.menu.items import ITEMS
from host_tools.field.stick.guide import write_guides
from host_tools.field.stick.interpreter import Interpreters
from host_tools.field.stick.platforms import PLATFORMS, StickError
from tests.bench.namespaces import enter
from tests.host_tools.field.menu.session import RealSession, whole_trip
from tests.host_tools.field.provision.rig import Hub
from tests.host_tools.field.provision.world import PASSPHRASE, World

_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Its pip and its packages are out of reach: the stick brings its own.
_BARE = Path(getattr(sys, "_base_executable", sys.executable)).parent


class Laptop:
    """A laptop without network, into which a stick is plugged."""

    def __init__(self, home: Path, stick: Path, path: str = f"{_BARE}:/usr/bin:/bin") -> None:
        home.mkdir()
        self.home = home
        self.stick = stick

        self._environment = {
            "HOME": str(home),
            "PATH": path,
            "SHELL": "/bin/sh",
            "DESALINK_LANG": "en",
        }

    def _command(self, arguments: tuple[object, ...]) -> list[str]:
        """What the technician starts from the stick."""
        return [*enter(), "sh", str(self.stick / "mulai.sh"), *map(str, arguments)]

    def start(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one verb."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def menu(self, *arguments: object) -> RealSession:
        """What a double click opens."""
        return RealSession(self._command(arguments), self._environment, self.home)

    @property
    def program(self) -> Path:
        """The private environment."""
        (found,) = (self.home / ".local/share/desalink/program").iterdir()
        return found


@pytest.fixture(scope="module")
def stick(_province: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stick with the kit, as the office makes it."""
    folder = tmp_path_factory.mktemp("office") / "stick"
    done = _province.desalink(
        *("-C", _province.province.directory, "stick", "create", folder),
        *("--platform", "linux-x64", "--python", _PYTHON, "--kit", _province.kit_file),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    yield folder


@pytest.mark.slow
def test_damaged_package_is_refused(stick: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(stick, tmp_path / "damaged")
    package = next((damaged / "program/wheels").glob("segno-*.whl"))
    package.write_bytes(package.read_bytes()[:-1] + b"?")
    refused = Laptop(tmp_path / "home", damaged).start("doctor")
    assert refused.returncode == 1 and "ask the office for a new stick" in refused.stderr


@pytest.mark.slow
def test_stick_alone_leads_to_an_enrolled_device(
    world: World, a_hub: Hub, stick: Path, tmp_path: Path
) -> None:
    if not enter():
        pytest.skip("needs a network namespace of its own, which this machine refuses")
    laptop = Laptop(tmp_path / "home", stick)
    with contextlib.closing(laptop.menu()) as first:
        first.expect("Open the kit", 120)
        assert "No kit is open" in first.text
        first.press("\x1b[6~\x1b[A\r")  # page down, up, enter
        first.expect("exit")
        first.press("desalink --version\rexit\r")
        first.expect("desalink 0.")
        first.expect("Esc end")
        first.press("\x1b")
        assert first.end() == 0
    world.laptop = laptop.home / ".local/share/desalink/kit"
    # The emulated boards are no part of desalink.
    boards = next(laptop.program.glob("lib/python*/site-packages/boards"))
    for folder in (world.tree / "boards").glob("rig*"):
        shutil.copytree(folder, boards / folder.name)
    with contextlib.closing(laptop.menu("menu", "--port", a_hub.pattern)) as second:
        whole_trip(second, world, a_hub.board())
    (export,) = stick.glob("*.desalog")
    done = world.desalink(
        *("-C", world.province.directory, "enrolments", "import", export),
        DESALINK_PASSPHRASE=PASSPHRASE,
    )
    assert "1 device enrolled" in done.stdout, done.stderr


@pytest.mark.parametrize(("language", "name"), [("en", "Guide.pdf"), ("id", "Panduan.pdf")])
def test_guide_fits_on_two_screens_and_names_what_the_menu_has(
    tmp_path: Path, language: str, name: str
) -> None:
    write_guides(tmp_path)
    guide = pypdfium2.PdfDocument(tmp_path / name)
    text = " ".join(" ".join(page.get_textpage().get_text_bounded().split()) for page in guide)
    assert len(guide) == 1 and len(text) < 2 * 24 * 80
    set_language(language)
    try:
        for item in ITEMS[:4]:
            assert item.title() in text
        for title in (_("Start"), _("The device's network is here"), ITEMS[-1].title()):
            assert title in text
    finally:
        set_language(None)


def test_laptop_without_python_uses_that_of_the_stick(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    files = Path(__file__).parents[4] / "host_tools/field/stick/files"
    (stick / "program/python").mkdir(parents=True)
    shutil.copy(files / "mulai.sh", stick)
    (stick / "program/pythons.txt").write_text("3.12\n")
    nothing = tmp_path / "bin"
    nothing.mkdir()
    for name in (
        "sh",
        "dirname",
        "uname",
        "basename",
        "mkdir",
        "rm",
        "tar",
        "gzip",
        "cat",
        "sha256sum",
    ):
        (nothing / name).symlink_to(str(shutil.which(name)))

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", stick / "mulai.sh", "doctor"],
            env={"HOME": str(tmp_path), "PATH": str(nothing)},
            capture_output=True,
            text=True,
        )

    refused = start()
    assert refused.returncode == 1
    assert "no Python 3.12; ask for a stick with Python" in refused.stderr
    archive = make_python(tmp_path, "x86_64-unknown-linux-gnu", b'#!/bin/sh\necho "$@"\n')
    copy = stick / "program/python/linux-x64-0123.tar.gz"
    shutil.copy(archive, copy)
    Path(f"{copy}.sha256").write_text("0" * 64 + "\n")
    refused = start()
    assert refused.returncode == 1 and "Python is damaged" in refused.stderr
    assert not (tmp_path / ".local").exists()
    Path(f"{copy}.sha256").write_text(hashlib.sha256(archive.read_bytes()).hexdigest() + "\n")
    for _again in range(2):
        assert start().stdout == f"{stick}/program/start.py linux-x64 doctor\n"


def make_python(
    folder: Path, triple: str, program: bytes, name: str = "python/bin/python3"
) -> Path:
    """An archive of Python as it is published."""
    source = folder / "python3"
    source.write_bytes(program)
    source.chmod(0o755)
    archive = folder / f"cpython-3.12.8+20241219-{triple}-install_only.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(source, name)
    return archive


def test_office_vouches_for_each_python(tmp_path: Path) -> None:
    kept = Interpreters(tmp_path / "province")
    archive = make_python(tmp_path, "x86_64-pc-windows-msvc", b"MZ", "python/python.exe")
    with pytest.raises(StickError, match="No hash of"):
        kept.add(archive)
    kept.add(archive, pin=True)
    kept.add(archive)
    found = kept.archive(PLATFORMS["windows-x64"])
    assert found is not None and found.read_bytes() == archive.read_bytes()
    assert kept.archive(PLATFORMS["linux-x64"]) is None
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(StickError, match="not the file that it should be"):
        kept.add(archive, pin=True)
    found.write_bytes(b"")
    with pytest.raises(StickError, match="was changed"):
        kept.archive(PLATFORMS["windows-x64"])
    with pytest.raises(StickError, match="keep its name"):
        kept.add(tmp_path / "python.zip", pin=True)


@pytest.mark.parametrize("member", ["/etc/passwd", "python/../../x", "other/python.exe"])
def test_archive_that_writes_elsewhere_is_refused(tmp_path: Path, member: str) -> None:
    archive = make_python(tmp_path, "x86_64-pc-windows-msvc", b"MZ", member)
    with pytest.raises(StickError, match="fetch it again"):
        Interpreters(tmp_path / "province").add(archive, pin=True)


def test_stick_is_not_made_among_other_things(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    (folder / "holiday.jpg").touch()
    done = world.desalink("stick", "create", folder)
    assert done.returncode == 1 and "holiday.jpg" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]
    done = world.desalink("stick", "create", tmp_path / "new", "--platform", "amiga")
    assert done.returncode == 1 and "windows-x64" in done.stderr
