"""The files of a device, over its REPL, and what its agent does when it is asked.

A file is written to a temporary name, hashed on the device, and renamed: a cable that is pulled
leaves the old file or the new. What is there and right is not sent again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError, understood
from host_tools.field.provision.repl import Repl

FOLDER = "/device"
CONFIG = FOLDER + "/config.json"
# While it is there, main.py does not start the agent.
MARK = FOLDER + "/provisioning"
_TEMPORARY = ".part"
_CHUNK = 1536  # packed bytes in one script: 2 KB of Base64, for which every heap has room
_WINDOW_BITS = 10  # what the device needs to unpack: 1 KB

# Names are short because they cross a line of 11 KB/s. The device's folder is not looked into
# deeper: there lie the journal, which is large, and the key, which is nobody's business.
_TOOLS = """\
import os,hashlib,binascii,io,deflate
def h(p):
 s=hashlib.sha256()
 b=bytearray(512)
 m=memoryview(b)
 with open(p,'rb') as f:
  while 1:
   n=f.readinto(b)
   if not n: break
   s.update(m[:n])
 return str(binascii.hexlify(s.digest()),'ascii')
def l(d,deep):
 try: e=list(os.ilistdir(d))
 except OSError: return
 for x in e:
  p=(d if d!='/' else '')+'/'+x[0]
  if x[1]==0x4000:
   if deep: l(p,1)
  elif x[0][:10]!='device.key': print(h(p),p)
def o():
 global z
 z=[]
def w(t): z.append(binascii.a2b_base64(t))
def c(p,q,d):
 a=q.split('/')[1:-1]
 for i in range(len(a)):
  try: os.mkdir('/'+'/'.join(a[:i+1]))
  except OSError: pass
 t=deflate.DeflateIO(io.BytesIO(b''.join(z)),deflate.RAW,10)
 z.clear()
 b=bytearray(512)
 m=memoryview(b)
 with open(p,'wb') as f:
  while 1:
   n=t.readinto(b)
   if not n: break
   f.write(m[:n])
 s=h(p)
 if s==d: os.rename(p,q)
 print(s)
def r(p):
 try: os.remove(p)
 except OSError: pass
