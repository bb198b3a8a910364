"""Who may see and do what; and what comes from outside does no harm."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from starlette.routing import Route

from host_tools.pages.serving import application
from tests.host_tools.pages.conftest import HOSTILE, NOW, VILLAGES, Pages, key_of, post

HERE, ELSEWHERE = VILLAGES[0], VILLAGES[2]
PUBLIC = {"GET /login", "POST /login", "GET /public", "GET /health", "GET /static/{name}"}
PUBLIC |= {"GET /a/{token}", "POST /a/{token}"}
ADMINISTRATORS = {
    *("GET /audit", "GET /accounts", "POST /accounts", "POST /accounts/{name}"),
}
OPERATORS = {
    *("POST /village/{code}/note", "POST /village/{code}/note/withdraw"),
    *("POST /village/{code}/case", "POST /cases/{number}"),
    *("POST /village/{code}/photograph", "POST /village/{code}/photograph/remove"),
    "POST /alerts/{number}",
}
ACCOUNT = {
    *("POST /account/password", "POST /account/codes", "POST /account/codes/confirm"),
    "POST /months/check",
    *("POST /account/codes/off", "POST /account/tokens", "POST /account/tokens/revoke"),
}
FORMS = {
    "note": {"kind": "note", "text": HOSTILE},
    "case": {"subject": HOSTILE, "began": ""},
    "cases": {"action": "comment", "text": HOSTILE},
}


def routes(pages: Pages) -> list[tuple[str, str]]:
    found = []
    for route in application(pages.site).routes:
        assert isinstance(route, Route)
        methods = (route.methods or set()) - {"HEAD"}
        found += [(method, route.path) for method in methods]
    return found


def filled_in(path: str, village: str, case: int = 1) -> str:
    values = {
        "code": village,
        "number": str(case),
        "name": "viewer",
        "month": "2026-10",
        "edition": "1",
        "token": f"{case}-aaaaaaaaaaaaaaaa",
    }
    return re.sub(r"{(\w+)}", lambda match: values[match[1]], path)


def with_cases(pages: Pages) -> None:
    """Case 1 is in the operator's regency, case 2 is not; so are notes and photographs."""
    with pages.book() as book:
        for village in (HERE, ELSEWHERE):
            book.add_photograph(
                *(village, b"?", 1, 1, HOSTILE), who=HOSTILE, at=NOW, most=9, most_bytes=9
            )
            book.open_case(village, HOSTILE, None, who=HOSTILE, at=NOW)
            book.add_village_note(village, "contact", HOSTILE, who=HOSTILE, at=NOW)


def test_nobody_gets_in_without_a_log_in_but_where_it_is_meant(pages: Pages):
    client = pages.client()
    for method, path in routes(pages):
        if path == "/live" or f"{method} {path}" in PUBLIC:
            continue
        answer = client.request(method, filled_in(path, HERE))
        where = answer.headers.get("location", "")
        admitted = answer.status_code not in (401, 403) and not where.startswith("/login")
        assert not admitted, f"{method} {path}: {answer.status_code}"
        assert "Silian" not in answer.text
    assert client.get("/live").status_code == 401


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_what_only_administrators_may_do_nobody_else_may(pages: Pages, role: str):
    client = pages.of(role)
    known = set()
    for method, path in routes(pages):
        if f"{method} {path}" in ADMINISTRATORS:
            known.add(f"{method} {path}")
            form = {"key": key_of(client)} if method == "POST" else None
            answer = client.request(method, filled_in(path, HERE), data=form)
            assert answer.status_code == 403, path
    assert known == ADMINISTRATORS


def test_every_route_that_changes_something_is_known_here(shared: Pages):
    posts = {f"{method} {path}" for method, path in routes(shared) if method == "POST"}
    assert posts == (
        OPERATORS
        | ACCOUNT
        | {p for p in ADMINISTRATORS | PUBLIC if p[0] == "P"}
        | {"POST /logout"}
    )


