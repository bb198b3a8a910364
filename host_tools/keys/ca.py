"""The province's certificate authority: P-256, because mbedTLS has no Ed25519 (RFC 5280)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from host_tools.common.errors import KeyFileError
from host_tools.common.files import write_file, write_private
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.keys.private_keys import encrypted_pem, load_encrypted, plain_pem

AUTHORITY_LIFE = timedelta(days=3653)
SERVER_LIFE = AUTHORITY_LIFE
CLIENT_LIFE = timedelta(days=1826)
# With an expired revocation list the broker refuses every client.
CRL_LIFE = AUTHORITY_LIFE

# Key of the CA before the present one, beside that one's.
FORMER_KEY = "former.key"

# A device with a slow clock must accept new certificates.
_BACKDATED = timedelta(days=1)

# Marks entries that only show whether the broker has read the list.
PROBE_REASON = x509.ReasonFlags.cessation_of_operation


@dataclass(frozen=True)
class Issued:
    """A new certificate with its key."""

    certificate_pem: bytes
    key_pem: bytes
    serial: str
    """Lower-case hexadecimal, as `openssl x509 -serial` shows it."""
    not_after: int
    """Unix time."""

    @property
    def der(self) -> bytes:
        """The certificate as the registry keeps it."""
        certificate = x509.load_pem_x509_certificate(self.certificate_pem)
        return certificate.public_bytes(serialization.Encoding.DER)


def serial_text(number: int) -> str:
    """A certificate's serial number as the registry keeps it."""
    return f"{number:x}"


def load_certificate(path: Path) -> x509.Certificate:
    """Read one PEM certificate.

    Raises:
        KeyFileError: missing, or not a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise KeyFileError(
            _("The certificate {path} is missing; put it back from the backup.").format(path=path)
        ) from None
    except ValueError:
        raise KeyFileError(
            _("{path} is not a certificate; put it back from the backup.").format(path=path)
        ) from None


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a PEM file: of CAs, the newest first.

    Raises:
        KeyFileError, OSError: as `load_certificate`.
    """
    load_certificate(path)
    return x509.load_pem_x509_certificates(path.read_bytes())


