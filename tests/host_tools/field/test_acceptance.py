"""A site is measured, its sheet printed, and its figures come to the province."""

from __future__ import annotations

import json
from pathlib import Path

import cbor2
import pycddl
import pypdfium2
import pytest
from PIL import Image

from host_tools.field.enrolments import MeasuredSite
from host_tools.field.enrolments.site import site_shape
from host_tools.keys.signing import public_bytes
from host_tools.wire import verify_sign1
from host_tools.wire.shapes import NotValid
from tests import support
from tests.host_tools.conftest import PASSPHRASE
from tests.host_tools.field.provision.rig import Board, Hub
from tests.host_tools.field.provision.world import VILLAGES, World

CDDL = (support.ROOT / "docs" / "wire.cddl").read_text()
_DEAD = '["127.0.0.1:1"]'  # nobody listens there
SITE = MeasuredSite(120, 118, 117, 1, {6: 70, 9: 8, 12: -61}, "ok", {"snmp": True})


def _sheet(world: World, board: Board) -> str:
    """The text of the device's sheet, which has one page."""
    (path,) = (world.devices / board.mac.replace(":", "")).glob("*.pdf")
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1
        return str(document[0].get_textpage().get_text_range())


def _import(world: World) -> str:
    export = world.place / "trip.desalog"
    assert world.desalink("enrolments", "export", "-o", export).returncode == 0
    done = world.desalink(
        *("-C", world.province.directory, "enrolments", "import", export),
        DESALINK_PASSPHRASE=PASSPHRASE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trip_with_a_swap_ends_at_the_province_with_figures(tmp_path: Path, a_hub: Hub) -> None:
    """All with one kit, and without the office."""
    world = World(tmp_path / "own", chips=["esp32"], villages=VILLAGES[3:4])
    photo = tmp_path / "tiang.jpg"
    Image.new("RGB", (640, 480), "green").save(photo)
    first, second = a_hub.board(), a_hub.board()
    interface = ("--set", "usage.interface", "lo")
    done = world.provision(
        *(first.plug(), VILLAGES[3], "--site", "--measure", 2, "--photo", photo, *interface),
        offline=False,
    )
    assert done.returncode == 0, done.stderr
    assert "acceptance-6403112004-1.pdf" in done.stdout and "call the office" in done.stdout
    (record,) = world.log.records()
    assert record.site is not None
    assert record.site.state == 1 and record.site.rounds == record.site.up >= 1
    assert record.site.province == "no_broker" and record.site.usage == {"Interface": True}
    payload = verify_sign1(
        record.raw, public_bytes(world.kit.technician_key), b"desa/1/enrolments"
    )[0]
    pycddl.Schema(f"start = enrolment-record\n{CDDL}").validate_cbor(payload)
    text = _sheet(world, first)
    for shown in (
        "Teluk Harapan",
        "6403112004-1",
        "TERSAMBUNG / CONNECTED",
        record.device.hex().upper(),
    ):
        assert shown in text, text
    assert "Pejabat desa" in text

    # The board breaks; its successor comes from the same box, and its site is accepted later.
    done = world.provision(second.plug(), VILLAGES[3], "--replace")
    assert done.returncode == 0, done.stderr
    done = world.desalink("device", "accept", second.port, "--measure", 1, timeout=120)
    assert done.returncode == 0, done.stderr
    records = world.log.records()
    assert [r.replaces for r in records] == [None, record.device, None]
    assert records[1].site is None and records[2].site is not None
    assert records[2].device == records[1].device != record.device

    assert "has taken over" in _import(world)
    shown = world.desalink("-C", world.province.directory, "devices", "list", "--all", "--json")
    sites = {device["device"]: device["site"] for device in json.loads(shown.stdout)}
    assert sites[record.device.hex()]["state"] == "up"
    assert sites[records[2].device.hex()]["figures"]["loss"] == 0


def test_a_site_without_uplink_is_accepted_as_what_it_is(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    done = world.provision(
        *(board.plug(), VILLAGES[0], "--site", "--measure", 1, "--set", "link.targets", _DEAD),
        offline=False,
        DESALINK_LANG="id",
    )
    assert done.returncode == 0, done.stderr
    assert "hubungi penyedia" in done.stdout
    assert "NOT CONNECTED" in _sheet(world, board)
    (record,) = world.log.records()
    assert record.site is not None and record.site.as_json()["state"] == "provider"
    world.check_done(board)


def test_what_is_no_photograph_is_refused_before_anything_is_done(
    world: World, a_hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    port = a_hub.board().plug()
    done = world.provision(port, VILLAGES[0], "--site", "--photo", tmp_path / "notes.txt")
    assert done.returncode == 1 and "notes.txt" in done.stderr
    done = world.provision(port, VILLAGES[0], "--photo", tmp_path / "notes.txt")
    assert done.returncode == 2 and "--site" in done.stderr


def test_a_measured_site_survives_its_record() -> None:
    assert site_shape(cbor2.loads(cbor2.dumps(SITE.table()))) == SITE
    assert SITE.as_json()["figures"] == {"rtt_min": 35.0, "loss": 0.8, "signal": -61}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in (1, 2, 3, 4) for value in (None, -1, True, "x")),
        (3, 119),
        (5, None), (5, {6: None}), (5, {"6": 1}), (5, {6: 2**60}),
        (6, ""), (6, "x" * 41), (7, {1: True}), (7, {"snmp": 1}),
    ],
)  # fmt: skip
def test_a_malformed_site_is_refused(key: int, value: object) -> None:
    with pytest.raises(NotValid):
        site_shape({**SITE.table(), key: value})
