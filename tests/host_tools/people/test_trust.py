"""The trust document: its keys, and that it can't be replaced by an older one."""

from __future__ import annotations

import sqlite3
import stat
import time

import cbor2
import pycddl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from host_tools import wire
from host_tools.common.errors import PassphraseError
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes, sign1
from host_tools.people import technicians
from host_tools.people.trust import (
    AAD,
    INGEST,
    OFFICE,
    TECHNICIAN,
    Trust,
    TrustedKey,
    TrustError,
    sign_trust,
    verify_trust,
)
from host_tools.province.registry import kid_of
from host_tools.province.settings import Province
from tests import support
from tests.host_tools.conftest import PASSPHRASE, Run
from tests.world.evidencing import signing_registry

CDDL = (support.ROOT / "docs" / "wire.cddl").read_text()
ROOT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ROOT = public_bytes(ROOT_KEY)
NOW = 1_800_000_000


def a_key(number: int, name: str = "Ani", not_after: int = NOW + 1000) -> TrustedKey:
    public = number.to_bytes(32, "big")
    return TrustedKey(kid_of(public), public, TECHNICIAN, name, not_after)


def a_trust(version: int = 3, *keys: TrustedKey, expires: int = NOW + 5000) -> bytes:
    return sign_trust(ROOT_KEY, version, NOW, expires, keys)


def signed(table: object) -> bytes:
    return sign1(ROOT_KEY, cbor2.dumps(table, canonical=True), AAD)


def test_a_document_says_whose_keys_count():
    trust = verify_trust(a_trust(3, a_key(1), a_key(2, "Budi")), ROOT, newest=3, now=NOW)
    assert (trust.version, trust.issued, trust.expires) == (3, NOW, NOW + 5000)
    assert trust.find(a_key(2).kid) == a_key(2, "Budi")
    assert trust.find(bytes(8)) is None


def test_it_follows_wire_cddl_and_is_one_of_the_wire_s_envelopes():
    document = a_trust(1, a_key(1))
    schema = pycddl.Schema(f"start = trust\n{CDDL}")
    payload, kid = wire.verify_sign1(document, ROOT, b"desa/1/trust")
    schema.validate_cbor(payload)
    assert kid == kid_of(ROOT)
    pycddl.Schema(f"start = signed\n{CDDL}").validate_cbor(document)
    assert cbor2.dumps(cbor2.loads(document), canonical=True) == document


@pytest.mark.parametrize(
    ("document", "more", "sentence"),
    [
        (a_trust(3), {"newest": 4}, "version 3, but version 4 is known already"),
        (a_trust(3, expires=NOW), {}, "of version 3 has expired"),
        (
            sign_trust(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32), 3, NOW, NOW + 9, []),
            {},
            "is not one of this province",
        ),
        (sign1(ROOT_KEY, cbor2.dumps({1: 1}), b"desa/1/release"), {}, "signature"),
        (b"", {}, "is not one of this province"),
        (signed({1: 0, 2: NOW, 3: NOW + 9, 4: []}), {}, r"version \(1\)"),
        (signed({1: True, 2: NOW, 3: NOW + 9, 4: []}), {}, r"version \(1\)"),
        (signed({1: 1, 2: NOW, 3: NOW + 9}), {}, r"keys \(4\)"),
        (
            signed({1: 1, 2: NOW, 3: NOW + 9, 4: [[bytes(8), bytes(32), 1, "A", 9]]}),
            {},
            r"keys \(4\)",
        ),
        (signed({1: 1, 2: NOW, 3: NOW + 9, 4: [7]}), {}, r"keys \(4\)"),
    ],
)
def test_what_is_old_foreign_or_malformed_is_refused(document, more, sentence):
    with pytest.raises(TrustError, match=sentence):
        verify_trust(document, ROOT, now=NOW, **more)


def test_a_key_can_not_be_listed_twice():
    with pytest.raises(TrustError, match="listed twice"):
        verify_trust(a_trust(1, a_key(1), a_key(1, "Budi")), ROOT, now=NOW)


