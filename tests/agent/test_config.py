"""The configuration: every mistake is named with its key."""

import importlib
import json
from pathlib import Path

import pytest

from agent import config
from host_tools.wire import vocabulary
from tests import support
from tests.bench.agent_ram import mpy_sizes

GOOD = {
    "slot": "6403112001-1",
    "state_dir": "state",
    "broker": {"host": "localhost", "ca": "ca.pem", "cert": "client.pem", "key": "client.key"},
}


def load(tmp_path, change=None, text=None):
    data = json.loads(json.dumps(GOOD))
    for key, value in (change or {}).items():
        section, dot, name = key.partition(".")  # "usage.snmp" for a whole section
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
        ({"cadence.quiet_samples": 3}, ["cadence.quiet_samples", "0 or at least"]),
        ({"budget.month_mb": -1}, ["budget.month_mb", "integer from 0"]),
        ({"throughput.kb": 10}, ["throughput.kb", "integer from 32"]),
        ({"throughput.url": "http://a/b"}, ["budget.month_mb is missing, which throughput.url"]),
        ({"journal.capacity": 40000, "journal.segment": 16384}, ["journal.capacity", "three"]),
    ],
)
def test_a_mistake_names_file_key_and_what_was_expected(tmp_path, change, words):
    with pytest.raises(config.ConfigError) as e:
        load(tmp_path, change)
    for word in ["config.json", *words]:
        assert word in str(e.value)


def test_a_release_without_checks_reads_the_same(tmp_path):
    mpy_sizes(tmp_path / "release", ("-O3",))
    assert not [*tmp_path.rglob("expected.*"), *tmp_path.rglob("cbor_general.*")]
    change = {"broker.port": 1, "usage.leases": "leases", "usage.snmp": {"host": "router"}}
    settings = {key: value for key, value in load(tmp_path, change).items() if key != "nearby"}
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[2]); from agent import config;"
        "c = config.load(sys.argv[1]); c.pop('nearby');"
        "c['usage'] = [module.__name__ for module in c['usage']];"
        "print(config.__file__); print(json.dumps(c))"
    )
    said = support.run_micropython(
        script, tmp_path / "config.json", tmp_path / "release", check=True
    ).stdout
    file, answer = said.splitlines()
    assert file.endswith(".mpy")
    assert json.loads(answer) == settings | {"usage": ["agent.sources.snmp"]}


SECTIONS = {
    "wifi": {"interfaces": ["wlan0"]},
    "snmp": {"host": "192.168.1.1"},
    "ubus": {"url": "http://192.168.1.1", "password": ""},
    "mikrotik": {"url": "https://router", "ca": "router.pem"},
    "opennds": {"socket": "nds.sock"},
    "starlink": {"host": "192.168.100.1"},
    "unique": {"most": 500},
}


def test_a_source_is_read_and_loaded_only_where_its_section_is_there(tmp_path):
    c = load(tmp_path)
    assert c["usage"] == []
    assert not [key for key in c if key.startswith("usage.snmp")]
    c = load(tmp_path, {"usage.snmp": SECTIONS["snmp"], "usage.wifi": None})
    assert [module.__name__ for module in c["usage"]] == ["agent.sources.snmp"]
    assert (c["usage.snmp.host"], c["usage.snmp.port"]) == ("192.168.1.1", 161)
    assert not [key for key in c if key.startswith("usage.wifi")]


def test_sources_come_in_their_order_whatever_the_file_s(tmp_path):
    sections = {f"usage.{name}": section for name, section in reversed(SECTIONS.items())}
    c = load(tmp_path, sections)
    names = [module.__name__.removeprefix("agent.sources.") for module in c["usage"]]
    assert names == list(SECTIONS)
    assert c["usage.ubus.password"] == ""
    assert c["usage.mikrotik.ca"] == f"{tmp_path}/router.pem"
    assert c["usage.opennds.socket"] == f"{tmp_path}/nds.sock"


def test_micropython_loads_no_source_that_is_not_configured(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GOOD | {"usage": {"starlink": SECTIONS["starlink"]}}))
    script = (
        "import sys; from agent import config; config.load(sys.argv[1]);"
        "print(sorted(m for m in sys.modules if m.startswith('agent.sources.')))"
    )
    said = support.run_micropython(script, path, check=True).stdout
    loaded = {"counter", "http2", "protobuf", "source", "starlink"}
    assert said.strip() == str([f"agent.sources.{name}" for name in sorted(loaded)])


@pytest.mark.parametrize(
    ("name", "section", "words"),
    [
        ("snmp", {}, ["usage.snmp.host is missing", "a text of 1 to 253"]),
        ("snmp", {"host": 5}, ["usage.snmp.host", "got 5"]),
        ("snmp", {"host": "h", "prot": 1}, ["usage.snmp.prot", "no such key"]),
        ("snmp", {"host": "h", "port": {"a": 1}}, ["usage.snmp.port", "integer from 1 to 65535"]),
        ("snmp", "h", ["usage.snmp: expected an object"]),
        ("wifi", {"interfaces": []}, ["usage.wifi.interfaces", "a list of 1 to 8"]),
        ("wifi", {"interfaces": "wlan0"}, ["usage.wifi.interfaces", "list"]),
        ("unique", {"most": 0}, ["usage.unique.most", "integer from 1 to 4096"]),
        ("snpm", {"host": "h"}, ["usage.snpm", "no such source"]),
        ("interface", {"name": "eth0"}, ["usage.interface", "a text of 1 to 15"]),
    ],
)
def test_a_mistake_in_a_source_names_the_whole_key(tmp_path, name, section, words):
    with pytest.raises(config.ConfigError) as e:
        load(tmp_path, {f"usage.{name}": section})
    for word in ["config.json", *words]:
        assert word in str(e.value)


@pytest.mark.parametrize("key", ["auth_password", "priv_password", "community"])
def test_a_secret_is_not_quoted(tmp_path, key):
    with pytest.raises(config.ConfigError) as e:
        load(tmp_path, {"usage.snmp": {"host": "h", key: "s3cr3t" * 20}})
    assert f"usage.snmp.{key}: expected a text of" in str(e.value)
    assert "s3cr3t" not in str(e.value)


def test_missing_key_and_broken_json_and_missing_file(tmp_path):
    with pytest.raises(config.ConfigError, match="broker.host is missing"):
        load(tmp_path, {"broker": {"ca": "a", "cert": "b", "key": "c"}})
    with pytest.raises(config.ConfigError, match="expected a file of valid JSON"):
        load(tmp_path, text='{"slot": ')
    with pytest.raises(config.ConfigError, match="expected an object"):
        load(tmp_path, text="[]")
    with pytest.raises(config.ConfigError, match="can't be read"):
        config.load(str(tmp_path / "none.json"))


def test_every_key_is_documented():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "agent.md").read_text()
    for key, *_ in config.keys():
        assert f"`{key}`" in page, key
    page = (docs / "measuring.md").read_text()
    for name in SECTIONS:
        for key, *_ in config.keys(importlib.import_module(f"agent.sources.{name}").KEYS):
            assert f"`{key}`" in page, key


def test_every_metric_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text()
    for metric in vocabulary.METRICS:
        assert f"`{metric.name}`" in page, metric.name
