"""Accounts: from the verb that makes one to the tokens of programs."""

import html
import re
from pathlib import Path

import pyotp
import pytest

from host_tools.office.backup import make_backup
from tests.host_tools.conftest import Run
from tests.host_tools.pages.conftest import PASSWORD, VILLAGES, Pages, key_of, post

NEW = "another sentence of mine"


def first_password(text: str) -> str:
    found = re.search(r"first password: (\S+)", text) or re.search(r"<code>([^<]+)</code>", text)
    assert found, text
    return html.unescape(found[1])


def test_a_new_account_sets_a_password_of_its_own_before_it_sees_anything(
    pages: Pages, desalink: Run
):
    made = desalink("-C", pages.directory, "accounts", "add", "Sri", "--regency", "Berau")
    assert made.code == 0 and "Sri" in desalink("-C", pages.directory, "accounts", "list").out
    client = pages.log_in("sri", first_password(made.out))
    for path in ("/", "/outages", "/accounts"):
        assert client.get(path).headers["location"] == "/account"
    assert client.get("/live").status_code == 401
    old, answer = first_password(made.out), None
    for new, again, status in (
        ("short", "short", 400),
        ("sri " * 9, "sri " * 9, 400),
        (NEW, NEW + "x", 400),
        (NEW, NEW, 303),
    ):
        answer = post(client, "/account/password", old=old, new=new, again=again)
        assert answer.status_code == status, new
    assert client.get("/").status_code == 200
    pages.log_in("SRI", NEW)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "viewer"), "an account 'viewer' already"),
        (("add", "x", "--role", "operator"), "An operator needs a regency"),
        (("add", " "), "A name has 1 to"),
        (("add", "a/b"), "no slash"),
        (("add", "x", "--regency", "Atlantis"), "no such regency"),
        (("password", "nobody"), "There is no account 'nobody'"),
    ],
)
def test_an_account_that_can_not_be_made_is_told_in_a_sentence(
    pages: Pages, desalink: Run, arguments: tuple[str, ...], sentence: str
):
    ended = desalink("-C", pages.directory, "accounts", *arguments)
    assert ended.code == 1 and sentence in ended.err


def test_a_disabled_account_is_out_at_once_and_may_come_back(pages: Pages, desalink: Run):
    client = pages.log_in("viewer")
    desalink("-C", pages.directory, "accounts", "disable", "viewer")
    assert client.get("/").status_code == 303
    form = {"name": "viewer", "password": PASSWORD}
    assert pages.client().post("/login", data=form).status_code == 403
    desalink("-C", pages.directory, "accounts", "disable", "viewer", "--undo")
    assert pages.client().post("/login", data=form).status_code == 303


def test_an_administrator_makes_resets_and_disables_accounts(pages: Pages):
    admin = pages.of("administrator")
    assert post(admin, "/accounts", name="Budi", role="operator").status_code == 400
    made = post(admin, "/accounts", name="Budi", role="operator", r6403="1")
    assert made.status_code == 200
    budi = pages.log_in("Budi", first_password(made.text))
    again = post(admin, "/accounts/Budi", action="reset")
    assert budi.get("/account").status_code == 303
    password = first_password(again.text)
    assert pages.log_in("Budi", password).get("/account").status_code == 200
    post(admin, "/accounts/Budi", action="role", role="operator", r6401="1")
    with pages.book() as book:
        account = book.account("budi")
        assert account is not None and account.regencies == ("6401",)
    post(admin, "/accounts/Budi", action="disable")
    form = {"name": "Budi", "password": password}
    assert pages.client().post("/login", data=form).status_code == 403
    assert post(admin, "/accounts/administrator", action="disable").status_code == 403
    log = admin.get("/audit").text
    for action in ("account.add", "account.reset", "account.role", "account.disable"):
        assert action in log


def test_a_password_change_ends_all_other_sessions(pages: Pages):
    other, client = pages.log_in("viewer"), pages.log_in("viewer")
    wrong = post(client, "/account/password", old="wrong one", new=NEW, again=NEW)
    assert wrong.status_code == 403 and other.get("/").status_code == 200
    post(client, "/account/password", old=PASSWORD, new=NEW, again=NEW)
    assert other.get("/").status_code == 303 and client.get("/").status_code == 200