def test_an_operator_changes_only_the_own_regencies_and_a_viewer_nothing(pages: Pages):
    with_cases(pages)
    for entry in sorted(OPERATORS):
        path = entry.partition(" ")[2]
        form = FORMS["cases" if "/cases" in path else "case" if "/case" in path else "note"]
        form = {**form, "number": "1"} if "withdraw" in path or "remove" in path else form
        for role, village, case, status in (
            ("viewer", HERE, 1, 403),
            ("operator", ELSEWHERE, 2, 403),
            ("operator", HERE, 1, 303),
            ("administrator", ELSEWHERE, 2, 303),
        ):
            if path.endswith("/photograph") and status == 303:
                status = 400  # no file is in this form
            answer = post(pages.of(role), filled_in(path, village, case), **form)
            assert answer.status_code == status, f"{role} {path}: {answer.text}"
    with pages.book() as book:
        assert {note.action for note in book.case_notes(2)} == {"open", "comment"}


def test_everybody_who_is_logged_in_reads_every_page(pages: Pages):
    with_cases(pages)
    for role in ("viewer", "operator", "administrator"):
        for method, path in routes(pages):
            if method == "POST" or path in ("/live", "/static/{name}"):
                continue
            if f"GET {path}" in ADMINISTRATORS and role != "administrator":
                continue
            answer = pages.of(role).get(filled_in(path, ELSEWHERE, 2))
            # Without the name of a file there is none.
            absent = (
                path in ("/months/file", "/months/check") or "{month}" in path or "{token}" in path
            )
            expected = {404} if absent else {303} if path == "/login" else {200}
            assert answer.status_code in expected, f"{role} {path}: {answer.text}"


# ---- what comes from outside -----------------------------------------------------------------


