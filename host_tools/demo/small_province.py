"""A small province of real parts on this machine, for the demo, the tests and the lab.

It is founded here, and its devices are enrolled here. Those who use it decide which processes run,
and what happens to them.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from host_tools.broker.process import BrokerProcess
from host_tools.keys.ca import Authority
from host_tools.office.enrol import enrol_here
from host_tools.office.founding import found_province
from host_tools.people.office_pen import open_office
from host_tools.province.registry import Registry, slot_name

CODE = "64"


class SmallProvince:
    """Founded in `folder/province`; each device has a folder of its slot's name beside it.

    Attributes:
        province, authority: what was founded, and its opened CA.
        broker: its broker, started or not.
    """

    def __init__(
        self,
        folder: Path,
        villages: Sequence[str],
        *,
        port: int,
        bind: str = "127.0.0.1",
        hosts: Sequence[str] = ("localhost",),
        passphrase: str | None = None,
    ) -> None:
        """
        Args:
            villages: their codes.
            port, bind, hosts: of the broker.
            passphrase: of the keys; None: a random one that nobody needs to know.
        """
        self._passphrase = passphrase = passphrase or secrets.token_urlsafe(24)
        self.folder = folder
        self.villages = villages
        self.province, _ = found_province(
            folder / "province",
            CODE,
            passphrase,
            hosts=hosts,
            port=port,
            bind=bind,
            only_villages=villages,
        )
        province = self.province
        self.authority = Authority.load(province.ca_key, province.ca_certificate, passphrase)
        self.broker = BrokerProcess(province)

    def open_registry(self) -> Registry:
        """Its registry, which signs what is changed."""
        registry = Registry.open(self.province.directory)
        open_office(self.province, registry, self._passphrase)
        return registry

    def device_folder(self, code: str) -> Path:
        """Where the device of a village has its configuration and state."""
        return self.folder / slot_name(code, 1)

    def enrol(
        self, code: str, interpreter: str, settings: Mapping[str, Any]
    ) -> tuple[str, tuple[str, ...]]:
        """Make a village's device and enrol it.

        Returns:
            The village's name, and the command that starts the agent.
        """
        with self.open_registry() as registry:
            village = registry.village(code)
            assert village is not None
            done = enrol_here(
                self.province,
                registry,
                village,
                1,
                self.device_folder(code),
                open_authority=lambda: self.authority,
                by="demo",
                interpreter=interpreter,
                settings=settings,
            )
        return village.name, done.command

    def start_broker(self, log: Path) -> None:
        """Start the broker and wait until it listens.

        Raises:
            BrokerError: it does not.
        """
        with log.open("ab") as out:
            self.broker.start(len(self.villages), stderr=out)
        self.broker.wait_ready()

    def _command(self, *arguments: str) -> list[str]:
        """`desalink` by this very interpreter, installed as a command or not."""
        start = "from host_tools.cli import main; main()"
        return [sys.executable, "-c", start, "-C", str(self.province.directory), *arguments]

    def ingest_command(self) -> list[str]:
        return self._command("ingest")

    def serve_command(self, port: int) -> list[str]:
        return self._command("serve", "--port", str(port))
