"""Founding a province, and opening it again."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common import files
from host_tools.common.errors import PassphraseError, ProvinceError, VillageError
from host_tools.office.founding import found_province
from host_tools.province.registry import Registry
from host_tools.province.settings import load
from tests.host_tools.conftest import PASSPHRASE, Run
from tests.support import ROOT

CHEAP = "from pathlib import Path\nfrom host_tools.keys import private_keys as p\np.ROUNDS = 1\n"
SECRET = ("root.key", "ca.key", "server.key", "ingest.key", "operator.key", "registry.db")


def test_init_makes_a_province_with_all_of_its_villages(desalink: Run, tmp_path: Path):
    place = tmp_path / "kaltim"
    ended = desalink("init", place, "--province", "64", "--broker-host", "broker.example.go.id")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"Province 64 Kalimantan Timur with 841 villages is in {place}.\n"
        f"Next: 'desalink -C {place} broker run', and in another terminal "
        f"'desalink -C {place} broker check'.\n"
    )
    province = load(place)
    assert (province.code, province.name) == ("64", "Kalimantan Timur")
    assert (province.broker.host, province.broker.port) == ("broker.example.go.id", 8883)
    with Registry.open(place) as registry:
        assert len(registry.villages()) == 841
        assert len(registry.villages("6403")) == 100
        maratua = registry.village("6403112001")
        assert maratua is not None
        assert (maratua.name, maratua.district, maratua.regency) == (
            "Bohe Silian", "Maratua", "Kabupaten Berau",
        )  # fmt: skip


def test_nobody_else_can_read_a_province(founded: Path):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [founded, *founded.rglob("*")]}
    assert all(mode == 0o700 for path, mode in modes.items() if path.is_dir())
    secret = {path for path in modes if path.name in SECRET or path.suffix == ".key"}
    assert {path.name for path in secret} >= set(SECRET)
    assert all(modes[path] == 0o600 for path in secret)


def test_the_root_key_is_under_the_passphrase(founded: Path):
    pem = (founded / "keys" / "root.key").read_bytes()
    key = serialization.load_ssh_private_key(pem, PASSPHRASE.encode())
    assert isinstance(key, Ed25519PrivateKey)
    public = serialization.load_pem_public_key((founded / "keys" / "root.pub").read_bytes())
    assert key.public_key() == public
    with pytest.raises(ValueError):
        serialization.load_ssh_private_key(pem, b"another passphrase")
    everything = b"".join(p.read_bytes() for p in founded.rglob("*") if p.is_file())
    assert PASSPHRASE.encode() not in everything


def test_a_directory_in_use_is_refused(desalink: Run, founded: Path, tmp_path: Path):
    before = (founded / "keys" / "root.key").read_bytes()
    ended = desalink("init", founded, "--province", "64")
    assert (ended.code, ended.err) == (
        1,
        f"desalink: {founded} is a province already; it was left as it is.\n",
    )
    assert (founded / "keys" / "root.key").read_bytes() == before
    (tmp_path / "letter.txt").write_text("hello")
    ended = desalink("init", tmp_path, "--province", "64")
    assert (ended.code, ended.err) == (
        1,
        f"desalink: {tmp_path} exists and is not empty; choose a new directory.\n",
    )


_SHORT = (
    "The passphrase has 5 characters and needs at least 8; choose a longer one, for example four "
    "unrelated words.\n"
)


@pytest.mark.parametrize(
    ("passphrase", "arguments", "sentence"),
    [
        (PASSPHRASE, "65x", "There is no province '65x'; give one of these codes: 11 Aceh"),
        (PASSPHRASE, "64 --broker-port 0", "0 is not a TCP port"),
        (PASSPHRASE, "64 --broker-host a,b", "'a,b' is not a host name"),
        ("short", "64", _SHORT),
        (None, "64", "set DESALINK_PASSPHRASE or give --passphrase-file"),
        (None, "64 --passphrase-file missing", "The file missing does not exist; check its name"),
    ],
)
def test_wrong_choices_are_reported_and_make_nothing(
    desalink: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passphrase: str | None,
    arguments: str,
    sentence: str,
):
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    if passphrase is not None:
        monkeypatch.setenv("DESALINK_PASSPHRASE", passphrase)
    ended = desalink("init", tmp_path / "p", "--province", *arguments.split())
    assert ended.code == 1
    assert sentence in ended.err
    assert list(tmp_path.iterdir()) == []


def test_init_takes_the_passphrase_of_a_file_and_says_who_can_reach_the_broker(
    desalink: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    secret = tmp_path / "secret"
    secret.write_text("from a file\nsecond line\n")
    ended = desalink("init", tmp_path / "a b", "--province", "64", "--passphrase-file", secret)
    assert ended.code == 0
    pem = (tmp_path / "a b" / "keys" / "root.key").read_bytes()
    serialization.load_ssh_private_key(pem, b"from a file")
    assert "'localhost', which only this machine can reach" in ended.err
    assert f"'desalink -C '{tmp_path}/a b' broker run'" in ended.out


@pytest.mark.parametrize("at", [1, 4, 9, 15])
def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    writes = 0
    real = files.os.replace

    def failing(source: Path, target: Path) -> None:
        nonlocal writes
        writes += 1
        if writes == at:
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(files.os, "replace", failing)
    with pytest.raises(OSError, match="No space"):
        found_province(tmp_path / "p", "64", PASSPHRASE, only_villages=["6403112001"])
    assert list(tmp_path.iterdir()) == []


def test_the_remains_of_a_killed_init_are_cleared_by_the_next(tmp_path: Path):
    place = tmp_path / "p"
    script = (
        f"{CHEAP}import os, signal, host_tools.common.files as files\n"
        "from host_tools.office.founding import found_province\n"
        "files.sync_directory = lambda d: os.kill(os.getpid(), signal.SIGKILL) "
        "if d.name == 'services' else None\n"
        f"found_province(Path({str(place)!r}), '64', 'long enough')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    (remains,) = tmp_path.iterdir()
    assert not (remains / "province.toml").exists()
    sentences: list[str] = []
    found_province(place, "64", PASSPHRASE, only_villages=["6403112001"], tell=sentences.append)
    assert sentences == [
        f"Removing {remains}, the remains of an init that was interrupted (never in use)."
    ]
    assert list(tmp_path.iterdir()) == [place]


def test_two_inits_of_one_place_do_not_mix(tmp_path: Path):
    place = tmp_path / "p"
    script = (
        f"{CHEAP}import sys, host_tools.office.founding as founding\n"
        "fill = founding._fill\n"
        "def slow(*a):\n"
        "    print('building', flush=True); sys.stdin.read(); fill(*a)\n"
        "founding._fill = slow\n"
        f"founding.found_province(Path({str(place)!r}), '64', 'long enough', "
        "only_villages=['6403112001'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None and first.stdin is not None
        assert first.stdout.readline() == "building\n"
        with pytest.raises(ProvinceError, match="Another 'desalink init' is making"):
            found_province(place, "64", PASSPHRASE)
        first.stdin.close()
        assert first.wait(60) == 0
    assert load(place).code == "64"


def test_an_empty_directory_becomes_a_province_of_any_name_with_the_named_villages(
    tmp_path: Path,
):
    name = 'Kaltim "Utara" \\ é # [x]'
    codes = ["6403112001", "6403112004"]
    (tmp_path / "p").mkdir()
    _, count = found_province(tmp_path / "p", "64", PASSPHRASE, name=name, only_villages=codes)
    assert (count, load(tmp_path / "p").name) == (2, name)
    with pytest.raises(VillageError, match="6403999999"):
        found_province(tmp_path / "q", "64", PASSPHRASE, only_villages=["6403999999"])
    with pytest.raises(PassphraseError):
        found_province(tmp_path / "q", "64", "short")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("format = 1", "format = 2", "has format 2 and this desalink knows format 1"),
        ("format = 1", "format = ", "can't be understood"),
        ('code = "64"', "code = 64", "province.code: expected two digits in quotes, got 64"),
        ('code = "64"', 'code = "6x"', "province.code: expected two digits"),
        ("port = 8883", 'port = "8883"', "broker.port: expected a whole number"),
        ("port = 8883", "port = 70000", "70000 is not a TCP port"),
        ('hosts = ["localhost"]', "hosts = []", "broker.hosts: expected a list of texts"),
        ('hosts = ["localhost"]', 'hosts = ["a\\nb"]', "is not a host name or address"),
        ('log = "stderr"', 'log = "x\\nlistener 1883"', "broker.log: expected one line"),
    ],
)
def test_mistakes_in_province_toml_are_named(
    founded: Path, tmp_path: Path, old: str, new: str, sentence: str
):
    text = (founded / "province.toml").read_text()
    assert old in text
    (tmp_path / "province.toml").write_text(text.replace(old, new))
    with pytest.raises(ProvinceError, match="province.toml|TCP port|host name") as raised:
        load(tmp_path)
    assert sentence in str(raised.value)
