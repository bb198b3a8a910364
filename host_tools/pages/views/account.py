"""Logging in and out, one's own account, and the accounts of others."""

from __future__ import annotations

import io
import re

from markupsafe import Markup
from starlette.responses import Response

from host_tools.common.i18n import _
from host_tools.pages import access, texts
from host_tools.pages.access import hash_password
from host_tools.pages.records import ADMINISTRATOR, VIEWER, Account, PagesError
from host_tools.pages.serving import PageRoute, session_cookie
from host_tools.pages.visits import NotAllowed, NotFound, PageVisit, local

_MOST_TOKEN_NAME = 60
_SECRET = re.compile(r"[A-Z2-7]{32}")


def log_in(visit: PageVisit) -> Response:
    """The form."""
    if visit.account is not None:
        return visit.to(local(visit.query("next", "/")))
    return visit.page("login.html", wrong=False, next=local(visit.query("next", "/")))


def log_in_now(visit: PageVisit) -> Response:
    """Check name, password and code; begin a session of its own."""
    site, address = visit.site, visit.address
    name, after = visit.form.get("name", "")[:100], local(visit.form.get("next", "/"))
    account = None
    if not site.throttle.full(address):
        account = access.check_log_in(
            visit.book,
            name,
            visit.form.get("password", ""),
            visit.form.get("code", "")[:20],
            visit.now,
        )
    if account is None:
        site.throttle.failed(address)
        # People type passwords into the field of the name.
        known = visit.book.account(name)
        visit.log("login.refused", known.name if known else "", who="")
        return visit.page("login.html", 403, wrong=True, next=after)
    if visit.session_token:
        visit.book.end_session(access.hashed(visit.session_token))
    token = access.begin_session(visit.book, account, visit.now)
    visit.log("login", account.name, who=account.name)
    response = visit.to("/account" if account.must_change else after)
    _set_cookie(visit, response, token)
    return response


def _set_cookie(visit: PageVisit, response: Response, token: str) -> None:
    response.set_cookie(
        session_cookie(visit.site),
        token,
        max_age=access.SESSION_S,
        path="/",
        secure=visit.site.https,
        httponly=True,
        samesite="lax",
    )


def log_out(visit: PageVisit) -> Response:
    """End the session."""
    visit.book.end_session(access.hashed(visit.session_token))
    visit.log("logout", visit.who.name)
    response = visit.to("/login")
    response.delete_cookie(
        session_cookie(visit.site), path="/", secure=visit.site.https, httponly=True
    )
    return response


# ---- one's own -----------------------------------------------------------------------------


def own(visit: PageVisit) -> Response:
    """Password, one-time codes, tokens."""
    return _own(visit)


def _own(visit: PageVisit, *, token: str = "", secret: str = "", said: str = "") -> Response:
    its = visit.who
    return visit.page(
        "account.html",
        account=its,
        role=texts.roles()[its.role],
        tokens=visit.book.tokens(its.id),
        new_token=token,
        secret=secret,
        qr=_qr(access.secret_uri(secret, its.name, f"Desalink {visit.site.province.name}"))
        if secret
        else "",
        said=said,
    )


def _qr(content: str) -> Markup:
    import segno

    buffer = io.BytesIO()
    segno.make(content, error="m", micro=False).save(
        buffer,
        kind="svg",
        xmldecl=False,
        svgclass="qr",
        lineclass=None,
        omitsize=True,
        light="#fff",
    )
    return Markup(buffer.getvalue().decode())  # nosec B704 # of the library alone


def _confirm(visit: PageVisit) -> None:
    """See that the reader knows the password: a browser may have been left open.

    Raises:
        NotAllowed: the password is wrong.
    """
    code = visit.form.get("code", "")
    its = visit.who
    if its.totp is not None and not code:
        raise NotAllowed(_("Give a code of your phone, too."))
    if (
        access.check_log_in(visit.book, its.name, visit.form.get("old", ""), code, visit.now)
        is None
    ):
        visit.log("password.refused", its.name)
        raise NotAllowed(_("The password or the code is wrong."))


def change_password(visit: PageVisit) -> Response:
    """Set a new password; all other sessions end, and this one gets a new token."""
    its = visit.who
    new = visit.form.get("new", "")
    access.check_password(new, its.name)
    if new != visit.form.get("again"):
        raise PagesError(_("The new password was not the same twice; go back and try again."))
    _confirm(visit)
    if new == visit.form.get("old"):
        raise PagesError(_("The new password is the old one; choose another one."))
    with visit.book.transaction():
        visit.book.set_password(its.id, hash_password(new), must_change=False)
        visit.book.end_sessions(its.id)
        token = access.begin_session(visit.book, its, visit.now)
    visit.log("password.change", its.name)
    response = visit.to("/")
    _set_cookie(visit, response, token)
    return response


