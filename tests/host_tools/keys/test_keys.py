"""Keys, certificates and the revocation list, read back with `cryptography` alone."""

from __future__ import annotations

import base64
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from host_tools.common import files, passphrase
from host_tools.common.errors import KeyFileError, PassphraseError
from host_tools.keys import private_keys
from host_tools.keys.ca import Authority, common_name, load_certificate, server_names
from host_tools.keys.private_keys import encrypted_pem, load_encrypted
from host_tools.keys.root import load_root_key
from host_tools.province.settings import Province
from tests.host_tools.conftest import PASSPHRASE, ROUNDS


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.generate("Test CA")


_OLD_FORMAT = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGeMFoGCSqGSIb3DQEFDTBNMCwGCSsGAQQB2kcECzAfBBDBU6ubN6nAqKP8YEbT
k6V0AgJAAAIBCAIBBQIBIDAdBglghkgBZQMEASoEEBADLe63qeiv4NRwtWdfNWgE
QJaLagqulcN7tZBEi2ahBHMGlRjmKBS6hyBh/KWjWIOqcpNzwj9cdU4imvMypox2
ZL1tieMevzyFDBv8kwtIq8U=
-----END ENCRYPTED PRIVATE KEY-----
"""
_OF_OLD_FORMAT = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.mark.parametrize("secret", ["eight ch", "kata sandi é 界", "x" * 300])
def test_an_encrypted_key_opens_with_its_passphrase(tmp_path: Path, secret: str):
    for key in (_OF_OLD_FORMAT, ec.generate_private_key(ec.SECP256R1())):
        pem = encrypted_pem(key, secret)
        assert pem != encrypted_pem(key, secret)
        (tmp_path / "key").write_bytes(pem)
        assert load_encrypted(tmp_path / "key", secret).public_key() == key.public_key()


def test_a_key_file_asks_for_rounds_that_slow_down_guessing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(private_keys, "ROUNDS", ROUNDS)
    lines = encrypted_pem(_OF_OLD_FORMAT, PASSPHRASE).splitlines()
    assert b"bcrypt\0\0\0\x18\0\0\0\x10" in (body := base64.b64decode(b"".join(lines[1:-1])))
    at = body.index(b"bcrypt") + 6 + 4 + 4 + 16
    assert int.from_bytes(body[at : at + 4]) >= 48


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_thousands_of_wrong_passphrases_are_all_known_for_wrong(tmp_path: Path, old: bool):
    path = tmp_path / "root.key"
    cheap = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    pem = _OF_OLD_FORMAT.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cheap
    )
    path.write_bytes(pem if old else encrypted_pem(_OF_OLD_FORMAT, PASSPHRASE))
    for number in range(1000 if old else 2000):
        with pytest.raises(PassphraseError, match="not the passphrase of .*root.key"):
            load_encrypted(path, f"wrong passphrase {number}")


def test_a_key_of_the_old_format_opens_and_gets_the_new_one(tmp_path: Path):
    path = tmp_path / "root.key"
    path.write_bytes(_OLD_FORMAT)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(PassphraseError):
        load_encrypted(path, "another one")
    assert load_encrypted(link, PASSPHRASE).public_key() == _OF_OLD_FORMAT.public_key()
    assert link.is_symlink() and path.read_bytes() == _OLD_FORMAT
    for _ in range(2):
        assert load_encrypted(path, PASSPHRASE).public_key() == _OF_OLD_FORMAT.public_key()
        assert b"OPENSSH" in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_client_certificate_says_what_it_is_for(ca: Authority):
    issued = ca.issue_client("6403112001-1")
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    certificate.verify_directly_issued_by(ca.certificate)
    assert common_name(certificate) == "6403112001-1"
    extensions = certificate.extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and not basic.value.ca
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert f"{certificate.serial_number:x}" == issued.serial
    years = (certificate.not_valid_after_utc - datetime.now(UTC)).days / 365.25
    assert 4.9 < years < 5.1
    # A device whose clock is a little behind accepts it.
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(hours=12)


def test_the_ca_may_issue_end_entities_only(ca: Authority):
    basic = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0
    usage = ca.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign and usage.crl_sign and not usage.digital_signature


def test_no_certificate_outlives_its_ca():
    short = Authority.generate("Short CA", timedelta(days=30))
    end = short.certificate.not_valid_after_utc
    for issued in (short.issue_client("6403112001-1"), short.issue_server(["localhost"])):
        assert x509.load_pem_x509_certificate(issued.certificate_pem).not_valid_after_utc == end
    crl = x509.load_pem_x509_crl(short.crl_pem([]))
    assert crl.next_update_utc is not None and crl.next_update_utc <= end


def test_a_server_certificate_names_hosts_and_addresses(ca: Authority, founded: Path):
    issued = ca.issue_server(["broker.example.go.id", "10.0.0.7", "2001:db8::7", "10.0.0.7"])
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    assert server_names(certificate) == {"broker.example.go.id", "10.0.0.7", "2001:db8::7"}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(names.get_values_for_type(x509.IPAddress)) == 2
    # A new province's broker answers to its own machine.
    own = load_certificate(founded / "broker" / "server.crt")
    assert server_names(own) == {"localhost", "127.0.0.1", "::1"}


def test_the_revocation_list_is_signed_lasts_and_grows_in_number(ca: Authority):
    issued = ca.issue_client("6403112001-1")
    first = x509.load_pem_x509_crl(ca.crl_pem([]))
    second = x509.load_pem_x509_crl(ca.crl_pem([(issued.serial, 1_795_000_000)]))
    key = ca.certificate.public_key()
    assert first.is_signature_valid(key) and second.is_signature_valid(key)  # type: ignore[arg-type]
    assert [entry.serial_number for entry in second] == [int(issued.serial, 16)]
    numbers = [
        crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for crl in (first, second)
    ]
    assert numbers[0] < numbers[1]
    assert first.next_update_utc is not None
    assert first.next_update_utc - datetime.now(UTC) > timedelta(days=3640)


def test_a_saved_ca_opens_again(ca: Authority, tmp_path: Path):
    ca.save(tmp_path / "ca.key", tmp_path / "ca.crt", PASSPHRASE)
    again = Authority.load(tmp_path / "ca.key", tmp_path / "ca.crt", PASSPHRASE)
    assert again.certificate == ca.certificate
    with pytest.raises(PassphraseError, match="not the passphrase of .*ca.key"):
        Authority.load(tmp_path / "ca.key", tmp_path / "ca.crt", "another one")
    other = Authority.generate("Test CA")
    (tmp_path / "ca.crt").write_bytes(other.certificate_pem)
    with pytest.raises(KeyFileError, match="is not the key of"):
        Authority.load(tmp_path / "ca.key", tmp_path / "ca.crt", PASSPHRASE)


_PLAIN = _OF_OLD_FORMAT.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "root.key is missing"),
        (b"", "root.key"),
        (b"hello", "root.key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "root.key"),
        (b"\xff" * 99, "root.key"),
        (_PLAIN, "root.key is not encrypted"),
    ],
)
def test_a_key_file_that_is_no_province_s_is_named(
    tmp_path: Path, content: bytes | None, sentence: str
):
    path = tmp_path / "root.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=sentence):
        load_encrypted(path, PASSPHRASE)


def test_the_root_key_opens_and_a_ca_key_in_its_place_does_not(kaltim: Province):
    assert load_root_key(kaltim.root_key, PASSPHRASE)
    kaltim.root_key.write_bytes(kaltim.ca_key.read_bytes())
    with pytest.raises(KeyFileError, match="is not an Ed25519 key"):
        load_root_key(kaltim.root_key, PASSPHRASE)


def test_a_private_file_is_never_open_to_others_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        files.write_private(tmp_path / "key", b"secret")
        files.make_directory(tmp_path / "inner")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "inner").stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "crl.pem"
    files.write_file(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError) as error:
        files.write_file(path, b"new")
    assert error.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as missing:
        files.write_file(tmp_path / "nowhere" / "file", b"new")
    assert missing.value.filename == str(tmp_path / "nowhere" / "file")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_children_do_not_inherit_a_passphrase(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DESALINK_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", "the kit's")
    assert not {PASSPHRASE, "the kit's"} & set(passphrase.scrubbed_environment().values())
    assert passphrase.given() == PASSPHRASE


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00"])
def test_a_passphrase_file_without_a_passphrase_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(PassphraseError, match="secret"):
        passphrase.given(path)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True)])
def test_a_passphrase_file_that_others_can_read_gives_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, warned: bool
):
    path = tmp_path / "secret"
    path.write_text(PASSPHRASE)
    path.chmod(mode)
    assert passphrase.given(path) == PASSPHRASE
    sentence = f"Others may read the passphrase file {path}; run 'chmod 600 {path}'.\n"
    assert capsys.readouterr().err == (sentence if warned else "")
