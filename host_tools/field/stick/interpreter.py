"""Python for laptops that have none: archives that the office has vouched for, kept by hash.

desalink never downloads them. Taken are the relocatable builds "install_only" of the project
python-build-standalone, whose names say version and system:
`cpython-3.12.8+20241219-x86_64-pc-windows-msvc-install_only.tar.gz`.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import tomllib
from pathlib import Path, PurePosixPath

from host_tools.common.files import make_directory, write_file
from host_tools.common.i18n import _
from host_tools.field.stick.platforms import PLATFORMS, Platform, StickError

PINS = "python.toml"
_NAME = re.compile(
    r"cpython-(\d+\.\d+)\.\d+\+\d+-([a-z0-9_-]+?)-install_only(?:_stripped)?\.tar\.gz"
)
_PROGRAMS = ("python/python.exe", "python/bin/python3")


def version_of(name: str) -> str:
    """The version of an archive, such as "3.12".

    Raises:
        StickError: its name does not say it.
    """
    return _parts(name)[0]


def _parts(name: str) -> tuple[str, Platform]:
    match = _NAME.fullmatch(name)
    if match is not None:
        for platform in PLATFORMS.values():
            if platform.triple == match[2]:
                return match[1], platform
    raise StickError(
        _(
            "{name} is not a Python that a stick can take; fetch one whose name ends in {names} "
            "from python-build-standalone, and keep its name."
        ).format(
            name=name,
            names=", ".join(f"-{p.triple}-install_only.tar.gz" for p in PLATFORMS.values()),
        )
    )


def _check(file: Path) -> None:
    """Refuse an archive without Python, or one that writes outside its own folder."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            names = [PurePosixPath(member.name) for member in archive]
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise StickError(
            _("{file} is damaged ({error}); fetch it again.").format(file=file, error=error)
        ) from None
    outside = [name for name in names if name.parts[:1] != ("python",) or ".." in name.parts]
    if outside or not any(str(name) in _PROGRAMS for name in names):
        raise StickError(
            _("{file} is not an archive of Python with a folder 'python'; fetch it again.").format(
                file=file
            )
        )


class Interpreters:
    """The archives of a province, with their hashes in python.toml."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _pins(self) -> dict[str, str]:
        path = self.directory / PINS
        try:
            pins = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StickError(
                _("{path} can't be understood ({error}); correct it.").format(
                    path=path, error=error
                )
            ) from None
        for name, digest in pins.items():
            if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
                raise StickError(
                    _("{path}: {name}: 64 hexadecimal digits are expected; correct it.").format(
                        path=path, name=name
                    )
                )
        return pins

    def add(self, file: Path, *, sha256: str | None = None, pin: bool = False) -> str:
        """Take an archive whose hash is known; the newest one of a platform counts.

        Args:
            sha256: its hash, known from elsewhere.
            pin: take it as it is: the caller vouches for it.

        Returns:
            Its hash.

        Raises:
            StickError: its hash is unknown or wrong, or it is no such archive.
            OSError: it can't be read or written.
        """
        _version, platform = _parts(file.name)
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        pins = self._pins()
        known = pins.get(file.name)
        for expected in (known, sha256.lower() if sha256 else None):
            if expected not in (None, digest):
                raise StickError(
                    _(
                        "{file} is not the file that it should be: its SHA-256 is {digest}, "
                        "expected is {expected}. Fetch it again and compare."
                    ).format(file=file, digest=digest, expected=expected)
                )
        if known is None and sha256 is None and not pin:
            raise StickError(
                _(
                    "No hash of {file} is known yet. Its SHA-256 is {digest}: compare it with the "
                    "publisher's, then add the file with --sha256 HASH, or with --pin to trust it."
                ).format(file=file, digest=digest)
            )
        _check(file)
        make_directory(self.directory, 0o755)
        write_file(self.directory / file.name, data)
        kept = {name: of for name, of in pins.items() if _parts(name)[1] != platform}
        lines = [f'"{name}" = "{of}"\n' for name, of in {**kept, file.name: digest}.items()]
        head = "# SHA-256 of each Python that this province trusts ('desalink stick python').\n"
        write_file(self.directory / PINS, (head + "".join(lines)).encode())
        return digest

    def archive(self, platform: Platform) -> Path | None:
        """The archive for a platform, checked against its hash; None if there is none.

        Raises:
            StickError: it is missing or was changed.
        """
        for name, expected in self._pins().items():
            if _parts(name)[1] != platform:
                continue
            path = self.directory / name
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                raise StickError(
                    _(
                        "{path} is missing or was changed; add it again with 'desalink stick "
                        "python FILE'."
                    ).format(path=path)
                )
            return path
        return None
