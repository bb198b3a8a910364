"""A router without OpenWrt: a package unpacked in a folder, and what of OpenWrt its scripts use.

`uci`, `logger` and rc.common with procd's functions are stand-ins that do what their pages say;
the shell, the interpreter and the agent are real. OpenWrt's own IPKG_INSTROOT keeps all of it in
the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from tests import support

# OpenWrt's shell is busybox's ash; dash, its next of kin, is everywhere.
SHELLS = [
    [path, *words]
    for name, *words in (["dash"], ["busybox", "ash"])
    if (path := shutil.which(name)) is not None
] or [["sh"]]


def shell_name(shell: list[str]) -> str:
    """For the names of tests."""
    return Path(shell[0]).name


UCI = '''#!{python}
"""uci(1), as far as `uci [-q] show PACKAGE` and `uci [-q] get PACKAGE.SECTION.OPTION` go."""
import os, shlex, sys

def load(name):
    sections = []
    lexer = shlex.shlex(open(os.environ["UCI_FOLDER"] + "/" + name), posix=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = list(lexer)
    while words:
        word = words.pop(0)
        if word == "config":
            sections.append([words.pop(0), words.pop(0), {{}}])
        else:
            assert word in ("option", "list"), word
            option, value = words.pop(0), words.pop(0)
            old = sections[-1][2].get(option, []) if word == "list" else []
            sections[-1][2][option] = [*old, value]
    return sections

quoted = lambda text: "'" + text.replace("'", "'\\\\''") + "'"
words = [word for word in sys.argv[1:] if word != "-q"]
try:
    if words[0] == "show":
        for kind, name, options in load(words[1]):
            print(f"{{words[1]}}.{{name}}={{kind}}")
            for option, values in options.items():
                print(f"{{words[1]}}.{{name}}.{{option}}=" + " ".join(map(quoted, values)))
    elif words[0] == "get":
        package, section, option = words[1].split(".")
        print(" ".join({{name: o for _, name, o in load(package)}}[section][option]))
except (KeyError, OSError):
    sys.exit(1)
'''

# procd's functions (OpenWrt, package/system/procd/files/procd.sh), and where they lead.
RC_COMMON = r"""
initscript=$1
action=$2
start_service() { :; }
stop_service() { :; }
procd_open_instance() { rm -rf "$PROCD/new"; mkdir -p "$PROCD/new"; }
procd_set_param() {
	local kind=$1
	shift
	for value; do printf '%s\n' "$value"; done > "$PROCD/new/$kind"
}
procd_close_instance() { rm -rf "$PROCD/instance"; mv "$PROCD/new" "$PROCD/instance"; }
# Nobody but the test can reap the process, so a zombie counts as ended.
procd_running() {
	[ -s "$PROCD/pid" ] && grep -q '^State:[[:space:]]*[^ZX[:space:]]' \
		"/proc/$(cat "$PROCD/pid")/status" 2>/dev/null
}
procd_send_signal() { kill "-$3" "$(cat "$PROCD/pid")"; }
procd_add_reload_trigger() { printf '%s\n' "$@" > "$PROCD/triggers"; }
. "$initscript"
start() { start_service && service_triggers; }
stop() { stop_service; }
reload() { reload_service; }
"$action"
"""


class Router:
    """root: what is `/` on the router; control: the package's own files; said: what the start
    script has told."""

    def __init__(self, folder: Path, shell: list[str], interpreter: str = "micropython") -> None:
        self.root, self.control = folder / "root", folder / "control"
        self._shell, self._procd = shell, folder / "procd"
        self._bin = folder / "bin"
        for path in (self.root, self._procd, self._bin):
            path.mkdir(parents=True)
        self._script("uci", UCI.format(python=sys.executable))
        # As `logger -s` does; its log is none of ours.
        self._script("logger", '#!/bin/sh\nshift 5\necho "desalink: $*" >&2\n')
        self.rc_common = folder / "rc.common"
        self.rc_common.write_text(RC_COMMON)
        if interpreter == "micropython":
            (self._bin / "micropython").symlink_to(support.micropython())
        else:
            (self._bin / "python3").symlink_to(sys.executable)
        self.said = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Path:
        return self.root / "etc/config/desalink"

    def _script(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)

    def install(self, package: bytes) -> None:
        """As opkg: the data into the root, the control files beside."""
        with tarfile.open(fileobj=BytesIO(package)) as outer:
            for name, target in (("data", self.root), ("control", self.control)):
                inner = outer.extractfile(f"./{name}.tar.gz")
                assert inner is not None
                with tarfile.open(fileobj=BytesIO(inner.read())) as archive:
                    # Python 3.11.2, which Debian 12 has, knows no filters yet.
                    archive.extraction_filter = getattr(tarfile, "tar_filter", None)
                    archive.extractall(target)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            # Nothing of this machine's own interpreters.
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "IPKG_INSTROOT": str(self.root),
            "UCI_FOLDER": str(self.root / "etc/config"),
            "PROCD": str(self._procd),
            **{k: v for k, v in os.environ.items() if k.startswith("DESALINK_TEST")},
            **more,
        }

    def service(self, action: str) -> int:
        """`service desalink ACTION`; its exit code."""
        script = self.root / "etc/init.d/desalink"
        done = subprocess.run(
            [*self._shell, str(self.rc_common), str(script), action],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        self.said += done.stderr
        return done.returncode

    def parameter(self, kind: str) -> list[str]:
        """What the start script told procd, an item a line; [] if it told nothing."""
        path = self._procd / "instance" / kind
        return path.read_text().splitlines() if path.exists() else []

    def spawn(self, log: Path) -> subprocess.Popen[bytes]:
        """Start what procd was told to, as procd would."""
        variables = dict(line.split("=", 1) for line in self.parameter("env"))
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self.parameter("command"),
                cwd="/",
                env=self.environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        (self._procd / "pid").write_text(str(self._process.pid))
        return self._process

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
