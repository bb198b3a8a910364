"""Ctrl-C before the agent runs ends it as quietly as later: there is nothing to end yet."""

import subprocess
from pathlib import Path

import pytest

from tests import support
from tests.support import ROOT, micropython, micropython_env, run_micropython, run_on

_SCRIPT = """
import sys
sys.argv[1:] = ["config.json"]
from agent import start
def build(path):
    {moment}
start.build = build
from agent import __main__
__main__.main()
print("ended")
"""


def _run(path: Path, interpreter: str, moment: str) -> tuple[int, str]:
    path.write_text(_SCRIPT.format(moment=moment))
    done = run_on(interpreter, path)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_an_interrupted_start_ends_quietly(tmp_path: Path, interpreter: str) -> None:
    assert _run(tmp_path / "start.py", interpreter, "raise KeyboardInterrupt") == (0, "ended\n")


@pytest.mark.parametrize("seen", ["return [path]", "raise KeyboardInterrupt"])
def test_an_interrupt_that_hits_the_collector_ends_quietly_too(tmp_path: Path, seen: str) -> None:
    """It leaves the heap locked, and may be seen as whatever could not be allocated then."""
    moment = "import micropython; micropython.heap_lock(); " + seen
    assert _run(tmp_path / "start.py", "micropython", moment) == (0, "ended\n")


@pytest.mark.parametrize("interpreter", ["cpython", "micropython"])
def test_a_start_that_finds_no_memory_is_no_interrupt(tmp_path: Path, interpreter: str) -> None:
    code, said = _run(tmp_path / "start.py", interpreter, 'raise MemoryError("none left")')
    assert code != 0 and "none left" in said


_RUNNING = """
import asyncio, micropython, sys
sys.argv[1:] = ["config.json"]
from agent import start
class App:
    async def run(self):
        asyncio.create_task(self.task())
        await asyncio.sleep(60)
    async def task(self):
        await asyncio.sleep_ms(20)  # the loop has polled once, and has what it needs for that
        micropython.heap_lock()
        {moment}
start.build = lambda path: App()
from agent import __main__
__main__.main()
print("ended")
"""


@pytest.mark.parametrize("moment", ["return [self]", "raise KeyboardInterrupt"])
def test_an_interrupt_that_a_task_has_swallowed_ends_it_all_the_same(
    tmp_path: Path, moment: str
) -> None:
    """In the locked heap that it leaves, the next allocation fails, and that error takes its
    place: whatever task it is of, the agent must not go on without it."""
    path = tmp_path / "running.py"
    path.write_text(_RUNNING.format(moment=moment))
    done = run_micropython(path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "ended\n")


_SUPERVISED = """
import asyncio, micropython, sys
sys.argv[1:] = ["config.json"]
from agent import start, supervise
class Part:
    wake = asyncio.Event()
    beat = 0
    def up(self):
        return 0
    def __getattr__(self, name):
        return lambda *_: 0
    async def run(self):
        await asyncio.sleep(3600)
    keep_network = next = run
    async def round(self):
        await asyncio.sleep_ms(20)  # the loop has polled once, and has what it needs for that
        micropython.heap_lock()
        {moment}
part = Part()
settings = {{
    "cadence.round_s": 10,
    "cadence.report_samples": 5,
    "cadence.quiet_samples": 0,
    "clock.source": "auto",
    "clock.ntp": [],
    "broker.resolvers": [],
}}
parts = [part] * 8
start.build = lambda path: supervise.Supervisor(*parts, settings)
from agent import __main__
__main__.main()
print("ended")
"""


@pytest.mark.parametrize("moment", ["return [self]", "raise KeyboardInterrupt"])
def test_an_interrupt_that_a_part_of_the_agent_has_swallowed_ends_it_all_the_same(
    tmp_path: Path, moment: str
) -> None:
    """The supervisor starts a part anew that has failed, but not in a locked heap, where it would
    fail for ever."""
    path = tmp_path / "supervised.py"
    path.write_text(_SUPERVISED.format(moment=moment))
    done = run_micropython(path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "ended\n")


_STARTING = """
import micropython, sys
for i in range({names}):
    setattr(sys.modules["agent"], "name%d" % i, i)
def build(path):
    micropython.heap_lock()
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("names", range(4))
def test_the_end_of_the_command_needs_no_memory_either(tmp_path: Path, names: int) -> None:
    """`-m agent` itself, whose last step is MicroPython's: it writes down what it has run."""
    agent = tmp_path / "agent"
    agent.mkdir()
    for path in (ROOT / "agent").iterdir():
        (agent / path.name).symlink_to(path)
    (agent / "start.py").unlink()
    # However full the package's dictionary is: it grows four places at a time.
    (agent / "start.py").write_text(_STARTING.format(names=names))
    done = subprocess.run(
        [micropython(), "-m", "agent", "config.json"],
        cwd=tmp_path,
        env={**micropython_env(), "MICROPYPATH": f"{tmp_path}:.frozen"},
        capture_output=True,
        text=True,
        timeout=2 * support.PATIENCE_S,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
