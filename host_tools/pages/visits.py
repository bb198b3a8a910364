"""One request: who asks, in which language, with which form; and the answers to it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import LANGUAGES, _, language, number
from host_tools.common.sizes import size
from host_tools.common.templates import templates
from host_tools.common.times import clock_time, day, span, wita
from host_tools.pages.records import ADMINISTRATOR, OPERATOR, Account, PagesBook
from host_tools.pages.site import Connections, PagesSite
from host_tools.pages.snapshot import Snapshot
from host_tools.province.records import Village
from host_tools.province.registry import Registry
from host_tools.states.words import group, state_word
from host_tools.store import Database

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_TEXT = 2000

_PACK_LEVEL = 4
_LEAST_PACKED = 800
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x1f\\]*")


class NotFound(DesalinkError):
    """There is no such page, village or case."""


class NotAllowed(DesalinkError):
    """The account may not do that."""


@dataclass
class PageVisit:
    """A request and all that an answer needs. key: what forms send back; file: of the form."""

    site: PagesSite
    request: Request
    connections: Connections
    account: Account | None
    session_token: str
    key: str
    form: Mapping[str, str]
    file: bytes = b""

    # ---- what is asked ---------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        return self.connections.registry

    @property
    def database(self) -> Database | None:
        return self.connections.database

    @property
    def book(self) -> PagesBook:
        return self.connections.book

    @property
    def now(self) -> int:
        return int(self.site.clock())

    @property
    def snapshot(self) -> Snapshot:
        return self.site.watcher.newest()

    @property
    def who(self) -> Account:
        """The account, on a route that asks for one."""
        assert self.account is not None
        return self.account

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return self.request.query_params.get(name, default).strip()[:200]

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def text(self, name: str, *, most: int = MOST_TEXT, needed: bool = True) -> str:
        """A text of the form.

        Raises:
            DesalinkError: it is missing or too long.
        """
        found = self.form.get(name, "").strip()
        if needed and not found:
            raise DesalinkError(_("A field of the form is empty; go back and fill it in."))
        if len(found) > most:
            raise DesalinkError(
                _("A text has more than {most} characters; go back and make it shorter.").format(
                    most=most
                )
            )
        return found

    def village(self) -> Village:
        """The village that the path names.

        Raises:
            NotFound: there is none.
        """
        found = self.snapshot.villages.get(self.path("code"))
        if found is None:
            raise NotFound(_("There is no such village."))
        return found

    def may_act(self, village: str) -> None:
        """See that the account may change something about a village.

        Raises:
            NotAllowed: it may not.
        """
        if not self.who.may_act(village):
            raise NotAllowed(_("Your account may not change anything about this village."))

    def log(self, action: str, object: str, detail: str = "", *, who: str | None = None) -> None:
        """Note a change in the audit log."""
        name = self.who.name if who is None else who
        self.book.log(name, action, object, detail[:500], address=self.address, at=self.now)

    # ---- what is answered ------------------------------------------------------------------

    def html(self, template: str, **values: Any) -> str:
        """A page."""
        account = self.account
        return (
            page_templates()
            .get_template(template)
            .render(
                visit=self,
                language=language(),
                css=self.site.asset_names["pages.css"],
                js=self.site.asset_names["pages.js"],
                province=self.site.province.name,
                signed_in=account is not None,
                administrator=account is not None and account.role == ADMINISTRATOR,
                operator=account is not None and account.role in (OPERATOR, ADMINISTRATOR),
                key=self.key,
                other_language=other_language(self.request),
                **values,
            )
        )

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page as an answer."""
        return HTMLResponse(self.html(template, **values), status)

    def to(self, path: str) -> Response:
        """Send the browser to a page of ours after a change."""
        return RedirectResponse(local(path), 303)


def local(path: str) -> str:
    """A path of ours; whatever else it is becomes the first page."""
    return path if _LOCAL.fullmatch(path) else "/"


def with_query(path: str, **values: object) -> str:
    """A path with the parameters that are not empty."""
    known = {name: str(value) for name, value in values.items() if value not in (None, "")}
    return f"{path}?{urlencode(known)}" if known else path


def other_language(request: Request) -> list[tuple[str, str]]:
    """Language and address of this page in it."""
    rest = [(k, v) for k, v in request.query_params.multi_items() if k != "lang"]
    return [
        (name, f"{quote(request.url.path)}?{urlencode([*rest, ('lang', name)])}")
        for name in LANGUAGES
    ]


def packed(body: bytes, accepts: str) -> tuple[bytes, dict[str, str]]:
    """A body as it is sent, and the headers that say so."""
    if len(body) < _LEAST_PACKED or "gzip" not in accepts:
        return body, {}
    return gzip.compress(body, _PACK_LEVEL, mtime=0), {"content-encoding": "gzip"}


@cache
def page_templates() -> Environment:
    """The templates of the pages."""
    return templates(
        "host_tools.pages",
        wita=wita,
        day=day,
        clock=clock_time,
        span=span,
        size=size,
        number=number,
        state=state_word,
        group=group,
    )
