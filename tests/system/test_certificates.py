"""Certificates renewed from afar: real broker and ingest, real agents on both interpreters."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from host_tools.broker.revocation import write_crl
from host_tools.office.expiry import in_use
from host_tools.office.renewal import publish_certificates, renew_devices
from host_tools.province.registry import Registry
from host_tools.store import open_database
from host_tools.store.queries import certificates
from tests.world.plant import Plant

pytestmark = pytest.mark.slow

DEVICES = ("cpython", "micropython")
WITHIN = timedelta(days=9999)


def _shown(plant: Plant) -> dict[str, str]:
    with open_database(plant.province.database, readonly=True) as db:
        return certificates(db)


def _new_connections(plant: Plant) -> None:
    """Let each device connect anew, to a broker that has read the revocation list."""
    plant.stop_broker()
    plant.start_broker()


def _revoke(plant: Plant, registry: Registry, serials: list[str]) -> None:
    marks = ", ".join("?" * len(serials))
    registry.change(
        f"UPDATE certificates SET revoked_at = 1800000000 WHERE serial IN ({marks})", *serials
    )
    write_crl(plant.province, registry, plant.small.authority)


def test_devices_go_on_with_their_renewed_certificates(tmp_path: Path) -> None:
    with (
        Plant(tmp_path / "plant", DEVICES) as plant,
        Registry.open(plant.province.directory) as registry,
    ):
        plant.start()
        plant.wait_for_reports(2)
        old = registry.certificates_in_use()
        assert _shown(plant) == {slot: used.serial for slot, used in old.items()}
        done = renew_devices(plant.province, registry, plant.small.authority, WITHIN)
        assert len(done.renewed) == 2 and publish_certificates(plant.province, registry) == 2
        plant.wait_until(
            lambda: all("tried at the next" in agent.text for agent in plant.agents), "received"
        )
        assert in_use(registry, _shown(plant)) == []
        _new_connections(plant)
        plant.wait_until(
            lambda: all("new one is in use" in agent.text for agent in plant.agents), "in use"
        )
        renewed = {new.slot: new.serial for new in registry.renewals().values()}
        assert _shown(plant) == renewed
        assert set(in_use(registry, renewed)) == set(renewed)
        # The old ones are worth nothing now, and a restart changes nothing.
        _revoke(plant, registry, [used.serial for used in old.values()])
        for agent in plant.agents:
            agent.kill9()
        _new_connections(plant)
        for agent in plant.agents:
            agent.start()
        plant.wait_for_reports(2)
        assert _shown(plant) == renewed
        assert not any("certificate: refused" in agent.text for agent in plant.agents)


def test_devices_go_on_with_the_old_one_where_the_broker_refuses_the_new_one(
    tmp_path: Path,
) -> None:
    with (
        Plant(tmp_path / "plant", DEVICES) as plant,
        Registry.open(plant.province.directory) as registry,
    ):
        plant.start()
        plant.wait_for_reports(2)
        renew_devices(plant.province, registry, plant.small.authority, WITHIN)
        publish_certificates(plant.province, registry)
        plant.wait_until(
            lambda: all("tried at the next" in agent.text for agent in plant.agents), "received"
        )
        renewed = [new.serial for new in registry.renewals().values()]
        _revoke(plant, registry, renewed)
        _new_connections(plant)
        plant.wait_until(
            lambda: all("back to the old one" in agent.text for agent in plant.agents), "back"
        )
        plant.wait_for_reports(2)
        assert not set(_shown(plant).values()) & set(renewed)
