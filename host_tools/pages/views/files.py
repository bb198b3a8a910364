"""Reports and evidence files: listed, downloaded, verified on request."""

from __future__ import annotations

from starlette.responses import FileResponse, Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.listings.model import SIZE, TIME, Column
from host_tools.pages.listing import LINK, ListPage, page_of
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


def files(visit: PageVisit) -> ListPage:
    """Every file, and what its last check has found."""
    shelf, checks = visit.site.shelf, visit.book.newest_checks()
    note = _("Reports and evidence files in the folders of 'files' in [pages] of province.toml.")
    for name in shelf.missing():
        note += " " + _("There is no folder {name}.").format(name=name)

    def digest(its: ShelfFile) -> str | None:
        check = checks.get(its.name)
        return its.sha256 or (check.sha256 if check and _is_of(check, its) else "") or None

    def verify(its: ShelfFile) -> tuple[str, str] | None:
        return its.can_be_verified and (_at("check", its), _("Verify")) or None

    return ListPage(
        "files",
        _("Files of the months"),
        [
            Column("file", _("File"), LINK, lambda its: (_at("file", its), its.name)),
            Column("size", _("Size"), SIZE),
            Column("changed", _("Changed (WITA)"), TIME),
            Column("sha256", _("SHA-256 as listed, or as it was when verified"), of=digest),
            Column("verify", _("Verify"), LINK, verify),
            Column(
                "result", _("Result"), of=lambda its: _result(its, checks.get(its.name)) or None
            ),
            Column(
                "verified",
                _("Verified (WITA)"),
                TIME,
                lambda its: checks[its.name].ended_at if its.name in checks else None,
            ),
        ],
        shelf.files(),
        note=note,
    )


def _at(page: str, file: ShelfFile) -> str:
    return with_query(f"/months/{page}", name=file.name)


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
    return visit.to(_at("check", its))


ROUTES = [
    PageRoute("/months/files", page_of(files)),
    PageRoute("/months/file", download),
    PageRoute("/months/check", check),
    PageRoute("/months/check", begin_check, method="POST"),
]
