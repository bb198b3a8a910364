"""Kits: their content, their encryption and their commands."""

from __future__ import annotations

import io
import json
import sqlite3
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.common.errors import DesalinkError, PassphraseError
from host_tools.devices.release import Release
from host_tools.keys.ca import Authority
from host_tools.keys.private_keys import load_encrypted
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.people import technicians
from host_tools.people.kits import Kit, KitDirectory, KitError, open_kit
from host_tools.people.kits.check import check_kit
from host_tools.people.kits.create import Cargo
from host_tools.people.kits.opened import read_kit
from host_tools.people.kits.pages import pack
from host_tools.people.kits.seal import CHUNK, new_header, read_header, seal, unseal
from host_tools.people.trust import verify_trust
from host_tools.province.settings import Province
from tests.host_tools.conftest import COST, PASSPHRASE, Run
from tests.world.evidencing import signing_registry
from tests.world.kits import (
    KIT_PASSPHRASE,
    SECOND,
    SLOT,
    make_kit,
    sealed,
)

SETTINGS = {
    "link": {"targets": ["1.1.1.1"]},
    "board": {"wifi": [{"ssid": "desa", "password": "rahasia1"}]},
    "village": {"6403112002": {"usage": {"interface": "wlan1"}}},
}
CARGO = Cargo(
    SETTINGS,
    "sites.toml",
    {"esp32-generic": ("ESP32.bin", bytes(range(256)) * 1024)},
    [Release("0.1.0", "esp32-generic", {"/main.py": b"x = 1\n", "/lib/agent/a.mpy": b"\0M"})],
)


@pytest.fixture
def packed(kaltim: Province, authority: Authority) -> tuple[Kit, Ed25519PrivateKey]:
    with signing_registry(kaltim) as registry:
        return make_kit(kaltim, registry, authority, cargo=CARGO)


@pytest.fixture
def file(packed, tmp_path: Path) -> Path:
    return sealed(*packed, tmp_path / "trip.desakit")


