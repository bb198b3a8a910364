"""The real menu on a terminal, from the kit to the file for the office."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from host_tools.office.importing import read_export
from tests.host_tools.field.menu.session import RealSession, whole_trip
from tests.host_tools.field.provision import launch
from tests.host_tools.field.provision.rig import Hub
from tests.host_tools.field.provision.world import VILLAGES, World


@pytest.mark.parametrize(
    "hidden", [{}, {launch.HIDE: "1", "USERNAME": "ani"}], ids=["posix", "no posix"]
)
def test_menu_alone_leads_from_the_kit_to_an_enrolled_device(
    world: World, a_hub: Hub, tmp_path: Path, hidden: dict[str, str]
) -> None:
    world.laptop = tmp_path / "new"
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "ani.desakit").write_bytes(world.kit_file.read_bytes())
    environment = world.environment(DESALINK_STICK=str(stick), **hidden)
    del environment["DESALINK_KIT_PASSPHRASE"]
    command = world.command("menu", "--port", a_hub.pattern)
    with contextlib.closing(RealSession(command, environment, world.place)) as session:
        whole_trip(session, world, a_hub.board())
    assert (stick / "labels.pdf").read_bytes().startswith(b"%PDF")
    (export,) = stick.glob("*.desalog")
    assert [r.slot for r in read_export(export.read_bytes(), export)] == [f"{VILLAGES[0]}-1"]


def test_menu_without_a_terminal_names_another_way(world: World) -> None:
    done = world.desalink("menu")
    assert done.returncode == 1 and "needs a terminal" in done.stderr