def test_a_one_time_code_is_asked_for_and_works_once(pages: Pages):
    client = pages.log_in("viewer")
    shown = post(client, "/account/codes").text
    found = re.search(r'name="secret" value="([A-Z2-7]+)"', shown)
    assert found and "<svg" in shown
    totp = pyotp.TOTP(found[1])

    def code() -> str:
        return totp.at(int(pages.clock.t))

    assert (
        post(client, "/account/codes/confirm", secret=found[1], code="000000").status_code == 400
    )
    assert post(client, "/account/codes/confirm", secret="AAAA", code=code()).status_code == 400
    first = code()
    post(client, "/account/codes/confirm", secret=found[1], code=first)
    form = {"name": "viewer", "password": PASSWORD}
    assert pages.client().post("/login", data=form).status_code == 403
    assert pages.client().post("/login", data={**form, "code": first}).status_code == 403
    pages.clock.t += 30
    pages.log_in("viewer", code=code())
    # A phone's clock may be off by half a minute.
    pages.clock.t += 60
    pages.log_in("viewer", code=totp.at(int(pages.clock.t) - 30))
    pages.clock.t += 60
    client = pages.log_in("viewer", code=code())
    pages.clock.t += 30
    assert post(client, "/account/codes/off", old=PASSWORD, code=code()).status_code == 303
    pages.log_in("viewer")


def test_programs_read_with_a_token_until_it_is_revoked(pages: Pages):
    client = pages.log_in("viewer")
    token = first_password(post(client, "/account/tokens", name="grafana").text)
    program = pages.client()
    headers = {"authorization": f"Bearer {token}"}
    assert program.get("/api/v1/status").status_code == 401
    assert program.get("/api/v1/status", headers=headers).json()["villages"] == 841
    # A token opens the API, not the pages.
    assert program.get("/", headers=headers).status_code == 303
    found = program.get("/api/v1/villages", headers=headers).json()["rows"]
    assert [row["village"] for row in found] == sorted(VILLAGES)
    described = program.get("/api/v1/openapi.json", headers=headers).json()
    assert described["openapi"] == "3.1.0"
    for path in described["paths"]:
        answer = program.get(path.replace("{code}", VILLAGES[0]), headers=headers)
        assert answer.status_code == 200, path
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        schema = content[answer.headers["content-type"]]["schema"]
        found = answer.json()
        assert schema["type"] == ("array" if isinstance(found, list) else "object")
        fields = schema.get("properties", {})
        for row in found["rows"] if "rows" in found else []:
            assert set(row) == set(fields["rows"]["items"]["properties"]), path
    number = re.search(r'name="number" value="(\d+)"', client.get("/account").text)
    assert number
    post(client, "/account/tokens/revoke", number=number[1])
    assert program.get("/api/v1/status", headers=headers).status_code == 401
    token = first_password(post(client, "/account/tokens", name="another").text)
    headers = {"authorization": f"Bearer {token}"}
    assert program.get("/api/v1/status", headers=headers).status_code == 200
    post(pages.of("administrator"), "/accounts/viewer", action="reset")
    assert program.get("/api/v1/status", headers=headers).status_code == 401


def test_accounts_are_in_the_backup(pages: Pages, tmp_path: Path):
    pages.of("viewer")
    backup = make_backup(pages.site.province, tmp_path)
    assert backup.manifest.rows["pages.db"]["accounts"] == 3
    assert {"pages.db", "province.db", "registry.db"} <= set(backup.manifest.files)


def test_what_changed_is_in_the_audit_log_with_who_and_from_where(pages: Pages):
    post(pages.of("operator"), f"/village/{VILLAGES[0]}/note", kind="note", text="called Pak RT")
    with pages.book() as book:
        entry = book.audit()[0]
    assert (entry.who, entry.action, entry.object) == ("operator", "note.add", VILLAGES[0])
    assert entry.detail == "called Pak RT" and entry.address == "testclient"
    assert key_of(pages.of("operator"))
