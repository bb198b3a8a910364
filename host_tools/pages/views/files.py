"""Reports and evidence files: listed, downloaded, verified on request."""

from __future__ import annotations

from starlette.responses import FileResponse, Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.pages.listing import LINK, SIZE, TIME, Column, Listing, show
from host_tools.pages.records import FileCheck
from host_tools.pages.serving import PageRoute
from host_tools.pages.shelf import ShelfFile
from host_tools.pages.visits import NotFound, PageVisit, with_query


def _is_of(check: FileCheck, file: ShelfFile) -> bool:
    """Whether the file is still the one that was verified."""
    return (check.size, check.changed) == (file.size, file.changed)


def _result(file: ShelfFile, check: FileCheck | None) -> str:
    if check is None:
        return ""
    if check.ended_at is None:
        return _("is being verified")
    if not _is_of(check, file):
        return _("the file has changed since")
    return _("verified") if check.good else _("wrong")


def files(visit: PageVisit) -> Response:
    """Every file, and what its last check has found."""
    shelf, checks = visit.site.shelf, visit.book.newest_checks()
    note = _("Reports and evidence files in the folders of 'files' in [pages] of province.toml.")
    for name in shelf.missing():
        note += " " + _("There is no folder {name}.").format(name=name)
    rows = []
    for its in shelf.files():
        check = checks.get(its.name)
        found = check.sha256 if check and _is_of(check, its) else ""
        rows.append(
            {
                "file": (with_query("/months/file", name=its.name), its.name),
                "size": its.size,
                "changed": its.changed,
                "sha256": its.sha256 or found or None,
                "verify": (with_query("/months/check", name=its.name), _("Verify"))
                if its.can_be_verified
                else None,
                "result": _result(its, check) or None,
                "verified": check.ended_at if check else None,
            }
        )
    listing = Listing(
        "files",
        _("Files of the months"),
        [
            Column("file", _("File"), LINK),
            Column("size", _("Size"), SIZE),
            Column("changed", _("Changed (WITA)"), TIME),
            Column("sha256", _("SHA-256 as listed, or as it was when verified")),
            Column("verify", _("Verify"), LINK),
            Column("result", _("Result")),
            Column("verified", _("Verified (WITA)"), TIME),
        ],
        rows,
        note=note,
    )
    return show(visit, listing)


def _file(visit: PageVisit, name: str) -> ShelfFile:
    found = visit.site.shelf.find(name)
    if found is None:
        raise NotFound(_("There is no such file."))
    return found


def download(visit: PageVisit) -> Response:
    """A file, byte for byte. It is saved, never shown: it may be from elsewhere."""
    its = _file(visit, visit.query("name"))
    return FileResponse(its.path, media_type=its.kind, filename=its.path.name)


def check(visit: PageVisit) -> Response:
    """What the last check of a file has found, and the button for a new one."""
    its = _file(visit, visit.query("name"))
    found = visit.book.newest_checks().get(its.name)
    return visit.page("check.html", file=its, check=found, result=_result(its, found))


def begin_check(visit: PageVisit) -> Response:
    """Verify a file, if no other one is being verified."""
    its = _file(visit, visit.text("name"))
    if not its.can_be_verified:
        raise NotFound(_("There is no such file."))
    if not visit.site.checks.begin(visit.book, its, visit.who.name):
        raise DesalinkError(_("Another file is being verified; try again when that has ended."))
    visit.log("file.verify", its.name)
    return visit.to(with_query("/months/check", name=its.name))


ROUTES = [
    PageRoute("/months/files", files),
    PageRoute("/months/file", download),
    PageRoute("/months/check", check),
    PageRoute("/months/check", begin_check, method="POST"),
]
