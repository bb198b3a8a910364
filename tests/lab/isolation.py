"""A world of one's own: the laboratory runs in private network, mount and process namespaces.

Whatever happens to it (Ctrl-C, kill -9, a bug), the kernel ends every process and removes every
interface, rule and mount with it: nothing can be left behind, and nothing outside is ever touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

INSIDE = "DESALINK_LAB_INSIDE"
PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "mosquitto": "mosquitto",
}
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """Path of a program, also of those that only root's PATH has."""
    return shutil.which(name, path=SEARCH_PATH) or name


def _unshare() -> list[str]:
    command = [program("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child"]
    command += ["--mount-proc"]
    return command if os.geteuid() == 0 else [*command, "--map-root-user"]


def obstacle() -> str | None:
    """Why the laboratory can't run on this machine, in a sentence; None if it can."""
    if not sys.platform.startswith("linux"):
        return "The laboratory needs Linux: it is built of network namespaces."
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        return f"Programs are missing ({', '.join(missing)}): install the packages {packages}."
    rules = "add table ip t; add chain ip t c; add rule ip t c numgen random mod 2 0 drop"
    steps = (
        f"{program('ip')} link add left0 type veth peer name right0",
        f"{program('nft')} '{rules}'",
        "mount -t sysfs none /sys",
    )
    test = subprocess.run(
        [*_unshare(), "sh", "-c", " && ".join(steps)], capture_output=True, text=True, timeout=30
    )
    if test.returncode:
        words = (test.stderr.strip().splitlines() or ["no reason given"])[-1]
        return (
            "This machine does not allow namespaces, veth pairs and nftables "
            f"({words}): run it as root, on a machine that does."
        )
    return None


def inside() -> bool:
    """Whether this process is in the laboratory's own namespaces."""
    return os.environ.get(INSIDE) == "1" and os.getpid() == 1


def enter(arguments: Sequence[str], module: str = "tests.lab") -> int:
    """Run a module with these arguments in new namespaces; its exit code."""
    environment = {**os.environ, INSIDE: "1", "PATH": SEARCH_PATH}
    command = [*_unshare(), sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env=environment) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                pass  # it reached the child as well, which ends in order
