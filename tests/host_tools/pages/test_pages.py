"""What people see on the pages, and find again as a table."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from agent.wire import ids
from host_tools.contracts.calendar import month_of
from host_tools.contracts.closing import close
from host_tools.pages import wall
from host_tools.pages.drawing import strip
from host_tools.pages.outlines import read_outlines
from host_tools.pages.records import PagesError
from host_tools.pages.site import PagesSite
from host_tools.province.contract_records import ContractEvent
from host_tools.province.registry import Registry
from host_tools.states.table import GROUPS
from host_tools.store import open_database
from host_tools.store.sessions import save_alive
from tests.host_tools.pages.conftest import HOSTILE, NOW, VILLAGES, Pages, post
from tests.world.devices import Device, ordinary
from tests.world.evidencing import signing_registry

DAY = 86400


def test_the_wall_shows_every_slot_with_its_state_and_its_last_day(shared: Pages):
    text = shared.of("viewer").get("/").text
    for code in VILLAGES:
        box = re.search(rf'<a id="b{code}-1" class="box (\w+)"[^>]*>.*?</a>', text)
        assert box and box[1] in GROUPS and "<svg" in box[0]
        assert f'id="m{code}"' in text
    assert "4 of 841 villages have a device." in text
    assert re.search(r"<b>\d</b> up</a> <small>[±+-]\d", text)
    assert re.search(r"<time>\d\d:\d\d</time>.*down: provider", text)
    for name in ("IndiHome", "Icon+", "Starlink"):
        assert name in text
    assert 'data-live="/live?version=' in text


SQUARE = [[114, -2], [119, -2], [119, 3], [114.001, 3], [114, 3], [114, -2]]
AREA = {"type": "Polygon", "coordinates": [SQUARE]}


def geojson(*geometries: object) -> str:
    features = [{"type": "Feature", "properties": {}, "geometry": its} for its in geometries]
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_the_map_draws_the_outlines_of_a_file_and_names_its_source(pages: Pages):
    path = pages.directory / "borders.geojson"
    path.write_text(geojson(AREA, None, {"type": "MultiPolygon", "coordinates": [[SQUARE]]}))
    its = replace(pages.site.settings, outlines=path.name, outlines_source=f"(c) {HOSTILE}")
    site = PagesSite(replace(pages.site.province, pages=its), pages.clock)
    client = Pages(site, pages.clock).of("viewer")
    text = client.get("/").text
    drawn = re.search(r'<path class="outline" d="([^"]+)"', text)
    # From corner to corner in pixels; a point beside another one is left out.
    square = "M12 628l616 0l0 -616l-616 0l0 616"
    assert drawn and drawn[1] == square * 2
    assert "(c) &lt;script&gt;" in text
    some = client.get("/?regency=6403").text
    assert 'class="outline"' in some and square not in some
    site.close()


def test_outlines_are_simplified_until_they_are_few_enough(tmp_path: Path):
    wide = [[100 + n / 3000, n % 2 / 50] for n in range(60_000)]
    path = tmp_path / "x.geojson"
    path.write_text(geojson({"type": "LineString", "coordinates": wide}))
    (line,) = read_outlines(path)
    assert 300 < len(line) <= 5000


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[]", "null", "[" * 100_000, '{"type": "FeatureCollection"}', "\x00\x00"),
        geojson(),
        geojson({"type": "Circle", "coordinates": [1, 2]}),
        geojson({"type": "Polygon", "coordinates": 5}),
        geojson({"type": "Polygon", "coordinates": [[["a", "b"]]]}),
        geojson({"type": "Polygon", "coordinates": [[[1]]]}),
        geojson({"type": "LineString", "coordinates": [[1, float("nan")]]}),
        geojson({"type": "LineString", "coordinates": [[10**400, 1]]}),
        geojson({"type": "LineString", "coordinates": [[683920.5, 9876543.1]]}),
    ],
    ids=lambda content: content[80:110],
)
def test_what_is_no_map_is_refused_in_a_sentence(tmp_path: Path, content: str):
    path = tmp_path / "x.geojson"
    path.write_text(content)
    with pytest.raises(PagesError, match="outlines of the map"):
        read_outlines(path)
    for other in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(PagesError, match="outlines of the map"):
            read_outlines(other)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("regency=6403", {0, 1}),
        ("provider=Starlink", {2}),
        ("regency=6403&provider=Starlink", set()),
        ("state=up", {0, 1, 2, 3}),
        ("state=power", set()),
    ],
)
def test_filters_of_the_wall_are_in_the_address(shared: Pages, query: str, shown: set[int]):
    text = shared.of("viewer").get(f"/?{query}").text
    assert {n for n, code in enumerate(VILLAGES) if f'id="b{code}-1"' in text} == shown


def test_our_own_faults_outrank_all(pages: Pages):
    client = pages.of("viewer")
    assert "has not been running" not in client.get("/").text
    pages.clock.t = NOW + 600
    pages.site.watcher.look()
    text = client.get("/").text
    assert "The ingest has not been running since" in text
    assert text.index("The ingest has not") < text.index('class="counts"')
    with open_database(pages.directory / "province.db") as db, db.transaction():
        save_alive(db, NOW + 590, connected=False)
    pages.site.watcher.look()
    assert "no connection to the broker since" in client.get("/").text
    assert "no connection to the broker since" in client.get("/alerts").text
    with open_database(pages.directory / "province.db") as db, db.transaction():
        save_alive(db, NOW + 590, connected=True)
        db.execute("UPDATE latest SET received_at = ? WHERE slot_id = 1", (NOW + 9000,))
    pages.site.watcher.look()
    text = client.get("/").text
    # One device whose clock is ahead says nothing of the server's.
    assert "The device of " in text and "a clock that is ahead of ours" in text
    assert "The clock of this server is wrong" not in text
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute("UPDATE latest SET received_at = ?", (NOW + 9000,))
    pages.site.watcher.look()
    assert "The clock of this server is wrong" in client.get("/").text


def test_a_village_says_why_it_is_down_and_what_to_do(pages: Pages):
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute(
            "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, evidence, "
            "t_begin, interrupted) VALUES (1, 9, 9, 5, 1, 0, '[[4,0],[5,1]]', ?, 0)",
            (NOW - 300,),
        )
    text = pages.of("operator").get(f"/village/{VILLAGES[0]}").text
    assert 'class="state provider"' in text
    assert "Call IndiHome: the village&#39;s router answers, but nothing beyond it does." in text
    assert "gateway: " in text and "lasts" in text
    for name in ("7d", "30d", "year"):
        its = pages.of("operator").get(f"/village/{VILLAGES[0]}?range={name}").text
        assert its.count("<svg") >= 3 and "Down" not in its[:200]


def test_a_strip_holds_what_was_and_says_where_nothing_is_known():
    drawn = str(strip([(10, 50, "up"), (50, 60, "provider")], 0, 100, 100))
    assert 'class="strip up"' in drawn or 'class="strip nodata"' in drawn
    assert 'class="provider" d="M50 0h10v6H50z"' in drawn
    assert str(strip([], 0, 100)).startswith('<svg class="strip nodata"')


def test_a_case_goes_from_an_outage_to_its_cause(pages: Pages, monkeypatch):
    client = pages.of("operator")
    text = client.get(f"/village/{VILLAGES[0]}?range=7d").text
    began = re.search(r'name="began" value="(\d+)"', text)
    assert began
    path = f"/village/{VILLAGES[0]}/case"
    first = post(client, path, subject="down: provider", began=began[1]).headers["location"]
    # Two people who press it at once work on one case.
    again = post(client, path, subject="the same", began=began[1]).headers["location"]
    assert first == again
    for action, more in (
        ("acknowledge", {}),
        ("assign", {"assigned": "Icon+ technician"}),
        ("comment", {"text": "called at noon"}),
        ("close", {"cause": "cable", "text": "a buffalo"}),
    ):
        assert post(client, first, action=action, **more).status_code == 303, action
    assert post(client, first, action="close", cause="cable").status_code == 400
    text = client.get(first).text
    for word in ("acknowledged", "Icon+ technician", "called at noon", "a cable or plug"):
        assert word in text
    assert first not in client.get("/cases").text
    assert f'href="{first}"' in client.get("/cases?state=closed").text
    assert f'href="{first}"' in client.get(f"/village/{VILLAGES[0]}?range=7d").text
    post(client, first, action="reopen")
    assert first in client.get("/cases").text
    assert first in client.get("/cases?assigned=icon").text
    assert first not in client.get("/cases?assigned=sri").text
    # Older cases follow on the next page.
    post(client, path, subject="another")
    monkeypatch.setattr("host_tools.pages.listing.SHOWN", 1)
    text = client.get("/cases?regency=6403").text
    older = re.search(r'<a href="([^"]+)">Older ones', text)
    assert first not in text and older
    assert first in client.get(older[1].replace("&amp;", "&")).text


def test_notes_and_contacts_stay_until_they_are_withdrawn(pages: Pages):
    client = pages.of("operator")
    post(client, f"/village/{VILLAGES[0]}/note", kind="contact", text="Pak RT 0812")
    assert "Pak RT 0812" in pages.of("viewer").get(f"/village/{VILLAGES[0]}").text
    number = re.search(r'name="number" value="(\d+)"', client.get(f"/village/{VILLAGES[0]}").text)
    assert number
    post(client, f"/village/{VILLAGES[0]}/note/withdraw", number=number[1])
    assert "Pak RT 0812" not in client.get(f"/village/{VILLAGES[0]}").text


def test_a_village_in_maintenance_says_until_when(pages: Pages):
    events = [
        ("a", "maintenance", "regency", "6403", NOW - 600, NOW + 7200, "a new mast"),
        ("b", "dispute", "village", VILLAGES[0], NOW - 9 * DAY, NOW - 8 * DAY, HOSTILE),
        ("c", "maintenance", "provider", "Starlink", NOW + DAY, NOW + 2 * DAY, "later"),
    ]
    with signing_registry(pages.site.province) as registry:
        for *what, why in events:
            registry.add_contract_event(ContractEvent(*what, "Sri", why, NOW - 10 * DAY))
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute(
            "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, t_begin, "
            "interrupted) VALUES (1, 9, 9, 5, 1, 0, ?, 0)",
            (NOW - 300,),
        )
    client = pages.of("viewer")
    text = client.get(f"/village/{VILLAGES[0]}").text
    assert "Wait: maintenance is announced until 2026-" in text
    assert "a new mast" in text and "&lt;script&gt;" in text and "later" not in text
    assert "Wait: maintenance" not in client.get(f"/village/{VILLAGES[1]}").text
    assert "later" in client.get(f"/village/{VILLAGES[2]}").text
    assert client.get("/").text.count("; maintenance until 2026-") == 2
    rows = client.get("/api/v1/maintenance").json()["rows"]
    assert [(row["id"], row["place"]) for row in rows] == [
        ("c", "provider Starlink"),
        ("a", "regency 6403"),
    ]
    assert client.get("/maintenance?state=all&format=csv").text.count("Sri") == 3


def test_the_outages_of_a_village_name_their_cases(pages: Pages):
    client = pages.of("operator")
    query = f"/api/v1/outages?village={VILLAGES[1]}&since=9d"
    first, *others = client.get(query).json()["rows"]
    assert others and {row["village"] for row in others} == {VILLAGES[1]}
    assert first["begin"] >= others[-1]["begin"] and first["case"] is None
    page = client.get(f"/village/{VILLAGES[1]}?range=30d").text
    began = re.findall(r'name="began" value="(\d+)"', page)[0]
    post(client, f"/village/{VILLAGES[1]}/case", subject="x", began=began)
    assert [r["case"] for r in client.get(query).json()["rows"] if r["case"]] == [1]
    assert '<a href="/cases/1">1</a>' in client.get("/outages?since=9d").text


def test_villages_without_any_usage_are_found_first_on_request(pages: Pages):
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute("DELETE FROM usage_days WHERE slot_id = 3")
    rows = pages.of("viewer").get("/api/v1/usage?order=least").json()["rows"]
    assert rows[0]["village"] == VILLAGES[2] and rows[0]["bytes_down"] is None
    sums = [row["bytes_down"] + row["bytes_up"] for row in rows[1:]]
    assert len(sums) == 3 and sums == sorted(sums)
    most = pages.of("viewer").get("/api/v1/usage").json()["rows"]
    assert most[-1]["village"] == VILLAGES[2]


def test_what_was_measured_in_a_village_is_there_as_a_table(pages: Pages):
    client = pages.of("viewer")
    for range_, step in (("7d", 3600), ("30d", DAY)):
        path = f"/village/{VILLAGES[0]}/usage?range={range_}"
        rows = list(csv.DictReader(io.StringIO(client.get(f"{path}&format=csv").text[1:])))
        times = [datetime.fromisoformat(row["begin"]).timestamp() for row in rows]
        assert len(rows) > 5 and times[0] - times[1] == step
        assert f"{len(rows)} rows" in client.get(path).text
    device = Device(now=NOW - 900)
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute(
            "INSERT INTO reports VALUES (1, 1, 1, 1, 0, NULL, ?, ?)",
            (NOW - 60, device.report(ordinary())),
        )
        db.execute(
            "INSERT INTO pieces (stream_id, boot, chunk, slot_id, t_begin, t_end, clockless, "
            "ahead, received_at) VALUES (1, 1, 0, 1, ?, ?, 0, 0, ?)",
            (NOW - 900, NOW - 600, NOW - 60),
        )
    text = client.get(f"/village/{VILLAGES[0]}/link?format=csv").text
    (row,) = csv.DictReader(io.StringIO(text[1:]))
    assert row["slot"] == f"{VILLAGES[0]}-1" and float(row["rtt_mean"]) > 1 and not row["voltage"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("maratua", True), ("64.03.11.2001", True), ("serial2", True), ("zzzz", False)],
)
def test_search_finds_names_codes_districts_and_serials(shared: Pages, wanted: str, found: bool):
    answer = shared.of("viewer").get(f"/search?q={wanted}")
    if answer.status_code == 303:
        assert answer.headers["location"] == "/village/6403112001"
    else:
        assert ('href="/village/' in answer.text) is found


def test_a_span_of_time_counts_back_from_the_pages_own_clock(pages: Pages):
    client = pages.of("viewer")
    assert client.get("/api/v1/outages?since=3d").json()["rows"]
    pages.clock.t += 5 * DAY
    assert pages.log_in("viewer").get("/api/v1/outages?since=3d").json()["rows"] == []
    assert client.get("/outages?since=soon").status_code in (303, 400)


def test_older_outages_follow_on_the_next_page_without_a_hole(pages: Pages, monkeypatch):
    monkeypatch.setattr("host_tools.pages.listing.SHOWN", 5)
    client = pages.of("viewer")
    seen, path = [], "/outages?since=30d"
    while path:
        text = client.get(path).text
        seen += re.findall(r'<td class="t">([\d: -]+)<td class="t">', text)
        more = re.search(r'<a href="([^"]+)">Older ones', text)
        path = more[1].replace("&amp;", "&") if more else ""
    whole = client.get("/api/v1/outages?since=30d&format=csv").json()["rows"]
    assert {row["begin"][:16].replace("T", " ") for row in whole} == set(seen)


@pytest.mark.parametrize("name", ["villages", "outages", "devices", "providers", "usage", "cases"])
def test_a_list_is_the_same_as_a_page_a_table_and_a_workbook(shared: Pages, name: str):
    client = shared.of("viewer")
    rows = list(csv.reader(io.StringIO(client.get(f"/{name}?format=csv").text.lstrip("\ufeff"))))
    answer = client.get(f"/{name}?format=xlsx")
    assert f'filename="{name}.xlsx"' in answer.headers["content-disposition"]
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0]
    book = [["" if c is None else str(c) for c in row] for row in sheet.values]
    assert [len(row) for row in book] == [len(row) for row in rows]
    assert book[0] == rows[0]
    text = client.get(f"/{name}").text
    assert f"{len(rows) - 1} rows" in text


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        ("24h", "Round-trip time, highest: 43.4 ms"),
        ("7d", "Round-trip time, highest: 43.4 ms"),
        ("30d", "Round-trip time, highest (one report in 4): 43.4 ms"),
        ("year", "older ones are in the archive"),
    ],
)
def test_round_trip_times_are_drawn_over_each_time(pages: Pages, range_: str, said: str):
    day = 600 if range_ == "30d" else 60
    device = Device(now=NOW - day * 300 - 300)
    messages = [device.report({**ordinary(), ids.VOLTAGE: [1210] * 5}) for _ in range(day)]
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.executemany(
            "INSERT INTO reports VALUES (?, 1, ?, 1, 0, NULL, ?, ?)",
            [(seq, seq, NOW - 60, message) for seq, message in enumerate(messages, 1)],
        )
        db.executemany(
            "INSERT INTO pieces (stream_id, boot, chunk, slot_id, t_begin, t_end, clockless, "
            "ahead, received_at) VALUES (1, 1, ?, 1, ?, ?, 0, 0, ?)",
            [(chunk, NOW - 99_999, NOW - 99, NOW - 60) for chunk in range(day // 16 + 1)],
        )
    text = pages.of("viewer").get(f"/village/{VILLAGES[0]}?range={range_}").text
    assert said in text and re.search(r'class="line" d="M[\d. ]+L', text)
    assert ("Supply voltage: 12.10 V" in text) is (range_ != "30d")


def test_devices_in_trouble_are_found_by_what_is_wrong_with_them(pages: Pages):
    device = Device(now=NOW - 400)
    message = device.report({**ordinary(), ids.VOLTAGE: [1200, 1140, None]})
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute("INSERT INTO reports VALUES (9, 1, 9, 1, 0, NULL, ?, ?)", (NOW, message))
        db.execute("UPDATE latest SET journal_fill = 800 WHERE slot_id = 2")
        db.execute(
            "INSERT INTO findings (kind, slot_id, stream_id, first_seq, last_seq, found_at) "
            "VALUES ('future_clock', 3, 3, 1, 1, ?)",
            (NOW,),
        )
    client = pages.of("viewer")
    rows = {row["slot"][:10]: row for row in client.get("/api/v1/devices").json()["rows"]}
    assert rows[VILLAGES[0]]["voltage"] == 11.4 and rows[VILLAGES[1]]["voltage"] is None
    assert rows[VILLAGES[2]]["clock"] == "ahead of ours" and rows[VILLAGES[0]]["clock"] == "right"
    assert rows[VILLAGES[0]]["firmware"] == rows[VILLAGES[0]]["agent"] == HOSTILE
    for trouble, found in (
        ("voltage", {0}),
        ("journal", {1}),
        ("clock", {2}),
        ("gaps", {0, 1, 2, 3}),
        ("certificate", set()),
        ("nonsense", set()),
    ):
        rows = client.get(f"/api/v1/devices?trouble={trouble}").json()["rows"]
        assert {row["village"] for row in rows} == {VILLAGES[n] for n in found}, trouble
    for name in ("board", "agent", "firmware"):
        known = client.get("/api/v1/devices", params={name: HOSTILE}).json()["rows"]
        assert len(known) == 4
        assert client.get("/api/v1/devices", params={name: "other"}).json()["rows"] == []


def closed_month(pages: Pages) -> None:
    with (
        signing_registry(pages.site.province) as registry,
        open_database(pages.directory / "province.db") as db,
    ):
        close(registry, db, month_of("2026-10"), by="office", now=NOW)


def test_a_closed_month_is_downloaded_as_it_was_closed_and_verified(pages: Pages):
    closed_month(pages)
    client = pages.of("viewer")
    text = client.get("/months").text
    assert "2026-10" in text and "verified" in text
    answer = client.get("/months/2026-10/1/figures.json")
    with Registry.open(pages.directory) as registry:
        assert answer.content == registry.closed_months()[0].figures
    assert json.loads(answer.content)["month"] == "2026-10"
    assert VILLAGES[0] in client.get("/months/2026-10/1").text
    with Registry.open(pages.directory) as registry:
        import zlib

        registry.change("UPDATE closed_months SET figures = ?", zlib.compress(b'{"slots":[]}'))
    pages.clock.t += 20
    pages.site.watcher.look()
    assert "damaged" in client.get("/months").text


def test_the_public_page_shows_availability_and_no_counts_of_people(pages: Pages):
    closed_month(pages)
    nobody = pages.of("nobody")
    text = nobody.get("/public").text
    assert VILLAGES[0] in text and "2026-10" in text
    for word in ("Restitution", "Price", "IndiHome", "Users"):
        assert word not in text
    assert nobody.get("/public?month=1999-01").status_code == 404


def test_both_languages_numbers_and_times_included(shared: Pages):
    client = shared.client()
    form = {"name": "viewer", "password": "a sentence of my own"}
    client.post("/login", data=form)
    english = client.get("/").text
    indonesian = client.get("/?lang=id")
    assert '<html lang="en">' in english and '<html lang="id">' in indonesian.text
    assert "lang=id" in indonesian.headers["set-cookie"]
    assert '<html lang="id">' in client.get("/villages").text
    assert "tersambung" in indonesian.text
    assert "WITA" in indonesian.text


def test_a_page_that_is_kept_is_made_again_when_something_changes(pages: Pages):
    client = pages.of("viewer")
    before = client.get("/villages").text
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute(
            "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, t_begin, "
            "interrupted) VALUES (1, 9, 9, 4, 1, 0, ?, 0)",
            (NOW - 200,),
        )
    assert client.get("/villages").text == before
    pages.site.watcher.look()
    assert 'class="state site"' in client.get("/villages").text


@pytest.mark.parametrize("path", ["/", "/account", "/api/v1/villages", "pages.css"])
def test_an_answer_is_packed_for_those_who_can_unpack_it(shared: Pages, path: str):
    path = shared.site.asset_names.get(path, path)
    client = shared.of("viewer")
    plain = client.get(path, headers={"accept-encoding": "identity"})
    packed = client.get(path, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


def test_a_backup_that_was_put_back_is_what_the_pages_show(pages: Pages):
    client = pages.of("viewer")
    assert "IndiHome" in client.get("/devices").text and client.get("/outages").status_code == 200
    for name in ("registry.db", "province.db"):
        path = pages.directory / name
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").replace(path)
    with signing_registry(pages.site.province) as registry:
        registry.place_villages([(VILLAGES[0], None, None, "Bestcamp")])
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute("DELETE FROM outages")
    pages.site.watcher.look()
    text = client.get("/devices").text
    assert "Bestcamp" in text and "IndiHome" not in text
    assert "0 rows" in client.get("/outages").text


def test_each_part_that_changes_by_itself_has_its_element_on_the_page(shared: Pages):
    text = shared.of("viewer").get("/").text
    snapshot = shared.site.watcher.newest()
    for name, part in wall.parts(snapshot).items():
        assert f'id="{name}"' in text and f'id="{name}"' in part
    assert HOSTILE not in "".join(wall.parts(snapshot).values())


def test_pages_work_before_anything_was_ever_measured(pages: Pages):
    for path in pages.directory.glob("province.db*"):
        path.unlink()
    fresh = Pages(type(pages.site)(pages.site.province, pages.clock), pages.clock)
    for path in ("/", "/villages", "/outages", "/devices", "/usage", "/quarantine", "/months"):
        assert fresh.of("viewer").get(path).status_code == 200, path
    assert fresh.of("viewer").get(f"/village/{VILLAGES[0]}").status_code == 200
    fresh.site.close()
