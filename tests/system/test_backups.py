"""The whole province lost and put back from a backup, with real broker, ingest and agents."""

from __future__ import annotations

import shutil
from pathlib import Path

from host_tools.broker.revocation import apply_revocations, is_refused
from host_tools.office.backup import make_backup
from host_tools.office.restore import restore
from host_tools.province.settings import TlsFiles
from tests.system.audit import audit
from tests.world.killed import count_steps, killed_at
from tests.world.plant import Agent, Plant

_DEVICES = ("micropython", "cpython")
_MORE = 4


def _revoke(plant: Plant, agent: Agent) -> None:
    """As `desalink devices revoke` does it."""
    with plant.small.open_registry() as registry:
        (device,) = registry.keys_for_slot(agent.slot)
        registry.revoke(device.kid, by="test")
        registry.revoke_certificates(agent.slot)
        assert apply_revocations(plant.province, registry, plant.small.authority)


def _refused(plant: Plant, agent: Agent) -> bool:
    folder = agent.folder
    identity = TlsFiles(folder / "ca.pem", folder / "client.pem", folder / "client.key")
    return is_refused(plant.province, identity, plant.province.broker.port)


def test_a_lost_province_is_restored_and_the_devices_go_on(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        directory = plant.province.directory
        plant.start()
        plant.wait_for_reports(2)
        # Killed at some steps, then made, while broker and ingest work.
        backups = tmp_path / "backups"
        backups.mkdir()
        total = count_steps(lambda: make_backup(plant.province, tmp_path / "first.tar"))
        for step in range(1, total - 5, 7):
            assert killed_at(step, lambda: make_backup(plant.province, backups))
            assert not list(backups.glob("*.tar"))
        backup = make_backup(plant.province, backups).path
        plant.wait_for_reports(_MORE)
        plant.ingest.kill9()
        plant.kill_broker(forget=True)
        shutil.rmtree(directory)

        def run() -> None:
            restore(backup, directory)

        total = count_steps(run)
        shutil.rmtree(directory)
        for step in range(5, total, 25):
            assert killed_at(step, run)
            assert not directory.exists()
        run()
        assert len(plant.missing()) >= _MORE * len(_DEVICES)
        plant.start_broker()
        plant.ingest.start()
        plant.wait_for_reports(1)
        plant.finish()
        audit(plant)


def test_a_device_that_was_revoked_since_stays_outside(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", ("cpython", "cpython")) as plant:
        gone, stays = plant.agents
        plant.start()
        plant.wait_for_reports(2)
        backup = make_backup(plant.province, tmp_path / "backup.tar").path
        plant.settle()
        _revoke(plant, gone)
        plant.ingest.stop()
        plant.stop_broker()
        done = restore(backup, plant.province.directory, replace_existing=True)
        assert (done.revocations, done.unlisted) == (2, 0)
        plant.start_broker()
        plant.ingest.start()
        assert _refused(plant, gone) and not _refused(plant, stays)
        stays.start()
        plant.wait_for_reports(2, [stays])
        plant.wait_until(lambda: not [key for key in plant.missing() if key[0] == stays.slot])
