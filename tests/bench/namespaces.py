"""A pair of network namespaces, connected by one cable: the province here, a village inside."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

PROVINCE, VILLAGE = "10.64.0.1", "10.64.0.2"


def enter() -> list[str]:
    """The command under which `village` may be used. Empty where this machine refuses it."""
    command = ["unshare", "--net", "--kill-child"]
    if os.geteuid() != 0:
        command.insert(1, "--map-root-user")
    return command if _works([*command, "ip", "link", "set", "lo", "up"]) else []


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def village() -> Iterator[list[str]]:
    """Another network namespace, connected to this one; the command that runs another inside."""
    holder = subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        assert holder.stdin and holder.stdout
        holder.stdin.write(b"\n")
        holder.stdout.read(1)  # cat runs, so the namespace is there
        inside = ["nsenter", "--net", "--target", str(holder.pid), "--"]
        here = (
            "link set lo up",
            f"link add village type veth peer name uplink netns {holder.pid}",
            f"address add {PROVINCE}/24 dev village",
            "link set village up",
        )
        there = ("link set lo up", f"address add {VILLAGE}/24 dev uplink", "link set uplink up")
        for prefix, lines in (([], here), (inside, there)):
            for line in lines:
                subprocess.run([*prefix, "ip", *line.split()], check=True)
        yield inside
    finally:
        holder.kill()
        holder.communicate()
