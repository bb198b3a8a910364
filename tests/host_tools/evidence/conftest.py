"""The small province, open and closed, with the files that it has exported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from host_tools.evidence.container import EvidenceError
from host_tools.evidence.verify import verify
from host_tools.keys.root import public_pem
from host_tools.keys.signing import public_bytes
from tests.host_tools.evidence.forging import Forgery
from tests.support import ROOT as REPOSITORY
from tests.world.month import ROOT, SmallProvince, found

# As `python docs/verify_evidence.py` finds what lies beside it.
sys.path.append(str(REPOSITORY / "docs"))
verify_evidence = import_module("verify_evidence")


@dataclass(frozen=True)
class Exports:
    """Files of the same month, before it was closed and after, and the head that was published."""

    province: SmallProvince
    open: Path
    closed: Path
    head: str
    root: Path

    def forged(self, closed: bool = False) -> Forgery:
        return Forgery(self.closed if closed else self.open)

    def refusal(self, path: Path, *heads: str) -> str:
        """What `desalink evidence verify` says of a file: empty if it is good.

        docs/verify_evidence.py must agree.
        """
        said = ""
        try:
            checked = verify(path, [public_bytes(ROOT)], heads)
        except EvidenceError as error:
            said = str(error)
        other = verify_evidence.verdict(path, [self.root], heads)
        assert bool(said) == ("wrong" in other), (said, other)
        if not said:
            assert (other["totals"], other["head"]) == (checked.totals, checked.head)
            assert (other["sha256"], other["reports"]) == (checked.digest, checked.reports)
        return said


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    folder = tmp_path_factory.mktemp("evidence")
    province = found(folder)
    root = folder / "root.pub"
    root.write_bytes(public_pem(ROOT))
    province.export(folder / "open.evidence")
    head = province.published
    province.close()
    province.export(folder / "closed.evidence")
    return Exports(province, folder / "open.evidence", folder / "closed.evidence", head, root)
