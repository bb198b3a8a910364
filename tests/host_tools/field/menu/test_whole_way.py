"""The real menu on a terminal, from the kit to the file for the office."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.office.importing import read_export
from tests.host_tools.field.menu.session import RealSession
from tests.host_tools.field.provision import launch
from tests.host_tools.field.provision.rig import Hub
from tests.host_tools.field.provision.world import KIT_PASSPHRASE, VILLAGES, World


@pytest.fixture
def sessions() -> Iterator[list[RealSession]]:
    started: list[RealSession] = []
    yield started
    for session in started:
        session.shut_down()


@pytest.mark.parametrize(
    "hidden", [{}, {launch.HIDE: "1", "USERNAME": "ani"}], ids=["", "no posix"]
)
def test_menu_alone_leads_from_the_kit_to_an_enrolled_device(
    world: World, a_hub: Hub, tmp_path: Path, sessions: list[RealSession], hidden: dict[str, str]
) -> None:
    world.laptop = tmp_path / "new"
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "ani.desakit").write_bytes(world.kit_file.read_bytes())
    session = RealSession(
        *(world, "--port", a_hub.pattern),
        **hidden,
        DESALINK_KIT=str(world.laptop),
        DESALINK_STICK=str(stick),
    )
    sessions.append(session)
    session.expect("Open the kit")
    session.press("\r")
    session.expect("Which kit?")
    session.press("\r")
    session.expect("passphrase")
    session.press(f"{KIT_PASSPHRASE}\r")
    session.expect("Enter: back to the menu.")
    session.press("\r")
    session.expect("0 of 8 devices are set up")
    board = a_hub.board()
    board.plug()
    session.press("3")
    session.expect("Which village?")
    session.press(f"{VILLAGES[0]}\r")
    session.expect("desalink provision --village")
    session.press("\r")
    session.expect("Enter: back to the menu.")
    assert "is ready" in session.text
    world.check_done(board)
    session.press("\r")
    session.expect("1 of 8 devices are set up")
    session.press("5")
    session.expect("1 of 8 slots have their device.")
    session.press("\r")
    session.expect("What is left to do")
    session.press("6")
    session.expect("Where to write the sheet")
    session.press("\r")
    session.expect("print it at 100 %")
    assert (stick / "labels.pdf").read_bytes().startswith(b"%PDF")
    session.press("\r")
    session.expect("Hand the enrolments over")
    session.press("7")
    session.expect("file for the office")
    session.press("\r")
    session.expect("bring or send it to the province")
    session.press("\r")
    session.expect("Esc end")
    session.press("\x1b")
    assert session.end() == 0
    (export,) = stick.glob("*.desalog")
    assert [r.slot for r in read_export(export.read_bytes(), export)] == [f"{VILLAGES[0]}-1"]


def test_menu_without_a_terminal_names_another_way(world: World) -> None:
    done = world.desalink("menu")
    assert done.returncode == 1 and "needs a terminal" in done.stderr
