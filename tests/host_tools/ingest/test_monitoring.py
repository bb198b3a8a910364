"""The files for Prometheus and Grafana ask only for what the ingest serves."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from host_tools.ingest.metrics import Figures
from host_tools.store.size import Size
from tests.support import ROOT

MONITORING = ROOT / "docs" / "monitoring"


def served() -> set[str]:
    registry = CollectorRegistry()
    registry.register(Figures(disk=Size(1, 1, 1, 1, 1, 1)))
    page = generate_latest(registry).decode()
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}


def expressions(name: str) -> list[str]:
    text = (MONITORING / name).read_text()
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return re.findall(r"^\s+expr: (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["prometheus.yml", "grafana.json"])
def test_every_series_that_is_asked_for_is_served(name: str) -> None:
    asked = [re.findall(r"desalink_\w+", each) for each in expressions(name)]
    assert len(asked) >= 7
    assert set().union(*asked) <= served()


def test_every_verb_that_an_alert_names_exists() -> None:
    named = re.findall(r"'desalink ([a-z]+)", (MONITORING / "prometheus.yml").read_text())
    for verb in {*named} - {"alerts"}:
        assert (ROOT / "host_tools" / "cli" / f"{verb}.py").exists()
    assert "status" in named
