"""A province and a hub for every test of provisioning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.devices import boards, release
from tests.host_tools.field.provision.rig import Hub, hub
from tests.host_tools.field.provision.world import World


@pytest.fixture(scope="session")
def _province(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = boards._FOLDER, release._ROOT
    yield World(tmp_path_factory.mktemp("provision"))
    boards._FOLDER, release._ROOT = before


@pytest.fixture
def world(_province: World, tmp_path: Path) -> Iterator[World]:
    """The province that all tests share, with a laptop of this test's own."""
    before = boards._FOLDER, release._ROOT
    yield _province.with_laptop(tmp_path)
    boards._FOLDER, release._ROOT = before


@pytest.fixture
def a_hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub without boards."""
    with hub(tmp_path / "hub") as made:
        yield made
