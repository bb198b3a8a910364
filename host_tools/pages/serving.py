"""The application: routes, and the one way that every request takes."""

from __future__ import annotations

import asyncio
import contextvars
import gzip
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from host_tools.common.errors import DesalinkError, RegistryError, reason
from host_tools.common.i18n import LANGUAGES, _, language, set_reader_language
from host_tools.pages.access import find_session, token_account
from host_tools.pages.forms import SentForm, check_origin, receive
from host_tools.pages.records import ROLES, VIEWER, LoggedIn, PagesError
from host_tools.pages.shelf import PACKED_KINDS
from host_tools.pages.site import PagesSite
from host_tools.pages.visits import (
    NotAllowed,
    NotFound,
    PageVisit,
    local,
    with_query,
)
from host_tools.store import StoreBusy, StoreError

if TYPE_CHECKING:
    import uvicorn


_LANGUAGE_S = 365 * 86400
_SWITCH_S = 0.0005
_PACK_LEVEL = 4
_LEAST_PACKED = 800
# Beyond these all are refused; idle ones are ended long before (`connections.py`).
_MOST_CONNECTIONS = 10_000

View = Callable[[PageVisit], Response]
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class PageRoute:
    """A route. least: the role that is needed, None: nobody has to log in.

    kept: the page is the same for all of a role, and may be kept until something changes.
    program: for programs, which show a token. file: so many bytes may the file of its form have.
    """

    path: str
    view: View
    least: str | None = VIEWER
    method: str = "GET"
    kept: bool = False
    program: bool = False
    file: int = 0


def session_cookie(site: PagesSite) -> str:
    """The name of the cookie; browsers hold to what `__Host-` promises."""
    return "__Host-desalink" if site.https else "desalink"


_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def secured(response: Response, site: PagesSite) -> Response:
    """An answer with the headers that browsers hold to."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("cache-control", "no-store")
    if site.https:
        response.headers.setdefault("strict-transport-security", "max-age=31536000")
    return response


def choose_language(site: PagesSite, request: Request) -> str:
    """The language of a reader: as chosen, or as the browser asks for."""
    for wanted in (request.query_params.get("lang"), request.cookies.get("lang")):
        if wanted in LANGUAGES:
            return str(wanted)
    for part in request.headers.get("accept-language", "").split(","):
        name = part.strip()[:2].lower()
        if name in LANGUAGES:
            return name
    return "id"


def session_of(site: PagesSite, request: Request) -> tuple[str, LoggedIn | None]:
    """The session's token, and the session if it holds."""
    token = request.cookies.get(session_cookie(site), "")
    if not token:
        return "", None
    return token, find_session(site.connections().book, token, int(site.clock()))


class Requests:
    """Answers requests in threads of the site."""

    def __init__(self, site: PagesSite) -> None:
        self._site = site

    def endpoint(self, route: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        """What Starlette calls for a route."""

        async def answer(request: Request) -> Response:
            sent = SentForm({})
            if route.method == "POST":
                try:
                    # Only whoever is logged in may send a file.
                    known = route.file and await self._in_thread(self._is_logged_in, request)
                    sent = await receive(request, route.file if known else 0)
                except HTTPException as error:
                    return secured(PlainTextResponse(error.detail, error.status_code), self._site)
            return await self._in_thread(self._answer, route, request, sent)

        return answer

    async def _in_thread(self, function: Callable[..., _Made], *values: object) -> _Made:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._site.pool, context.run, function, *values)

    def _is_logged_in(self, request: Request) -> bool:
        try:
            return session_of(self._site, request)[1] is not None
        except (DesalinkError, sqlite3.Error):
            return False  # the answer says what is wrong

    def _answer(self, route: PageRoute, request: Request, sent: SentForm) -> Response:
        site = self._site
        chosen = choose_language(site, request)
        set_reader_language(chosen)
        try:
            response = self._admitted(route, request, sent)
        except NotFound as error:
            response = self._sentence(route, request, str(error), 404)
        except NotAllowed as error:
            response = self._sentence(route, request, str(error), 403)
        except (StoreError, RegistryError, sqlite3.OperationalError) as error:
            # A restarted ingest, a full disk: it passes, or the sentence says what to do.
            busy = isinstance(error, (StoreBusy, sqlite3.OperationalError))
            text = _("The database is busy; try again in a moment.") if busy else str(error)
            response = self._sentence(route, request, text, 503)
        except DesalinkError as error:
            response = self._sentence(route, request, str(error), 400)
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie("lang", chosen, max_age=_LANGUAGE_S, httponly=True, samesite="lax")
        return secured(response, site)

    def _sentence(self, route: PageRoute, request: Request, text: str, status: int) -> Response:
        if route.program:
            return JSONResponse({"error": text}, status)
        try:
            visit = PageVisit(self._site, request, self._site.connections(), None, "", "", {})
            token, session = session_of(self._site, request)
            if session is not None:
                visit.account, visit.session_token, visit.key = session.account, token, ""
            return visit.page("sentence.html", status, text=text)
        except (DesalinkError, sqlite3.Error):
            return PlainTextResponse(text, status)

    def _admitted(self, route: PageRoute, request: Request, sent: SentForm) -> Response:
        site = self._site
        connections = site.connections()
        account, token, key, session = None, "", "", None
        if route.program:
            account = token_account(connections.book, request.headers.get("authorization", ""))
        if account is None:
            token, session = session_of(site, request)
            if session is not None:
                account, key = session.account, session.form_key
        if route.least is not None:
            if account is None:
                return self._ask_to_log_in(route, request)
            if account.must_change and not _for_newcomers(route.path):
                if route.program:
                    raise NotAllowed(_("Change your password first."))
                return Response(status_code=303, headers={"location": "/account"})
            if ROLES.index(account.role) < ROLES.index(route.least):
                raise NotAllowed(_("Your account may not do this; ask an administrator."))
        if sent.fields is None:
            raise DesalinkError(_("This form can't be understood; open the page again."))
        if route.method == "POST":
            check_origin(request)
            if session is not None and sent.fields.get("key") != key:
                raise NotAllowed(_("This form is too old or not ours; open the page again."))
        visit = PageVisit(site, request, connections, account, token, key, sent.fields, sent.file)
        return self._seen(route, visit)

    def _ask_to_log_in(self, route: PageRoute, request: Request) -> Response:
        if route.program:
            return JSONResponse(
                {"error": _("A token is needed.")}, 401, {"www-authenticate": "Bearer"}
            )
        if route.method == "POST":
            raise NotAllowed(_("Log in first."))
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = with_query("/login", next="" if wanted == "/" else local(wanted))
        return Response(status_code=303, headers={"location": where})

    def _seen(self, route: PageRoute, visit: PageVisit) -> Response:
        """The answer; a page that many see is made once, and packed once."""
        if not route.kept:
            return route.view(visit)
        accepted = "gzip" in visit.request.headers.get("accept-encoding", "")
        key = (
            *(visit.request.url.path, visit.request.url.query, language()),
            *(visit.account and visit.account.role, accepted, visit.snapshot.version),
        )
        body = self._site.kept(key)
        if body is None:
            visit.key = ""  # what only one reader may know must not get into it
            response = route.view(visit)
            if response.status_code != 200 or "content-disposition" in response.headers:
                return response
            body = bytes(response.body)
            # Not left to the middleware, which would pack it for each reader.
            if accepted:
                body = gzip.compress(body, _PACK_LEVEL, mtime=0)
            self._site.keep(key, body)
        return HTMLResponse(body, headers={"content-encoding": "gzip"} if accepted else {})


