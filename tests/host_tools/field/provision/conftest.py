"""A province and a hub for every test of provisioning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.devices import boards, release
from tests.host_tools.field.provision.rig import Hub, hub
from tests.host_tools.field.provision.world import World


@pytest.fixture(scope="session")
def _province(tmp_path_factory: pytest.TempPathFactory) -> World:
    before = boards._FOLDER, release._ROOT
    made = World(tmp_path_factory.mktemp("provision"))
    boards._FOLDER, release._ROOT = before
    return made


@pytest.fixture(autouse=True)
def _own_boards() -> Iterator[None]:
    """Other tests of this process get the real boards back."""
    before = boards._FOLDER, release._ROOT
    yield
    boards._FOLDER, release._ROOT = before


@pytest.fixture
def world(_own_boards: None, _province: World, tmp_path: Path) -> World:
    """The province that all tests share, with a laptop of this test's own."""
    return _province.with_laptop(tmp_path)


@pytest.fixture
def a_hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub without boards."""
    with hub(tmp_path / "hub") as made:
        yield made