@given(st.data())
def test_an_altered_document_is_refused_in_a_sentence(data):
    document = bytearray(a_trust(1, a_key(1)))
    at = data.draw(st.integers(0, len(document) * 8 - 1))
    document[at // 8] ^= 1 << at % 8
    with pytest.raises(TrustError):
        verify_trust(bytes(document[: data.draw(st.integers(0, len(document)))]), ROOT, now=NOW)
    with pytest.raises(TrustError):
        verify_trust(bytes(document), ROOT, now=NOW)


def test_more_keys_than_a_device_can_read_are_refused():
    with pytest.raises(TrustError, match="revoke technicians who no longer work"):
        a_trust(1, *(a_key(number) for number in range(1, 200)))


# ---- technicians -------------------------------------------------------------------------


def current(province: Province):
    return verify_trust(province.trust.read_bytes(), technicians.root_public(province))


def named(trust: Trust) -> list[TrustedKey]:
    """The technicians' keys."""
    return [key for key in trust.keys if key.role == TECHNICIAN]


def test_a_new_province_s_document_names_its_ingest_and_its_office(kaltim: Province):
    trust = current(kaltim)
    assert (trust.version, [key.role for key in trust.keys]) == (1, [INGEST, OFFICE])
    assert trust.expires > time.time() + 300 * 86400


def test_technicians_come_and_go_and_the_version_grows(desalink: Run, kaltim: Province):
    ended = desalink("-C", kaltim.directory, "technicians", "add", "Ani Wijaya", "--days", 10)
    assert (ended.code, ended.err) == (0, "")
    (key,) = named(current(kaltim))
    assert key.kid.hex() in ended.out and "--technician 'Ani Wijaya'" in ended.out
    assert (key.name, key.role) == ("Ani Wijaya", TECHNICIAN)
    assert abs(key.not_after - time.time() - 10 * 86400) < 60

    ended = desalink("-C", kaltim.directory, "technicians", "add", "ani wijaya")
    assert ended.code == 1 and "has a valid key already" in ended.err
    assert desalink("-C", kaltim.directory, "technicians", "add", "Budi").code == 0
    listed = desalink("-C", kaltim.directory, "technicians", "list").out
    assert [line.split("\t")[0] for line in listed.splitlines()[1:]] == ["Ani Wijaya", "Budi"]

    ended = desalink("-C", kaltim.directory, "technicians", "revoke", "Ani Wijaya")
    assert ended.code == 0 and "may enrol no longer" in ended.out
    trust = current(kaltim)
    assert (trust.version, [key.name for key in named(trust)]) == (4, ["Budi"])
    # Again, it changes nothing: no second version of the same.
    assert desalink("-C", kaltim.directory, "technicians", "revoke", key.kid.hex()).code == 0
    assert current(kaltim).version == 4
    assert "revoked" in desalink("-C", kaltim.directory, "technicians", "list", "--all").out


def test_a_second_key_of_a_person_leaves_the_first_good(desalink: Run, kaltim: Province):
    for more in ([], ["--renew"]):
        assert desalink("-C", kaltim.directory, "technicians", "add", "Ani", *more).code == 0
    assert [key.name for key in named(current(kaltim))] == ["Ani", "Ani"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 61])
def test_a_wrong_name_is_refused(desalink: Run, kaltim: Province, name: str):
    ended = desalink("-C", kaltim.directory, "technicians", "add", name)
    assert (ended.code, ended.err.count("can't be a technician's name")) == (1, 1)
    assert current(kaltim).version == 1


def test_role_keys_are_kept_under_the_passphrase(desalink: Run, kaltim: Province):
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    (file,) = kaltim.technicians.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"OPENSSH PRIVATE KEY" in file.read_bytes()
    with signing_registry(kaltim) as registry:
        ani = technicians.find(registry, "ANI")
        with pytest.raises(PassphraseError):
            technicians.load_key(kaltim, ani, "not the passphrase")
        assert public_bytes(technicians.load_key(kaltim, ani, PASSPHRASE)) == ani.public_key


def test_a_document_put_back_from_an_old_copy_is_made_the_newest_again(kaltim: Province):
    old = kaltim.trust.read_bytes()
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    with signing_registry(kaltim) as registry:
        technicians.add(kaltim, registry, root, "Ani", PASSPHRASE)
        newest = kaltim.trust.read_bytes()
        kaltim.trust.write_bytes(old)
        technicians.publish_trust(kaltim, registry)
        assert kaltim.trust.read_bytes() == newest != old


def test_a_province_of_an_older_desalink_gets_its_first_document(kaltim: Province):
    with sqlite3.connect(kaltim.directory / "registry.db") as db:
        db.execute("DELETE FROM trusts")
    with signing_registry(kaltim) as registry:
        kaltim.trust.unlink()
        root = load_root_key(kaltim.root_key, PASSPHRASE)
        technicians.add(kaltim, registry, root, "Ani", PASSPHRASE)
    assert current(kaltim).version == 1
