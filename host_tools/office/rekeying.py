"""A new passphrase for the province's keys: root, CA, office, technicians."""

from __future__ import annotations

from host_tools.common.passphrase import check_passphrase
from host_tools.keys.private_keys import encrypted_pem, load_encrypted
from host_tools.office.locking import hold_office
from host_tools.province.rekeying import exchange_files
from host_tools.province.settings import Province


def change_passphrase(province: Province, old: str, new: str) -> list[str]:
    """Put every key under a new passphrase; returns their paths inside the province.

    A key that lies elsewhere (root, CA) keeps its old passphrase there.

    Raises:
        PassphraseError: the old one opens not every key, or the new one is too short; nothing is
            changed.
        KeyFileError: a key is damaged; nothing is changed.
        ProvinceError: another desalink is at work (exit code 75).
        OSError: a file can't be read or written.
    """
    check_passphrase(new)
    with hold_office(province.directory):
        keys = (
            *(province.root_key, province.ca_key, province.former_ca_key, province.office_key),
        )
        paths = [path for path in keys if path.exists()]
        paths += sorted(province.technicians.glob("*.key"))
        files = {
            path.relative_to(province.directory).as_posix(): encrypted_pem(
                load_encrypted(path, old), new
            )
            for path in paths
        }
        exchange_files(province.directory, files)
    return list(files)