@pytest.fixture(autouse=True)
def kit_passphrase(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DESALINK_KIT", raising=False)


# ---- what is in it -----------------------------------------------------------------------


def test_a_kit_comes_out_as_it_went_in(packed, file: Path):
    kit = open_kit(file, KIT_PASSPHRASE)
    made = packed[0]
    assert public_bytes(kit.technician_key) == public_bytes(made.technician_key)
    assert replace(kit, technician_key=made.technician_key) == made
    assert kit.releases["esp32-generic"].files == CARGO.releases[0].files
    assert kit.firmware["ESP32.bin"] == bytes(range(256)) * 1024
    assert kit.firmware_boards == {"esp32-generic": "ESP32.bin"}


def test_its_slots_can_connect_are_configured_and_on_record(packed, kaltim: Province):
    kit = packed[0]
    ca = x509.load_pem_x509_certificate(kaltim.ca_certificate.read_bytes())
    with signing_registry(kaltim) as registry:
        recorded = {slot: registry.certificates(slot) for slot in kit.slots}
    for slot in kit.slots.values():
        for own in slot.certificates:
            certificate = x509.load_pem_x509_certificate(own.certificate_pem)
            certificate.verify_directly_issued_by(ca)
            assert certificate.subject.rfc4514_string() == f"CN={slot.slot}"
        assert {own.serial for own in slot.certificates} == {c.serial for c in recorded[slot.slot]}
    config = kit.slots[SLOT].config
    assert (config["link"], config["board"]) == (SETTINGS["link"], SETTINGS["board"])
    assert config["broker"]["host"] == kaltim.broker.host and "usage" not in config
    assert kit.slots[SECOND].config["usage"] == {"interface": "wlan1"}
    with pytest.raises(KitError, match="6403112003-1 is not in the kit of Ani"):
        kit.slot("6403112003-1")
    key = verify_trust(kit.trust, technicians.root_public(kaltim)).find(kit.technician_kid)
    assert key is not None and key.name == "Ani"


def test_it_knows_who_fills_which_slot(kaltim: Province, authority: Authority):
    with signing_registry(kaltim) as registry:
        device, _ = registry.enrol(
            "6403112004-1",
            bytes(31) + b"\1",
            board="esp32",
            firmware="1",
            by="x",
            unique_id="24:0a:c4:00:01:02",
        )
        kit, _ = make_kit(kaltim, registry, authority)
    found = kit.device_of_unique_id("240AC4000102")
    assert found is not None and (found.slot, found.kid) == ("6403112004-1", device.kid)
    assert kit.device_of_slot("6403112004-1") == found
    assert kit.device_of_slot(SLOT) is None


def test_root_and_ca_keys_are_in_no_kit(packed, kaltim: Province):
    plain = b"".join(pack(*packed))
    for path in (kaltim.root_key, kaltim.ca_key):
        key = load_encrypted(path, PASSPHRASE)
        raw = (
            key.private_bytes_raw()
            if isinstance(key, Ed25519PrivateKey)
            else key.private_numbers().private_value.to_bytes(32, "big")
        )
        der, pem = (
            key.private_bytes(
                encoding,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM)
        )
        for form in (raw, raw.hex().encode(), der, *pem.splitlines()[1:-1], path.read_bytes()):
            assert form not in plain
    # The search finds what is there: the technician's own key, in the form in which it is kept.
    assert packed[0].technician_key.private_bytes_raw().hex().encode() in plain
    assert PASSPHRASE.encode() not in plain


def test_nothing_of_it_can_be_read_in_the_file(packed, file: Path):
    content = file.read_bytes()
    kit = packed[0]
    # A name of three letters may stand among so many random bytes by chance.
    assert b"Ani" not in read_header(io.BytesIO(content), "kit").raw
    for secret in (b"PRIVATE", b"rahasia1", SLOT.encode(), kit.ca_pem[30:90]):
        assert secret not in content
    assert kit.technician_key.private_bytes_raw() not in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# ---- refused -----------------------------------------------------------------------------


def test_a_wrong_passphrase_opens_nothing(file: Path):
    with pytest.raises(PassphraseError, match="not the passphrase of the kit"):
        open_kit(file, KIT_PASSPHRASE + "x")


def test_a_kit_asks_for_work_that_slows_down_guessing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("host_tools.people.kits.seal.COST", COST)
    assert new_header(bytes(8), "64", 0, 0).cost >= 17


def test_an_expired_kit_is_refused_before_the_passphrase(packed, file: Path):
    after = packed[0].expires
    with pytest.raises(KitError, match="expired on .* ask the province for a new kit"):
        open_kit(file, "whatever", now=after)
    assert open_kit(file, KIT_PASSPHRASE, now=after - 1).technician == "Ani"


def test_the_passphrase_alone_does_not_make_a_kit_of_the_province(
    packed, kaltim: Province, tmp_path: Path
):
    kit = packed[0]
    stranger = Ed25519PrivateKey.generate()
    forged = sealed(kit, stranger, tmp_path / "forged")
    with pytest.raises(KitError, match="is not a kit that this desalink can use"):
        open_kit(forged, KIT_PASSPHRASE)
    # With a root of his own in it, it opens; beside the province it shows.
    kit = replace(kit, root_public=public_bytes(stranger))
    opened = read_kit(sealed(kit, stranger, tmp_path / "own"), KIT_PASSPHRASE)
    found = {f.what: f.held for f in check_kit(opened, roots=[technicians.root_public(kaltim)])}
    assert found["province"] is found["trust document"] is False


def test_a_file_that_leads_out_of_its_folder_is_refused(packed, tmp_path: Path):
    kit, root = packed
    for files in ({"/../../etc/passwd": b"x"}, {"/a/../b": b"x"}, {"a\\b": b""}, {"/a\n": b""}):
        bad = replace(kit, releases={"b": Release("1", "b", files)})
        with pytest.raises(KitError, match="is no file name"):
            read_kit(sealed(bad, root, tmp_path / "bad"), KIT_PASSPHRASE)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a kit"),
        (b"PK\3\4 something else altogether", "is not a kit"),
        (b"DESAKIT2" + bytes(40), "another format"),
        (b"DESAKIT1", "damaged or incomplete"),
        (b"DESAKIT1\xff\xff" + bytes(70000), "damaged or incomplete"),
        (b"DESAKIT1\0\1\xf6", "damaged or incomplete"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, sentence: str):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(KitError, match=sentence):
        open_kit(path, KIT_PASSPHRASE)


# ---- the sealed file, in itself ----------------------------------------------------------

LONG = [b"a" * CHUNK, b"b" * CHUNK, b"c" * 1000]


@pytest.fixture(scope="module")
def stream() -> bytes:
    header = new_header(bytes(8), "64", 0, 2**40)
    return b"".join(seal(header, KIT_PASSPHRASE, LONG))


def opened(data: bytes) -> bytes:
    file = io.BytesIO(data)
    return b"".join(unseal(file, read_header(file, "kit"), KIT_PASSPHRASE, "kit"))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_any_length_goes_through(size: int):
    header = new_header(bytes(8), "64", 0, 0)
    assert opened(b"".join(seal(header, KIT_PASSPHRASE, [bytes(size)]))) == bytes(size)


def test_chunks_can_not_be_left_out_exchanged_repeated_or_cut_off(stream: bytes):
    assert opened(stream) == b"".join(LONG)
    size = CHUNK + 16
    begin = len(stream) - 2 * size - 1016
    header, one, two, last = (
        stream[:begin],
        stream[begin : begin + size],
        stream[begin + size : begin + 2 * size],
        stream[begin + 2 * size :],
    )
    for chunks in (
        [one, two],
        [one, two[:-1]],
        [one, last],
        [two, one, last],
        [one, one, two, last],
        [one, two, last, last],
        [one, two, last + b"\0"],
        [two, last],
        [last],
        [],
    ):
        with pytest.raises((KitError, PassphraseError)):
            opened(header + b"".join(chunks))


# Each example opens the kit twice, at a cost.
@settings(max_examples=50)
@given(st.data())
def test_a_flipped_bit_or_a_cut_is_a_sentence(stream: bytes, data):
    altered = bytearray(stream)
    # Half of the flips in the header, which would else hardly ever be hit.
    most = data.draw(st.sampled_from([100 * 8, len(altered) * 8])) - 1
    at = data.draw(st.integers(0, most))
    altered[at // 8] ^= 1 << at % 8
    with pytest.raises((KitError, PassphraseError)):
        opened(bytes(altered))
    with pytest.raises((KitError, PassphraseError)):
        opened(stream[: data.draw(st.integers(0, len(stream) - 1))])


@given(st.binary(max_size=300))
def test_random_bytes_are_a_sentence(data: bytes):
    for content in (data, b"DESAKIT1" + data):
        with pytest.raises(DesalinkError):
            opened(content)


# ---- the commands ------------------------------------------------------------------------


def test_from_the_province_to_the_laptop(desalink: Run, kaltim: Province, tmp_path: Path):
    trip = tmp_path / "trip.desakit"
    create = ("-C", kaltim.directory, "kit", "create", "--technician", "Ani", "-o", trip)
    ended = desalink(*create, "--villages", "64.03.11.2001")
    assert (ended.code, "There is no technician 'Ani'" in ended.err) == (1, True)
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    assert "No village is chosen" in desalink(*create).err
    assert "is not a slot" in desalink(*create, "--villages", "6403112001-x").err
    ended = desalink(
        *create, "--villages", "64.03.11.2001,6403112002-2", "--board", "raspberry-pi"
    )
    assert ended.code == 0 and "for Ani with 2 slots" in ended.out
    assert ended.err.startswith("Its devices would connect to localhost, which is the device ")
    assert "exists already" in desalink(*create, "--villages", "6403112001").err

    ended = desalink("kit", "show", tmp_path / "trpi.desakit")
    assert ended.code == 1
    assert f"The file {tmp_path / 'trpi.desakit'} does not exist" in ended.err
    ended = desalink("kit", "open", trip)
    directory = tmp_path / "data" / "desalink" / "kit"
    assert ended.code == 0 and str(directory) in ended.out
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    # At rest it is as encrypted as it came.
    assert {path.name for path in directory.iterdir()} == {"kit.desakit", "technician"}
    assert (directory / "kit.desakit").read_bytes() == trip.read_bytes()

    shown = json.loads(desalink("kit", "show", "--json").out)
    assert [slot["slot"] for slot in shown["slots"]] == [SLOT, "6403112002-2"]
    assert list(shown["agents"]) == ["raspberry-pi"]
    assert "PRIVATE" not in desalink("kit", "show").out
    ended = desalink("kit", "verify")
    assert ended.code == 0 and "WRONG" not in ended.out and "\tCHECK\tlocalhost:" in ended.out
    ended = desalink("-C", kaltim.directory, "kit", "verify", trip)
    assert ended.code == 0 and "signed by this province's root key" in ended.out
    listed = desalink("-C", kaltim.directory, "kit", "list").out.splitlines()[1].split("\t")
    assert (listed[0], listed[1], listed[2], listed[-1]) == (shown["kit"], "Ani", "2", "valid")


def test_verify_calls_a_revoked_kit_revoked_where_its_province_is_at_hand(
    packed, file: Path, kaltim: Province, desalink: Run
):
    verify = ("-C", kaltim.directory, "kit", "verify", file)
    assert "\nregistry\tgood\tvalid\n" in desalink(*verify).out
    assert desalink("-C", kaltim.directory, "kit", "revoke", packed[0].id.hex()).code == 0
    ended = desalink(*verify)
    assert ended.code == 1 and "\nregistry\tWRONG\trevoked\n" in ended.out


def test_verify_shows_what_is_wrong(packed, tmp_path: Path, desalink: Run):
    kit, root = packed
    slots = dict(kit.slots)
    wrong = replace(slots[SLOT].certificates[0], key_pem=slots[SECOND].key_pem)
    slots[SLOT] = slots[SLOT].with_certificate(wrong)
    stranger = Ed25519PrivateKey.generate()
    bad = replace(kit, slots=slots, technician_key=stranger)
    ended = desalink("kit", "verify", sealed(bad, root, tmp_path / "bad"))
    assert ended.code == 1 and "2 of 6 things are wrong" in ended.err
    assert f"{SLOT}: the key is not the certificate's" in ended.out
    assert "not in the trust document" in ended.out


def test_the_next_kit_of_a_technician_takes_the_place_of_the_last(
    kaltim: Province, authority: Authority, file: Path, packed, tmp_path: Path
):
    directory = KitDirectory(tmp_path / "laptop")
    with pytest.raises(KitError, match="There is no opened kit"):
        directory.open(KIT_PASSPHRASE)
    directory.put(file, KIT_PASSPHRASE)
    directory.enrolments.mkdir()
    with signing_registry(kaltim) as registry:
        second, root = make_kit(kaltim, registry, authority, slots=["6403112003-1"])
        others, _ = make_kit(kaltim, registry, authority, "Budi")
    directory.put(sealed(second, root, tmp_path / "second"), KIT_PASSPHRASE)
    assert list(directory.open(KIT_PASSPHRASE).slots) == ["6403112003-1"]
    assert directory.enrolments.exists()
    with pytest.raises(KitError, match="belongs to another technician"):
        directory.put(sealed(others, root, tmp_path / "third"), KIT_PASSPHRASE)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").touch()
    with pytest.raises(KitError, match="has other files"):
        KitDirectory(tmp_path / "home").put(file, KIT_PASSPHRASE)


def test_a_kit_does_not_outlive_its_technician_s_key(kaltim: Province, authority: Authority):
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    with signing_registry(kaltim) as registry:
        technicians.add(kaltim, registry, root, "Ani", PASSPHRASE, days=5)
        with pytest.raises(KitError, match="--renew Ani"):
            make_kit(kaltim, registry, authority)
        assert make_kit(kaltim, registry, authority, days=4)[0].expires < time.time() + 5 * 86400


@pytest.mark.parametrize(
    ("host", "doubtful"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "::1", "Broker.LOCALHOST")),
        *((host, False) for host in ("broker.example.go.id", "192.168.8.1", "localhost.go.id")),
    ],
)
def test_a_broker_that_no_village_can_reach_is_doubtful(packed, host: str, doubtful: bool):
    findings = check_kit(replace(packed[0], broker_host=host))
    (found,) = [finding for finding in findings if host in finding.detail]
    assert (found.held, found.doubtful) == (True, doubtful)


def test_the_list_marks_a_kit_whose_technician_may_not_enrol(
    packed, desalink: Run, kaltim: Province
):
    def state() -> str:
        return desalink("-C", kaltim.directory, "kit", "list").out.splitlines()[1].split("\t")[-1]

    assert state() == "valid"
    with sqlite3.connect(kaltim.directory / "registry.db") as db:
        db.execute("UPDATE role_keys SET not_after = ?", (int(time.time()) - 1,))
    assert state() == "key expired"
    assert desalink("-C", kaltim.directory, "technicians", "revoke", "Ani").code == 0
    assert state() == "key revoked"
    listed = json.loads(desalink("-C", kaltim.directory, "kit", "list", "--json").out)
    assert listed[0]["state"] == "key revoked"
