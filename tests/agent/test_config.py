"""The configuration: every mistake is named with its key."""

import json
from pathlib import Path

import pytest

from agent import config

GOOD = {
    "slot": "6403112001-1",
    "state_dir": "state",
    "broker": {"host": "localhost", "ca": "ca.pem", "cert": "client.pem", "key": "client.key"},
}


def load(tmp_path, change=None, text=None):
    data = json.loads(json.dumps(GOOD))
    for key, value in (change or {}).items():
        section, dot, name = key.partition(".")
        if dot:
            data.setdefault(section, {})[name] = value
        else:
            data[key] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(data) if text is None else text)
    return config.load(str(path))


def test_defaults_and_paths_beside_the_file(tmp_path):
    c = load(tmp_path)
    assert c["cadence.sample_s"] == 60
    assert c["state_dir"] == f"{tmp_path}/state"
    assert c["broker.ca"] == f"{tmp_path}/ca.pem"
    assert c["usage.leases"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slot": "6403112001"}, ["slot", "6403112001-1"]),
        ({"slot": "6403112001-01"}, ["slot"]),
        ({"slot": "64031120011-1"}, ["slot"]),
        ({"slot": 5}, ["slot", "got 5"]),
        ({"broker.port": "8883"}, ["broker.port", "integer from 1 to 65535", '"8883"']),
        ({"broker.port": True}, ["broker.port"]),
        ({"broker.port": 70000}, ["broker.port", "70000"]),
        ({"broker.prot": 8883}, ["broker.prot", "no such key"]),
        ({"colour": "red"}, ["colour", "no such key"]),
        ({"broker": "localhost"}, ["broker", "object"]),
        ({"link.targets": "1.1.1.1"}, ["link.targets", "list"]),
        ({"link.targets": [1]}, ["link.targets", "list"]),
        ({"cadence.sample_s": 5}, ["cadence.sample_s", "at least"]),
        ({"journal.capacity": 40000, "journal.segment": 16384}, ["journal.capacity", "three"]),
    ],
)
def test_a_mistake_names_file_key_and_what_was_expected(tmp_path, change, words):
    with pytest.raises(config.ConfigError) as e:
        load(tmp_path, change)
    for word in ["config.json", *words]:
        assert word in str(e.value)


def test_missing_key_and_broken_json_and_missing_file(tmp_path):
    with pytest.raises(config.ConfigError, match="broker.host is missing"):
        load(tmp_path, {"broker": {"ca": "a", "cert": "b", "key": "c"}})
    with pytest.raises(config.ConfigError, match="not valid JSON"):
        load(tmp_path, text='{"slot": ')
    with pytest.raises(config.ConfigError, match="expected an object"):
        load(tmp_path, text="[]")
    with pytest.raises(config.ConfigError, match="can't be read"):
        config.load(str(tmp_path / "none.json"))


def test_every_key_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()
    for key, *_ in config.keys():
        assert f"`{key}`" in page, key
