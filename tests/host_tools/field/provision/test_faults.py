"""Cables that are pulled and laptops that die: run again, it ends in the same state."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest

from host_tools.field.provision.flow import STEPS
from tests.host_tools.field.provision.rig import Board, Cut, Hub
from tests.host_tools.field.provision.world import VILLAGES, World


def _writing_the_key(board: Board) -> Cut:
    board.slow = True
    half = board.files / "device" / "device.key.new"
    return Cut("app", 0, b"start.enrol(", lambda: half.exists() and half.stat().st_size > 0)


CUTS: dict[str, Callable[[Board], Cut]] = {
    "connecting": lambda board: Cut("boot", 10),
    "loading the stub": lambda board: Cut("boot", 3_000),
    "flashing": lambda board: Cut("boot", 50_000),
    "the end of flashing": lambda board: Cut("boot", 88_000),
    "starting": lambda board: Cut("app", 1),
    "the first file": lambda board: Cut("app", 4_000),
    "a file": lambda board: Cut("app", 40_000),
    "the configuration": lambda board: Cut("app", 200, b"config.json.part"),
    "asking for a key": lambda board: Cut("app", 0, b"start.enrol("),
    "writing the key": _writing_the_key,
    "the key's proof": lambda board: Cut(
        "app", 0, b"start.enrol(", lambda: (board.files / "device" / "device.key").exists()
    ),
    "the first report": lambda board: Cut(
        "app", 0, b"first_report(", lambda: any((board.files / "device/journal").glob("*"))
    ),
    "the release": lambda board: Cut("app", 0, b"os.remove('/device/provisioning')"),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", CUTS)
def test_cable_is_pulled(world: World, a_hub: Hub, moment: str) -> None:
    board = a_hub.board()
    board.cut = CUTS[moment](board)
    first = world.provision(board.plug())
    board.wait_unplugged()
    assert first.returncode == 1, first.stdout
    lines = first.stderr.strip().splitlines()
    assert len(lines) == 1 and ("plug" in lines[0] or "cable" in lines[0]), first.stderr

    second = world.provision(board.plug())
    assert second.returncode == 0, second.stderr
    world.check_done(board)


def test_interrupt_says_how_to_go_on(world: World, a_hub: Hub) -> None:
    board = a_hub.board(paced=True)  # flashing takes its time
    command = world.command(
        *("provision", "--village", VILLAGES[0], "--port", board.plug(), "--offline")
    )
    with subprocess.Popen(
        command, env=world.environment(), stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while "firmware: running" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert err.strip() == "Interrupted. Run the same command again: it continues where it stopped."


# In the middle of a step; after each one, see test_one_board_through_every_death.
KILLS = ["flash:half", "install:half", "key:begun", "enrol:begun", "label:begun"]


def test_laptop_is_killed_in_the_middle_of_each_step(world: World, a_hub: Hub) -> None:
    """Each run gets beyond the step in which the one before has died."""
    board = a_hub.board()
    port = board.plug()
    for moment in (*KILLS, ""):
        done = world.provision(port, die=moment)
        if "No chip answers" in done.stderr:
            # No DTR resets an emulated chip: on a busy machine it may wait for the rest of what
            # the dead process wrote. As with a real one, the sentence says what to do: plug it in
            # anew.
            board.pull()
            board.wait_unplugged()
            port = board.plug()
            done = world.provision(port, die=moment)
        assert done.returncode == (-signal.SIGKILL if moment else 0), done.stderr
        board.wait_left_alone()
    world.check_done(board)


@pytest.mark.slow
def test_one_board_through_every_death(world: World, a_hub: Hub) -> None:
    """The same laptop dies after each step in turn, and the cable is pulled in between."""
    board = a_hub.board("esp32c3")
    port = board.plug()
    for step in STEPS[1:]:
        site = ("--site", "--measure", 1) if step == "site" else ()
        died = world.provision(port, VILLAGES[0], *site, die=step)
        assert died.returncode == -signal.SIGKILL, died.stderr
        board.pull()
        board.wait_unplugged()
        port = board.plug()
    done = world.provision(port)
    assert done.returncode == 0, done.stderr
    world.check_done(board)


def test_garbled_rates_are_left_for_a_slower_one(world: World, a_hub: Hub) -> None:
    board = a_hub.board(max_baud=230_400)
    done = world.provision(board.plug())
    assert done.returncode == 0, done.stderr
    world.check_done(board)