"""


class DeviceFiles:
    """The files of a device whose raw REPL is entered."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        repl.run(_TOOLS)

    def hashes(self) -> dict[str, str]:
        """Path -> SHA-256 (hex) of the agent's, the boards' and the device's own files, the key
        and the journal excepted."""
        said = self._repl.run("l('/',0)\nl('/agent',1)\nl('/boards',1)\nl('/device',0)", 60)
        with understood(_refused):
            lines = [line.split(" ", 1) for line in said.splitlines()]
            return {path: digest for digest, path in lines}

    def put(self, path: str, content: bytes, progress: Callable[[int], None]) -> None:
        """Write one file whole, or leave the old one.

        Args:
            progress: told how many bytes more are there.

        Raises:
            ProvisionError: the line is gone, or what arrived is not what was sent.
        """
        packer = zlib.compressobj(9, zlib.DEFLATED, -_WINDOW_BITS)
        packed = packer.compress(content) + packer.flush()
        digest = hashlib.sha256(content).hexdigest()
        end = f"c({path + _TEMPORARY!r},{path!r},{digest!r})"
        script = "o()\n"
        said = ""
        for at in range(0, len(packed), _CHUNK):
            script += f"w({base64.b64encode(packed[at : at + _CHUNK]).decode()!r})\n"
            said = self._repl.run(script if at + _CHUNK < len(packed) else script + end)
            script = ""
            progress(min(_CHUNK, len(packed) - at) * len(content) // len(packed))
        if said.strip() != digest:
            raise ProvisionError(
                "cable",
                _(
                    "{file} did not arrive on the board as it was sent; use a shorter cable or "
                    "another port and run the same command."
                ).format(file=path),
            )

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        self._repl.run(f"r({path!r})")

    def bring(
        self,
        wanted: Mapping[str, bytes],
        owned: tuple[str, ...],
        have: Mapping[str, str],
        progress: Callable[[float], None],
    ) -> int:
        """Make the device hold exactly these files in the folders that are owned.

        Args:
            wanted: path on the device -> content.
            owned: prefixes of paths whose other files are deleted; a stray source would be
                imported instead of the compiled one.
            have: what `hashes` told.
            progress: told the share that is done.

        Returns:
            How many files were written or deleted.
        """
        missing = {
            path: content
            for path, content in wanted.items()
            if have.get(path) != hashlib.sha256(content).hexdigest()
        }
        stray = [path for path in have if path.startswith(owned) and path not in wanted]
        total = sum(map(len, missing.values())) or 1
        done = 0

        def more(count: int) -> None:
            nonlocal done
            done += count
            progress(done / total)

        for path in stray:
            self.remove(path)
        for path, content in missing.items():
            self.put(path, content, more)
        return len(missing) + len(stray)


def _answer(repl: Repl, expression: str, mark: str, timeout: float) -> Any:
    """What a function of the device's agent returns, as JSON.

    The agent ends a mistake with a sentence and SystemExit, which would restart the board.
    """
    said = repl.run(
        f"import json\ntry:\n print({mark!r},json.dumps({expression}))\nexcept SystemExit:\n pass",
        timeout,
    )
    for line in said.splitlines():
        if line.startswith(mark + " "):
            return json.loads(line[len(mark) :])
    told = [line[7:] for line in said.splitlines() if line.startswith("agent: ")]
    raise _refused(told[-1] if told else said.strip()[-200:])


def _refused(reason: str) -> ProvisionError:
    return ProvisionError(
        "device",
        _("The board's agent refuses: {reason}. Run the same command again.").format(
            reason=reason.rstrip(".")
        ),
    )


def unique_id(repl: Repl) -> str | None:
    """The MAC address that the running chip tells, before anything is written to it: between its
    bootloader and its interpreter another board may have got the port. None: it can't tell."""
    said = repl.run(
        "import binascii\ntry:\n import machine\n"
        " print(str(binascii.hexlify(machine.unique_id(),':'),'ascii'))\n"
        "except (ImportError,AttributeError): pass"
    ).strip()
    return said or None


def hold(repl: Repl) -> None:
    """Keep the agent from being started while the device is being worked on."""
    repl.run(
        f"import os\ntry: os.mkdir({FOLDER!r})\nexcept OSError: pass\nopen({MARK!r},'w').close()"
    )


def release(repl: Repl) -> None:
    """The device is done: its agent may be started."""
    repl.run(f"import os\nos.remove({MARK!r})")


def forget_other(repl: Repl, slot: str | None) -> bool:
    """Delete key and journal of a device that was another slot's; True if it was.

    What it measured there was signed for that slot, and can't be told in the name of this one.

    Args:
        slot: None: whatever it was.
    """
    said = repl.run(
        "import json\n"
        f"try:\n with open({CONFIG!r}) as f: print(json.load(f)['slot'])\n"
        "except (OSError,ValueError,KeyError): pass"
    ).strip()
    if not said or said == slot:
        return False
    # The configuration last: as long as it is there, this is not over.
    repl.run(
        "import os\n"
        "def d(p):\n"
        " for x in list(os.ilistdir(p)):\n"
        "  q=p+'/'+x[0]\n"
        "  if x[1]==0x4000: d(q)\n"
        f"  elif q not in {(MARK, CONFIG)!r}: os.remove(q)\n"
        f"d({FOLDER!r})\nos.remove({CONFIG!r})",
        60,
    )
    return True


def make_key(repl: Repl) -> bytes:
    """Have the device make its key, unless it has one; its proof of possession."""
    with understood(_refused):
        proof = _answer(repl, f"__import__('agent.start').start.enrol({CONFIG!r})", "PROOF", 120)
        return base64.b64decode(proof)


def test_network(repl: Repl, unix: int) -> tuple[str, str]:
    """Have the device try its way to the broker.

    Args:
        unix: the laptop's clock, for a device that has none.

    Returns:
        A result of `agent.province.selftest.network`, and what it says beside it.
    """
    with understood(_refused):
        result, detail = _answer(
            repl, f"__import__('agent.start').start.network({CONFIG!r},{unix})", "NET", 180
        )
        return str(result), str(detail)


def first_report(repl: Repl) -> tuple[str, bytes]:
    """Have the device make its first report, unless it has one: its topic, and its bytes."""
    with understood(_refused):
        topic, report = _answer(
            repl, f"__import__('agent.start').start.first_report({CONFIG!r})", "REPORT", 180
        )
        return str(topic), base64.b64decode(report)
