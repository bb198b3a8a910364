"""Alerts on the pages, and the link in a message."""

import re

import pytest

from host_tools.alerts.records import FILE, Alert, open_records
from host_tools.alerts.tokens import make_token
from tests.host_tools.pages.conftest import NOW, VILLAGES, Pages, post


def link_of(pages: Pages, alert: int = 1) -> str:
    with open_records(pages.directory) as records:
        return f"/a/{make_token(records, alert)}"


def alert_of(pages: Pages, number: int = 1) -> Alert:
    with open_records(pages.directory) as records:
        found = records.alert(number)
    assert found is not None
    return found


def test_an_alert_shows_its_villages_and_who_was_sent_what(shared: Pages):
    client = shared.of("viewer")
    text = client.get("/alerts?state=all&since=30d").text
    assert text.count("the provider does not answer since") == 2 and "1 messages since" in text
    text = client.get("/alerts/1").text
    for word in ("Bohe Silian", "duty phone", "(the office):</b> Call", "sent", "critical"):
        assert word in text
    assert "a body with its link" not in text
    text = client.get("/alerts/2").text
    assert "not sent" in text and "refused &lt;script&gt;" in text
    failed = client.get("/alerts/messages?state=failed").text
    assert "1 rows" in failed and "a body with its link" not in failed
    rows = client.get("/api/v1/alerts?regency=6403").json()["rows"]
    assert [row["alert"] for row in rows] == ["1"]


def test_a_province_without_alerts_says_so(pages: Pages):
    for path in pages.directory.glob(f"{FILE}*"):
        path.unlink()
    client = pages.of("viewer")
    assert "nobody is alerted" in client.get("/alerts").text
    assert client.get("/alerts/messages").status_code == 200
    assert client.get("/alerts/1").status_code == client.get("/a/1-x").status_code == 404
    assert not (pages.directory / FILE).exists()


def test_an_operator_acknowledges_on_the_page_and_it_is_in_the_audit_log(pages: Pages):
    client = pages.of("operator")
    assert post(client, "/alerts/1").status_code == 303
    assert alert_of(pages).acked_by == "operator"
    text = client.get("/alerts/1").text
    assert "Acknowledged by operator" in text and "<button>Acknowledge" not in text
    with pages.book() as book:
        entry = next(e for e in book.audit() if e.action == "alert.acknowledge")
    assert (entry.who, entry.object) == ("operator", "alert 1")


def test_the_link_of_a_message_changes_nothing_until_its_button_is_pressed(pages: Pages):
    path, client = link_of(pages), pages.client()
    for method in ("HEAD", "GET", "GET"):
        answer = client.request(method, path)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert "Bohe Silian" in answer.text and alert_of(pages).acked_at is None
    assert client.post(path, data={"name": " "}).status_code == 400
    assert client.post(path, data={"name": "a\x00b"}).status_code == 400
    foreign = {"origin": "https://evil.example"}
    assert client.post(path, data={"name": "x"}, headers=foreign).status_code == 403
    assert alert_of(pages).acked_at is None
    assert client.post(path, data={"name": "Pak Budi"}).headers["location"] == path
    text = client.get(path).text
    assert "Acknowledged by Pak Budi (link)" in text and "<button>" not in text
    # It works once: nobody takes the alert over by it.
    client.post(path, data={"name": "somebody else"})
    assert alert_of(pages).acked_by == "Pak Budi (link)"
    with pages.book() as book:
        entries = [e for e in book.audit() if e.action == "alert.acknowledge"]
    assert [(e.who, e.object) for e in entries] == [("Pak Budi (link)", "alert 1")]


def test_somebody_who_is_logged_in_acknowledges_by_the_link_under_the_own_name(pages: Pages):
    client = pages.log_in("viewer")
    assert post(client, link_of(pages), name="somebody else").status_code == 303
    assert alert_of(pages).acked_by == "viewer"


@pytest.mark.parametrize("later", [-1, 1])
def test_a_link_ends_after_two_weeks(pages: Pages, later: int):
    path = link_of(pages)
    pages.clock.t = NOW - 2000 + 14 * 86400 + later
    answer = pages.client().get(path)
    assert answer.status_code == (200 if later < 0 else 403)
    assert ("Bohe Silian" in answer.text) is (later < 0)
    pages.client().post(path, data={"name": "late"})
    assert (alert_of(pages).acked_by is None) is (later > 0)


def test_the_link_of_an_alert_that_is_over_says_so(pages: Pages):
    with open_records(pages.directory) as records, records.transaction():
        records.close_alert(1, NOW - 90)
    text = pages.client().get(link_of(pages)).text
    assert "Over since" in text and "<button>" not in text


def test_links_can_not_be_guessed_one_after_the_other(pages: Pages):
    client, path = pages.client(), link_of(pages)
    other = re.sub("/a/1-", "/a/2-", path)
    for token in (other, "/a/1", "/a/-", "/a/%00", "/a/" + "9" * 5000):
        assert client.get(token).status_code == 404, token
    for _ in range(20):
        client.post(other, data={"name": "x"})
    assert client.get(path).status_code == 403
    assert alert_of(pages, 2).acked_at is None
    # Those who log in from there are not hindered.
    assert pages.log_in("viewer").get(f"/village/{VILLAGES[0]}").status_code == 200