def _for_newcomers(path: str) -> bool:
    """Whether an account may go there whose password somebody else knows."""
    return path in ("/account", "/account/password", "/logout")


def application(site: PagesSite) -> Starlette:
    """The application of a province; closes the site when it ends."""
    from host_tools.pages.live import Live
    from host_tools.pages.views import routes

    requests = Requests(site)
    live = Live(site)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(live.watch())
        yield
        task.cancel()
        site.close()

    async def missing(request: Request, _error: Exception) -> Response:
        return secured(PlainTextResponse("404", 404), site)

    async def asset(request: Request) -> Response:
        found = site.assets.get(request.path_params["name"])
        if found is None:
            return secured(PlainTextResponse("404", 404), site)
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return secured(Response(found.content, 200, headers, found.kind), site)

    async def health(request: Request) -> Response:
        return secured(PlainTextResponse("ok"), site)

    made = [
        Route(route.path, requests.endpoint(route), methods=[route.method], name=route.path)
        for route in routes()
        if site.settings.public or not route.path.startswith("/public")
    ]
    found = Starlette(
        routes=[
            *made,
            Route("/live", live.endpoint),
            Route("/static/{name}", asset),
            Route("/health", health),
        ],
        middleware=[
            Middleware(
                GZipMiddleware,
                minimum_size=_LEAST_PACKED,
                compresslevel=_PACK_LEVEL,
                exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *PACKED_KINDS),
            )
        ],
        exception_handlers={404: missing, 405: missing},
        lifespan=lifespan,
    )
    # It would send people to whatever the `Host` header names.
    found.router.redirect_slashes = False
    return found


def server(site: PagesSite) -> uvicorn.Server:
    """The web server of a site.

    Raises:
        PagesError: the certificate or its key is missing.
    """
    import uvicorn

    from host_tools.pages.connections import BoundedConnection, allow_open_files

    allow_open_files(2 * _MOST_CONNECTIONS)
    # A page that asks the database often waits for a busy thread this long, each time.
    sys.setswitchinterval(_SWITCH_S)
    its, directory = site.settings, site.province.directory
    files = [directory / name if name else None for name in (its.certificate, its.key)]
    for path in filter(None, files):
        if not path.is_file():
            raise PagesError(
                _(
                    "There is no file {path}; correct 'certificate' and 'key' in [pages] of "
                    "province.toml."
                ).format(path=path)
            )
    if (files[0] is None) is not (files[1] is None):
        raise PagesError(
            _("[pages] of province.toml needs both 'certificate' and 'key', or none.")
        )
    config = uvicorn.Config(
        application(site),
        host=its.bind,
        port=its.port,
        ssl_certfile=files[0],
        ssl_keyfile=files[1],
        proxy_headers=bool(its.proxies),
        forwarded_allow_ips=list(its.proxies),
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        http=BoundedConnection,
        limit_concurrency=_MOST_CONNECTIONS,
    )
    return uvicorn.Server(config)


def run(site: PagesSite, begin: Callable[[], None]) -> None:
    """Serve until a signal.

    Args:
        begin: called when the port can be used.

    Raises:
        PagesError: the certificate or the port can't be used.
    """
    import socket

    its = site.settings
    family = socket.AF_INET6 if ":" in its.bind else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((its.bind, its.port))
    except OSError as error:
        raise PagesError(
            _(
                "The pages can't listen on {address} port {port}: {reason}; choose another one "
                "with --bind and --port, or stop what uses it."
            ).format(address=its.bind, port=its.port, reason=reason(error))
        ) from None
    begin()
    server(site).run()