def begin_codes(visit: PageVisit) -> Response:
    """Show the secret of one-time codes, to be confirmed with the first of them."""
    return _own(visit, secret=access.new_secret())


def confirm_codes(visit: PageVisit) -> Response:
    """Ask for one-time codes from now on."""
    secret = visit.form.get("secret", "")
    step = None
    if _SECRET.fullmatch(secret):
        step = access.code_step(secret, visit.form.get("code", ""), visit.now)
    if step is None:
        raise PagesError(_("The code is wrong; see that the phone's clock is right."))
    with visit.book.transaction():
        visit.book.set_totp(visit.who.id, secret)
        visit.book.use_code(visit.who.id, step)
        visit.book.end_sessions(visit.who.id, but=access.hashed(visit.session_token))
    visit.log("codes.on", visit.who.name)
    return visit.to("/account")


def end_codes(visit: PageVisit) -> Response:
    """Ask for no codes any more."""
    _confirm(visit)
    visit.book.set_totp(visit.who.id, None)
    visit.log("codes.off", visit.who.name)
    return visit.to("/account")


def add_token(visit: PageVisit) -> Response:
    """Make a token, and show it once."""
    name = visit.text("name", most=_MOST_TOKEN_NAME)
    token = access.add_token(visit.book, visit.who, name, visit.now)
    visit.log("token.add", name)
    return _own(visit, token=token)


def revoke_token(visit: PageVisit) -> Response:
    """Revoke a token."""
    number = visit.text("number")
    if number.isdecimal() and visit.book.revoke_token(visit.who.id, int(number[:9]), visit.now):
        visit.log("token.revoke", number)
    return visit.to("/account")


# ---- those of others -----------------------------------------------------------------------


def everybody(visit: PageVisit) -> Response:
    """Every account."""
    return _everybody(visit)


def _everybody(visit: PageVisit, *, name: str = "", password: str = "") -> Response:
    return visit.page(
        "accounts.html",
        accounts=visit.book.accounts(),
        roles=texts.roles(),
        regencies=visit.registry.regencies(),
        now=visit.now,
        name=name,
        password=password,
    )


def _regencies(visit: PageVisit) -> tuple[str, ...]:
    return tuple(code for code in visit.registry.regencies() if visit.form.get(f"r{code}"))


def add(visit: PageVisit) -> Response:
    """Make an account, and show its first password once."""
    name, role, its = visit.text("name"), visit.text("role"), _regencies(visit)
    password = access.add_account(visit.book, name, role, its, visit.now)
    visit.log("account.add", name, f"{role} {' '.join(its)}")
    return _everybody(visit, name=name, password=password)


def _other(visit: PageVisit) -> Account:
    found = visit.book.account(visit.path("name"))
    if found is None:
        raise NotFound(_("There is no such account."))
    return found


def change(visit: PageVisit) -> Response:
    """Reset the password of an account, set its role, or let it log in no more, or again."""
    its, action = _other(visit), visit.text("action")
    if its.id == visit.who.id:
        raise NotAllowed(_("Another administrator has to do this to your own account."))
    if action == "reset":
        password = access.reset_password(visit.book, its, visit.now)
        visit.log("account.reset", its.name)
        return _everybody(visit, name=its.name, password=password)
    detail = ""
    if action == "disable":
        visit.book.set_disabled(its.id, visit.now)
        visit.book.end_sessions(its.id)
    elif action == "enable":
        visit.book.set_disabled(its.id, None)
    elif action == "role":
        role, regencies = visit.text("role"), _regencies(visit)
        access.check_role(role, regencies)
        visit.book.set_role(its.id, role, regencies)
        detail = f"{role} {' '.join(regencies)}"
    else:
        raise PagesError(_("This form can't be understood; open the page again."))
    visit.log(f"account.{action}", its.name, detail)
    return visit.to("/accounts")


ROUTES = [
    PageRoute("/login", log_in, None),
    PageRoute("/login", log_in_now, None, "POST"),
    PageRoute("/logout", log_out, VIEWER, "POST"),
    PageRoute("/account", own),
    PageRoute("/account/password", change_password, VIEWER, "POST"),
    PageRoute("/account/codes", begin_codes, VIEWER, "POST"),
    PageRoute("/account/codes/confirm", confirm_codes, VIEWER, "POST"),
    PageRoute("/account/codes/off", end_codes, VIEWER, "POST"),
    PageRoute("/account/tokens", add_token, VIEWER, "POST"),
    PageRoute("/account/tokens/revoke", revoke_token, VIEWER, "POST"),
    PageRoute("/accounts", everybody, ADMINISTRATOR),
    PageRoute("/accounts", add, ADMINISTRATOR, "POST"),
    PageRoute("/accounts/{name}", change, ADMINISTRATOR, "POST"),
]