class Elements(HTMLParser):
    """Elements and attributes that would run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        own = {"script": "/static/", "img": "/photographs/"}.get(tag)
        its_own = own is not None and (values.get("src") or "").startswith(own)
        if tag in ("script", "img", "iframe", "style") and not its_own:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style" or "javascript:" in (value or ""):
                self.found.append(f"{tag} {name}={value}")


def test_names_notes_and_what_devices_say_never_become_markup(pages: Pages):
    with_cases(pages)
    client = pages.of("administrator")
    client.post("/login", data={"name": HOSTILE, "password": HOSTILE, "next": HOSTILE})
    paths = [path for method, path in routes(pages) if method == "GET" and path != "/live"]
    paths += [f"/search?q={HOSTILE}", "/outages?since=9d", f"/villages?regency={HOSTILE}"]
    paths += [f"/quarantine?reason={HOSTILE}", f"/?state={HOSTILE}", f"/login?next={HOSTILE}"]
    shown = 0
    for path in paths:
        answer = client.get(filled_in(path, ELSEWHERE, 2))
        if "html" in answer.headers.get("content-type", ""):
            reader = Elements()
            reader.feed(answer.text)
            assert reader.found == [], path
            shown += "&lt;script&gt;" in answer.text
    assert shown > 10


# What a stranger may send: in paths, filters, forms, headers and cookies.
INPUTS = (
    *("' OR 1=1 --", "\0\x01\x08\x1b[31m", "../../../etc/passwd", "..%2f%00%", "{{7*7}}{% if %}"),
    *(
        HOSTILE,
        "a\r\nset-cookie: planted=1",
        "\u202e\ufffe" + "\U0001f9a0" * 40,
        "9" * 40,
        "-1",
        "",
    ),
    *("1e309", "\u0663", "\u00b2", "=cmd|' /C x'!A0", "a" * 3000, "99999999999999d", "0001-01-01"),
)
FILTERS = (
    *("q", "regency", "provider", "state", "cause", "since", "before", "page", "format", "range"),
    *("village", "archive"),
    *("month", "reason", "trouble", "board", "agent", "firmware", "name", "next", "lang"),
)
FIELDS = (
    *("name", "password", "code", "old", "new", "again", "secret", "number", "action", "text"),
    *("kind", "subject", "began", "assigned", "cause", "role", "next", "r6403"),
)
HEADERS = ("accept-language", "accept-encoding", "user-agent", "x-forwarded-for", "range")


def planted(answer) -> list[str]:
    """What of an answer would run, or go elsewhere."""
    reader = Elements()
    if "html" in answer.headers.get("content-type", ""):
        reader.feed(answer.text)
    where = answer.headers.get("location", "/")
    if not where.startswith("/") or where.startswith(("//", "/\\")) or "\n" in where:
        reader.found.append(where)
    if "planted" in str(answer.headers.get("set-cookie")):
        reader.found.append("a cookie")
    return reader.found


@pytest.mark.slow
def test_nothing_that_a_stranger_sends_breaks_a_page_or_runs_in_it(pages: Pages):
    with_cases(pages)
    client = pages.of("administrator")
    key = key_of(client)
    for text in INPUTS:
        headers = dict.fromkeys(HEADERS, re.sub(rb"[\0\r\n]", b"", text.encode()))
        asked = dict.fromkeys(FILTERS, text)
        for method, path in routes(pages):
            if path in ("/live", "/logout"):
                continue
            paths = {filled_in(path, HERE), re.sub(r"{\w+}", quote(text, safe=""), path)}
            for its in paths:
                if method == "GET":
                    answer = client.get(its, params=asked, headers=headers)
                else:
                    form = {**dict.fromkeys(FIELDS, text), "key": key}
                    answer = client.post(its, data=form, headers=headers)
                assert answer.status_code < 500, (its, text, answer.text)
                assert planted(answer) == [], (its, text)
    # What was kept of it is shown as it is, in tables and workbooks too.
    for path in ("/cases", "/audit", "/alerts", f"/village/{HERE}"):
        for form in ("", "csv", "xlsx"):
            answer = client.get(path, params={"format": form})
            assert answer.status_code == 200 and planted(answer) == [], (path, form)


def test_no_header_or_cookie_of_a_stranger_lets_anybody_in(shared: Pages):
    client = shared.client()
    for text in INPUTS:
        value = quote(text)[:2000]
        for headers in (
            {"cookie": f"desalink={value}; lang={value}"},
            {"authorization": f"Bearer desalink_{value}"},
            {"authorization": value, "host": value[:60] or "x", "x-forwarded-host": value},
        ):
            assert client.get("/villages", headers=headers).status_code == 303
            assert client.get("/api/v1/status", headers=headers).status_code == 401
            assert client.get("/live", headers=headers).status_code == 401


def test_a_cell_of_a_spreadsheet_is_no_formula(shared: Pages):
    text = shared.of("viewer").get("/villages?format=csv").text
    assert "'=Comtelindo" in text


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        ("/outages?since=7d", "/outages?since=7d"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_a_log_in_leads_to_a_page_of_ours_only(shared: Pages, wanted: str, where: str):
    form = {"name": "viewer", "password": "a sentence of my own", "next": wanted}
    assert shared.client().post("/login", data=form).headers["location"] == where


@pytest.mark.parametrize(
    "path",
    [
        "/static/../records.py",
        "/static/%2e%2e/%2e%2e/province.toml",
        "/static//etc/passwd",
        "/village/..%2f..%2fprovince.db",
        "/months/..%2f..%2fkeys/root.key/1",
        "/cases/-1",
        "/cases/99999999999999999999",
        "/village/%00",
    ],
)
def test_no_path_leads_to_a_file_of_the_province(shared: Pages, path: str):
    assert shared.of("administrator").get(path).status_code == 404


def test_every_answer_carries_the_headers_that_browsers_hold_to(shared: Pages):
    asset = shared.site.asset_names["pages.js"]
    for role, path in (
        ("nobody", "/login"),
        ("viewer", "/"),
        ("viewer", "/nowhere"),
        ("viewer", asset),
        ("nobody", "/api/v1/status"),
        ("viewer", "/accounts"),
    ):
        headers = shared.of(role).get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert ("immutable" in headers["cache-control"]) == (path == asset), path
        if path != asset:
            assert headers["cache-control"] == "no-store", path


# ---- forms and sessions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "key", "status"),
    [
        ({}, None, 403),
        ({}, "wrong", 403),
        ({"origin": "https://evil.example"}, "right", 403),
        ({"sec-fetch-site": "cross-site"}, "right", 403),
        ({"sec-fetch-site": "same-site"}, "right", 403),
        ({"origin": "http://testserver", "sec-fetch-site": "same-origin"}, "right", 303),
    ],
)
def test_a_form_of_another_site_changes_nothing(
    shared: Pages, headers: dict[str, str], key: str | None, status: int
):
    client = shared.of("operator")
    form = {"kind": "note", "text": "from elsewhere"}
    if key:
        form["key"] = key_of(client) if key == "right" else key
    answer = client.post(f"/village/{HERE}/note", data=form, headers=headers)
    assert answer.status_code == status


def test_a_log_in_begins_a_session_of_its_own_and_ends_the_old_one(pages: Pages):
    client = pages.client()
    client.cookies.set("desalink", "planted-by-somebody")
    form = {"name": "viewer", "password": "a sentence of my own"}
    client.post("/login", data=form)
    first = client.cookies.get("desalink", domain="testserver.local")
    assert first and first != "planted-by-somebody"
    other = pages.client()
    other.cookies.set("desalink", first)
    assert other.get("/").status_code == 200
    other.post("/login", data={**form, "key": key_of(other)})
    planted = pages.client()
    planted.cookies.set("desalink", first)
    assert planted.get("/").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(pages: Pages):
    form = {"name": "viewer", "password": "a sentence of my own"}
    cookie = pages.client().post("/login", data=form).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "domain" not in cookie
    pages.site.__dict__["https"] = True
    cookie = pages.client().post("/login", data=form).headers["set-cookie"]
    assert cookie.startswith("__Host-desalink=") and "Secure" in cookie


def test_a_session_ends_when_it_is_idle_too_old_or_left(pages: Pages):
    client = pages.log_in("viewer")
    pages.clock.t += 11 * 3600
    assert client.get("/account").status_code == 200
    pages.clock.t += 13 * 3600
    assert client.get("/account").status_code == 303
    client = pages.log_in("viewer")
    for _ in range(16):
        pages.clock.t += 11 * 3600
        client.get("/account")
    assert client.get("/account").status_code == 303
    client = pages.log_in("viewer")
    token = client.cookies["desalink"]
    assert post(client, "/logout").headers["location"] == "/login"
    client.cookies.set("desalink", token)
    assert client.get("/account").status_code == 303


def test_an_account_is_locked_after_wrong_passwords_and_says_no_more_than_that(pages: Pages):
    client = pages.client()
    wrong = {"name": "viewer", "password": "not the right one"}
    right = {"name": "viewer", "password": "a sentence of my own"}
    answers = [client.post("/login", data=wrong) for _ in range(5)]
    unknown = client.post("/login", data={"name": "nobody there", "password": "x"})
    locked = client.post("/login", data=right)
    texts = {answer.text for answer in [*answers, unknown, locked]}
    assert len(texts) == 1 and {a.status_code for a in [*answers, locked]} == {403}
    pages.clock.t += 61
    assert client.post("/login", data=right).status_code == 303
    with pages.book() as book:
        entries = book.audit()
    assert [entry.action for entry in entries].count("login.refused") == 7


def test_one_address_can_not_try_one_account_after_the_other(pages: Pages):
    client = pages.client()
    for number in range(20):
        client.post("/login", data={"name": f"n{number}", "password": "x"})
    right = {"name": "viewer", "password": "a sentence of my own"}
    assert client.post("/login", data=right).status_code == 403


def test_a_body_that_is_too_large_or_broken_is_refused(shared: Pages):
    client = shared.of("operator")
    assert client.post("/login", content=b"a" * 70_000).status_code == 413
    many = "&".join(f"a{n}=1" for n in range(99))
    for body in (b"\xff\xfe=%zz", many.encode()):
        assert client.post(f"/village/{HERE}/note", content=body).status_code in (400, 403)


def test_a_file_of_the_province_is_never_written_by_the_pages(pages: Pages):
    before = {
        path.relative_to(pages.directory): path.read_bytes()
        for path in pages.directory.rglob("*")
        if path.is_file() and path.name != "pages.db"
    }
    client = pages.of("administrator")
    for path in ("/", "/outages", "/devices", "/quarantine", "/usage", f"/village/{HERE}"):
        assert client.get(path).status_code == 200
    post(client, f"/village/{HERE}/case", subject="x", began="")
    for name, content in before.items():
        assert (pages.directory / name).read_bytes() == content, name
