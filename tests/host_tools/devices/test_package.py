"""The .ipk that OpenWrt's package manager installs: its format, its fields, its scripts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from agent import VERSION
from host_tools.devices.packages.openwrt import DEPENDS, build_openwrt
from tests.host_tools.conftest import Run
from tests.world.router import SHELLS, shell_name

# As a router's tar sees it, not Python's tarfile that wrote it.
TAR = ["tar", "--numeric-owner"]


def unpacked(package: Path, folder: Path) -> Path:
    """The package taken apart with tar alone: folder/{control,data} and the outer files."""
    folder.mkdir()
    subprocess.run([*TAR, "-xzf", package, "-C", folder], check=True)
    for name in ("control", "data"):
        (folder / name).mkdir()
        subprocess.run([*TAR, "-xzpf", folder / f"{name}.tar.gz", "-C", folder / name], check=True)
    return folder


@pytest.fixture(params=["micropython", "python3"])
def interpreter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def package(tmp_path: Path, desalink: Run, interpreter: str) -> Path:
    """As `desalink package openwrt` makes it."""
    done = desalink("package", "openwrt", "-o", tmp_path / "out", "--interpreter", interpreter)
    assert done.code == 0, done.err
    (made,) = (tmp_path / "out").iterdir()
    assert str(made) in done.out
    return made


def test_a_router_can_read_the_package(package: Path, tmp_path: Path, interpreter: str) -> None:
    assert package.name == f"desalink_{VERSION}-1_all-{interpreter}.ipk"
    inside = unpacked(package, tmp_path / "unpacked")
    names = subprocess.run(
        [*TAR, "-tzf", package], check=True, capture_output=True, text=True
    ).stdout.split()
    assert names == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
    assert (inside / "debian-binary").read_text() == "2.0\n"
    text = (inside / "control/control").read_text()
    assert text.endswith("\n") and "\n\n" not in text
    fields = dict(re.findall(r"(?m)^([A-Za-z-]+): (.+)$", text))
    assert len(fields) == len(text.splitlines())
    assert fields["Package"] == "desalink" and fields["Architecture"] == "all"
    assert fields["Version"] == f"{VERSION}-1"
    assert fields["Depends"].split(", ") == ["libc", *DEPENDS[interpreter]]
    data = subprocess.run(
        ["gzip", "-dc", inside / "data.tar.gz"], check=True, capture_output=True
    ).stdout
    assert fields["Installed-Size"] == str(len(data))
    assert (inside / "control/conffiles").read_text().split() == ["/etc/config/desalink"]
    for name in ("postinst", "prerm"):
        assert (inside / "control" / name).stat().st_mode & 0o777 == 0o755


def test_what_lies_where_and_who_may_read_it(package: Path, tmp_path: Path) -> None:
    data = unpacked(package, tmp_path / "unpacked") / "data"
    modes = {
        "etc/init.d/desalink": 0o755,
        "etc/hotplug.d/ntp/60-desalink": 0o644,
        "etc/config/desalink": 0o600,  # it may hold passwords of equipment
        "etc/desalink": 0o700,
        "usr/lib/desalink/agent/__main__.py": 0o644,
        "usr/lib/desalink/boards/openwrt/board.py": 0o644,
    }
    for name, mode in modes.items():
        assert (data / name).stat().st_mode & 0o777 == mode, name
    listing = subprocess.run(
        [*TAR, "-tvzf", data.parent / "data.tar.gz"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert all(re.match(r"[d-][rwx-]{9} 0/0 ", line) for line in listing), listing
    # Keys, certificates and the journal outlive an upgrade of the firmware.
    kept = (data / "lib/upgrade/keep.d/desalink").read_text().split()
    assert kept == ["/etc/desalink/"]


@pytest.mark.parametrize("shell", SHELLS, ids=shell_name)
def test_every_script_is_one_for_the_router_s_shell(
    package: Path, tmp_path: Path, shell: list[str]
) -> None:
    inside = unpacked(package, tmp_path / "unpacked")
    for name in ("data/etc/init.d/desalink", "data/etc/hotplug.d/ntp/60-desalink"):
        subprocess.run([*shell, "-n", inside / name], check=True)
    for name in ("postinst", "prerm"):
        subprocess.run([*shell, "-n", inside / "control" / name], check=True)
        # Where an image is built on another machine there is no functions.sh: not a failure.
        subprocess.run([*shell, inside / "control" / name], check=True)


def test_postinst_and_prerm_hand_over_to_openwrt(package: Path, tmp_path: Path) -> None:
    inside = unpacked(package, tmp_path / "unpacked")
    library = inside / "root/lib"
    library.mkdir(parents=True)
    (library / "functions.sh").write_text(
        'default_postinst() { echo "postinst $(basename "$1")"; }\n'
        'default_prerm() { echo "prerm $(basename "$1")"; }\n'
    )
    for name in ("postinst", "prerm"):
        said = subprocess.run(
            [*SHELLS[0], inside / "control" / name],
            env={"IPKG_INSTROOT": str(inside / "root"), "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert said == f"{name} {name}\n"


def test_the_same_source_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    first = build_openwrt(interpreter)
    assert build_openwrt(interpreter) == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    name, other = build_openwrt(interpreter)
    assert name == first[0] and other != first[1]


def test_a_wrong_time_is_refused(
    desalink: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    done = desalink("package", "openwrt", "-o", tmp_path)
    assert done.code == 1
    assert "SOURCE_DATE_EPOCH" in done.err and not list(tmp_path.glob("*.ipk"))
