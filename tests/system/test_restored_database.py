"""The province's database put back from an older backup: what it lacks is sent again."""

from pathlib import Path

from host_tools.province.registry_copies import copy_database
from tests.system.audit import audit
from tests.world.plant import Plant

_DEVICES = ("micropython", "cpython")
# So many reports are acknowledged; a device may drop them after that.
_ACKNOWLEDGED = 9


def _backup(plant: Plant, tmp_path: Path) -> bytes:
    """A backup that lacks what has been acknowledged since."""
    plant.start()
    plant.wait_for_reports(2)
    copy_database(plant.province.database, tmp_path / "backup.db")
    plant.wait_for_reports(_ACKNOWLEDGED)
    return (tmp_path / "backup.db").read_bytes()


def test_what_a_backup_lacks_is_sent_again(tmp_path: Path) -> None:
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        backup = _backup(plant, tmp_path)
        plant.ingest.stop()
        plant.put_back_database(backup)
        assert len(plant.missing()) >= _ACKNOWLEDGED * len(_DEVICES)
        plant.ingest.start()
        plant.wait_for_storage()
        # And if there is no backup at all.
        plant.wait_for_reports(1)
        plant.ingest.stop()
        plant.put_back_database(None)
        assert len(plant.missing()) == len(plant.accepted())
        plant.ingest.start()
        plant.wait_for_reports(1)
        # Nothing new has to happen at a device: the ingest asks on its own start.
        plant.settle()
        for agent in plant.agents:
            agent.configure({"cadence.sample_s": 3600, "cadence.round_s": 60})
            agent.start()
        plant.wait_until(lambda: all(agent.connected for agent in plant.agents), "connected")
        plant.ingest.stop()
        plant.put_back_database(backup)
        journaled = len(plant.accepted())
        assert len(plant.missing()) >= _ACKNOWLEDGED * len(_DEVICES)
        plant.ingest.start()
        plant.wait_for_storage()
        assert len(plant.accepted()) == journaled
        plant.finish()
        audit(plant)


def test_a_backup_put_back_while_agents_and_broker_were_killed(tmp_path: Path) -> None:
    """The devices remember only what they wrote down: that the province had it all."""
    with Plant(tmp_path / "plant", _DEVICES) as plant:
        backup = _backup(plant, tmp_path)
        plant.settle()
        plant.ingest.kill9()
        plant.kill_broker(forget=True)
        plant.put_back_database(backup)
        plant.start_broker()
        for agent in plant.agents:
            agent.start()
        plant.wait_for_journals(1)
        plant.ingest.start()
        plant.restart_randomly(plant.agents, kills=6, longest_s=1.0)
        plant.wait_for_storage()
        plant.finish()
        audit(plant)
