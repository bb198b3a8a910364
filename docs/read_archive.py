"""Read the reports of an archive, and check its files (wire.md, "The archive").

    python read_archive.py DIRECTORY

Needs only `pyarrow`. DIRECTORY is the province's, or a copy, with `archive`. Prints the number of
reports, and the digest of the list's last line: compare it with one that was noted earlier.
"""

import hashlib
import io
import json
import sys
from pathlib import Path

COLUMNS = ["slot", "kid", "stream", "received_at", "message", "seq"]


def files(province):
    """Each line of the list with its file's bytes; raises ValueError where they don't fit."""
    path, before = province / "archive" / "archive.jsonl", "0" * 64
    for line in path.read_bytes().splitlines() if path.exists() else ():
        listed = json.loads(line)
        data = (path.parent / listed["file"]).read_bytes()
        if listed["previous"] != before:
            raise ValueError(f"the list was changed before {listed['file']}")
        if listed["sha256"] != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{listed['file']} is not the file that was archived")
        yield line, data
        before = hashlib.sha256(line).hexdigest()


def archived(province):
    """The COLUMNS of each report, the oldest file first."""
    for _, data in files(province):
        from pyarrow import parquet

        table = parquet.read_table(io.BytesIO(data), columns=COLUMNS)
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    print(sum(1 for _ in archived(directory)), "reports")
    digests = [hashlib.sha256(line).hexdigest() for line, _ in files(directory)]
    print(digests[-1] if digests else "There is no archive.")
