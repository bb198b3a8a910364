"""Rules for the whole suite: nothing is skipped for want of a program, nothing is left running."""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests import support

# Bytecode is kept, whatever this machine has set: without it each worker and each process that a
# test starts compiles everything again, which takes half of the time that collecting takes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Who runs the tests in the background of a shell has it ignored, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Neither deadlines nor `too_slow`: they test the machine. Examples are the same in every run, so
# that nobody is stopped by what somebody else has broken; DESALINK_TEST_RANDOM=1 tries new ones.
settings.register_profile(
    "desalink",
    deadline=None,
    derandomize="DESALINK_TEST_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("desalink")

# Sentences are compared in English, whatever the language of whoever runs the tests.
os.environ["DESALINK_LANG"] = "en"

# Every process started from here inherits this, however many parents die in between.
_MARK = "DESALINK_TEST_RUN"

# What takes longest, longest first. `make test` gives a file to a worker that is free: with these
# at the beginning all end at about the same time.
LONGEST = (
    "tests/host_tools/field/provision/test_whole.py",
    "tests/host_tools/field/provision/test_ssh.py",
    "tests/agent/measure/test_budget.py",
    "tests/agent/sources/test_source_agent.py",
    "tests/system/test_lost_journals.py",
    "tests/system/test_restored_database.py",
    "tests/system/test_broker_kills.py",
    "tests/host_tools/devices/test_release.py",
    "tests/agent/journal/test_journal_device.py",
    "tests/host_tools/field/provision/test_faults.py",
    "tests/agent/province/test_delivery_promise.py",
    "tests/system/test_ingest_kills.py",
    "tests/agent/sources/test_source_turns.py",
    "tests/host_tools/field/talk/test_talk.py",
    "tests/agent/wire/test_vectors.py",
    "tests/agent/sources/test_source_snmp.py",
    "tests/agent/province/test_certificate.py",
    "tests/host_tools/devices/test_openwrt.py",
    "tests/host_tools/people/test_kit_create.py",
    "tests/host_tools/cli/test_operator.py",
    "tests/host_tools/store/test_store_archiving.py",
    "tests/host_tools/derive/test_derive_findings.py",
    "tests/agent/wire/test_wire_emitted.py",
    "tests/agent/test_faults.py",
)


def pytest_sessionstart(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    try:
        support.mosquitto()
        support.micropython()
        support.mpy_cross()
    except support.Missing as missing:
        pytest.exit(str(missing), returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {support.ROOT / path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session", autouse=True)
def device_code_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """To make the agent's code as devices get it takes seconds: one worker does it for all."""
    # Not before bytecode is kept.
    from host_tools.devices import device_code
    from host_tools.devices.boards import all_boards
    from host_tools.devices.code import files
    from host_tools.devices.release import release_paths

    made = device_code.module_code

    def make(folder: Path) -> None:
        boards = [board for board in all_boards() if board.interpreter == "micropython"]
        paths = {path for board in boards for path in release_paths(board)}
        (folder / "code").write_bytes(pickle.dumps({path: made(path) for path in paths}))

    @cache
    def code() -> dict[str, str]:
        folder = support.made_once(tmp_path_factory, "device-code", make)
        found: dict[str, str] = pickle.loads((folder / "code").read_bytes())
        return found

    def module_code(path: str) -> str:
        return (files.ROOT == support.ROOT and code().get(path)) or made(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device_code, "module_code", module_code)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Fails where a test left a process behind: a broker, an agent, an ingest. Names the test."""
    run = uuid4().hex
    os.environ[_MARK] = run
    yield
    left = _processes_of(run)
    # What was asked to end may need a moment to do so.
    _, left = psutil.wait_procs(left, timeout=support.PATIENCE_S)
    culprits = []
    for process in left:
        try:
            environment, command = process.environ(), process.cmdline()
            process.kill()
        except psutil.Error:
            continue
        test = environment.get("PYTEST_CURRENT_TEST", "a fixture")
        culprits.append(f"{test} left process {process.pid} running: {' '.join(command)[:200]}")
    psutil.wait_procs(left, timeout=support.PATIENCE_S)
    if culprits:
        pytest.fail("\n".join(culprits), pytrace=False)


def _processes_of(run: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(_MARK) == run and process.pid != os.getpid()
            # Python's own helper, which ends with us.
            if ours and "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
