"""A province and a hub for every test of a technician's work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host_tools.field.provision import tree
from tests.host_tools.field.provision.rig import Hub, hub
from tests.host_tools.field.provision.tree import other_tree
from tests.host_tools.field.provision.world import World
from tests.support import shared_folder


@pytest.fixture(scope="session", autouse=True)
def _releases(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Releases are built by one worker for all of them."""
    tree.shared = shared_folder(tmp_path_factory)


@pytest.fixture(scope="session")
def _province(tmp_path_factory: pytest.TempPathFactory) -> World:
    with other_tree():
        return World(tmp_path_factory.mktemp("provision"))


@pytest.fixture
def world(_province: World, tmp_path: Path) -> Iterator[World]:
    """The province that all tests share, with a laptop of this test's own."""
    with other_tree():
        yield _province.with_laptop(tmp_path)


@pytest.fixture
def a_hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub without boards; other tests of this process get the real boards back."""
    with other_tree(), hub(tmp_path / "hub") as made:
        yield made
