"""Exchanging several files of a province at once: all of them, or none.

The new files are first written beside the old ones. Then one rename puts a list of them in place.
From that moment on the exchange is decided: the next program that opens the province finishes it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from host_tools.common.files import make_directory, sync_directory, write_file, write_private
from host_tools.province.settings import EXCHANGE

_LIST = "list.json"


def exchange_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Replace private files (mode 0600) by new ones, all or none.

    Args:
        files: path inside the province, and the new content.

    Raises:
        OSError: something can't be written. Nothing is changed, or `finish` will change all.
    """
    finish(directory)
    place = directory / EXCHANGE
    shutil.rmtree(place, ignore_errors=True)  # of an exchange that was not decided
    make_directory(place)
    for number, content in enumerate(files.values()):
        write_private(place / str(number), content)
    sync_directory(directory)
    write_file(place / _LIST, json.dumps(list(files)).encode())
    finish(directory)


def finish(directory: Path) -> None:
    """Finish an exchange that was decided and interrupted.

    Raises:
        OSError: a file can't be put in place.
    """
    place = directory / EXCHANGE
    try:
        names = json.loads((place / _LIST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return
    for number, name in enumerate(names):
        source, target = place / str(number), directory / name
        if source.exists():
            os.replace(source, target)
            sync_directory(target.parent)
    (place / _LIST).unlink()
    shutil.rmtree(place, ignore_errors=True)
