"""A province for every test that wants one: founded once, copied for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from host_tools.broker import client, revocation
from host_tools.broker.config import write_config
from host_tools.broker.process import BrokerProcess
from host_tools.keys import private_keys
from host_tools.keys.ca import Authority
from host_tools.office.founding import found_province
from host_tools.people.kits import seal
from host_tools.province import registry_file
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, load
from tests import support
from tests.world.evidencing import PASSPHRASE, signing_registry

ROUNDS, COST = private_keys.ROUNDS, seal.COST


@pytest.fixture(scope="session", autouse=True)
def cheap_keys() -> Iterator[None]:
    """Keys and kits that are opened without the cost that protects real ones."""
    private_keys.ROUNDS, seal.COST = 1, 14
    yield
    private_keys.ROUNDS, seal.COST = ROUNDS, COST


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """A busy machine fails no test: an answer of a broker or a database may take its time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client, "TIMEOUT_S", support.PATIENCE_S)
        patched.setattr(revocation, "RELOAD_TIMEOUT_S", support.PATIENCE_S)
        patched.setattr(registry_file, "PATIENCE_S", support.PATIENCE_S)
        yield


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """East Kalimantan as `desalink init` makes it; only to be read."""
    # A blank in the path: configuration files must cope with it.
    directory = tmp_path_factory.mktemp("founded") / "east kalimantan"
    found_province(directory, "64", PASSPHRASE, bind="127.0.0.1")
    return directory


@pytest.fixture
def kaltim(founded: Path, tmp_path: Path) -> Province:
    """A copy of it, to be changed at will, whose broker has a port of its own."""
    directory = tmp_path / "east kalimantan"
    shutil.copytree(founded, directory)
    settings = directory / "province.toml"
    settings.write_text(
        settings.read_text().replace("port = 8883", f"port = {support.free_port()}")
    )
    province = load(directory)
    write_config(province)
    return province


@pytest.fixture
def registry(kaltim: Province) -> Iterator[Registry]:
    """Its opened registry."""
    with signing_registry(kaltim) as registry:
        yield registry


@pytest.fixture
def authority(kaltim: Province) -> Authority:
    """Its opened CA."""
    return Authority.load(kaltim.ca_key, kaltim.ca_certificate, PASSPHRASE)


@dataclass
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def desalink(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `desalink` in this process, through its real entry."""
    from host_tools.cli import main

    monkeypatch.setenv("DESALINK_PASSPHRASE", PASSPHRASE)
    monkeypatch.delenv("DESALINK_DIR", raising=False)
    monkeypatch.delenv("DESALINK_DEBUG", raising=False)
    monkeypatch.setenv("LANGUAGE", "")  # desalink sets it for click

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        assert "Traceback" not in captured.err, captured.err
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@contextmanager
def running_broker(province: Province) -> Iterator[BrokerProcess]:
    """The province's own broker with its files as they are now, as `desalink broker run`."""
    process = BrokerProcess(province)
    with (province.directory / "broker.log").open("wb") as log:
        process.start(841, stderr=log)
        try:
            process.wait_ready(support.PATIENCE_S)
            yield process
        finally:
            process.stop(support.PATIENCE_S)


@pytest.fixture
def broker(kaltim: Province) -> Iterator[BrokerProcess]:
    with running_broker(kaltim) as process:
        yield process