def common_name(certificate: x509.Certificate) -> str:
    """The subject's CN, which is the MQTT user name; empty if it has none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def server_names(certificate: x509.Certificate) -> set[str]:
    """The host names and addresses of a server certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _general_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authority_key(
    path: Path, certificate: x509.Certificate, passphrase: str
) -> ec.EllipticCurvePrivateKey:
    key = load_encrypted(path, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(
            _("{path} is not a P-256 key; put it back from the backup.").format(path=path)
        )
    if key.public_key() != certificate.public_key():
        raise KeyFileError(
            _(
                "{path} is not the key of the CA {name}; put key and certificate back from "
                "one backup."
            ).format(path=path, name=common_name(certificate))
        )
    return key


class Authority:
    """An opened CA, which issues and revokes. It holds the private key: don't keep it.

    Attributes:
        former: the CA before this one, as long as devices depend on it.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        former: Authority | None = None,
    ) -> None:
        self._key = key
        self.certificate = certificate
        self.former = former

    @classmethod
    def generate(cls, name: str, life: timedelta = AUTHORITY_LIFE) -> Authority:
        """Make a new self-signed CA, which may issue end entities only."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC).replace(microsecond=0)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load(cls, key_path: Path, certificate_path: Path, passphrase: str) -> Authority:
        """Open the CA of a province.

        Raises:
            PassphraseError: it is not this key's passphrase.
            KeyFileError: a file is missing, or key and certificate don't belong together.
        """
        certificates = load_certificates(certificate_path)
        former = None
        for certificate in certificates[1:2]:
            path = key_path.with_name(FORMER_KEY)
            former = cls(_authority_key(path, certificate, passphrase), certificate)
        certificate = certificates[0]
        return cls(_authority_key(key_path, certificate, passphrase), certificate, former)

    def save(self, key_path: Path, certificate_path: Path, passphrase: str) -> None:
        """Write the key under the passphrase, and the certificate.

        Raises:
            PassphraseError: the passphrase is too short.
        """
        write_private(key_path, self.encrypted_key(passphrase))
        write_file(certificate_path, self.certificate_pem)

    @property
    def ended(self) -> bool:
        return self.certificate.not_valid_after_utc <= datetime.now(UTC)

    def encrypted_key(self, passphrase: str) -> bytes:
        """The file of the key under a passphrase."""
        return encrypted_pem(self._key, passphrase)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def _issue(
        self, common: str, life: timedelta, usage: x509.ObjectIdentifier, hosts: Sequence[str] = ()
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certify(key.public_key(), common, life, usage, hosts)
        return Issued(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=plain_pem(key),
            serial=serial_text(certificate.serial_number),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
        )

    def _certify(
        self,
        public: ec.EllipticCurvePublicKey,
        common: str,
        life: timedelta,
        usage: x509.ObjectIdentifier,
        hosts: Sequence[str] = (),
    ) -> x509.Certificate:
        now = datetime.now(UTC).replace(microsecond=0)
        # No certificate is valid longer than its CA.
        end = min(now + life, self.certificate.not_valid_after_utc)
        authority = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.value),
                critical=False,
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(_general_names(hosts)), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())

    def renew_client(
        self, certificate: x509.Certificate, life: timedelta = CLIENT_LIFE
    ) -> x509.Certificate:
        """A certificate for the same name and key as another, with new dates.

        Raises:
            KeyFileError: its key is not one that this CA certifies.
        """
        public = certificate.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise KeyFileError(
                _("The certificate of {name} has no P-256 key; issue a new one.").format(
                    name=common_name(certificate)
                )
            )
        return self._certify(
            public, common_name(certificate), life, ExtendedKeyUsageOID.CLIENT_AUTH
        )

    def clipped(self) -> str | None:
        """A sentence if the CA ends before a client certificate would that is issued now."""
        end = self.certificate.not_valid_after_utc
        if end >= datetime.now(UTC) + CLIENT_LIFE:
            return None
        return _(
            "The CA ends on {date}, and so does every certificate that is made now, instead of "
            "after {years} years; make its successor with 'desalink renew authority'."
        ).format(date=day(end.timestamp()), years=CLIENT_LIFE.days // 365)

    def issue_client(self, common: str, life: timedelta = CLIENT_LIFE) -> Issued:
        """A certificate for a slot or a service; `common` becomes its MQTT user name."""
        return self._issue(common, life, ExtendedKeyUsageOID.CLIENT_AUTH)

    def issue_server(self, hosts: Sequence[str]) -> Issued:
        """The broker's certificate for these host names and addresses.

        From the former CA while there is one: some devices know only that.
        """
        issuer = self.former if self.former is not None and not self.former.ended else self
        return issuer._issue(hosts[0][:64], SERVER_LIFE, ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def crl_pem(
        self, revoked: Iterable[tuple[str, int]], probes: Iterable[str] = (), above: int = 0
    ) -> bytes:
        """The revocation list, followed by that of the former CA: each CA signs one.

        Args:
            revoked: serial (hexadecimal) and Unix time of the revocation, of every certificate.
            probes: serials in this list only; they show whether the broker has read it.
            above: the number of the last list; a slow clock must not repeat it.
        """
        revoked, probes = list(revoked), list(probes)
        now = datetime.now(UTC)
        number = max(int(now.timestamp() * 1_000_000), above + 1)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now.replace(microsecond=0) - _BACKDATED)
            .next_update(min(now + CRL_LIFE, self.certificate.not_valid_after_utc))
            # Microseconds, so that two lists within a second have an order.
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial, when in revoked:
            entry = _revoked(serial, datetime.fromtimestamp(when, UTC))
            builder = builder.add_revoked_certificate(entry.build())
        for serial in probes:
            entry = _revoked(serial, now).add_extension(x509.CRLReason(PROBE_REASON), False)
            builder = builder.add_revoked_certificate(entry.build())
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        if self.former is None or self.former.ended:
            return pem
        return pem + self.former.crl_pem(revoked, probes, above)


def _revoked(serial: str, when: datetime) -> x509.RevokedCertificateBuilder:
    return x509.RevokedCertificateBuilder(int(serial, 16), when)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
