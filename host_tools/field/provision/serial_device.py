"""A board on a serial port, as a device to be provisioned.

A file gets a temporary name, is hashed on the board and is then renamed, so a pulled cable keeps
the old file or the new one. Files that are right already are not sent again.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.devices.boards import Board
from host_tools.devices.heap import check_heap
from host_tools.field.provision.errors import ProvisionError, refuse_swapped, understood
from host_tools.field.provision.flash import Bootloader, Progress
from host_tools.field.provision.payload import (
    CONFIG,
    FOLDER,
    IMPORT_SELFTEST,
    KitFirmware,
    choose_board,
    firmware_of,
    import_with_time,
    own_files,
)
from host_tools.field.provision.repl import Repl, refused_by_agent
from host_tools.field.talk.over_serial import SerialVisitor
from host_tools.people.kits.model import Kit, KitSlot

# While this file exists, main.py does not start the agent.
MARK = FOLDER + "/provisioning"
_TEMPORARY = ".part"
_CHUNK = 1536  # packed bytes in one script: 2 KB of Base64 fit into every heap
_PSRAM_LEAST = 1 << 20  # bytes of memory; no chip has so much of its own
_WINDOW_BITS = 10  # what the device needs to unpack: 1 KB

# Names are short because the line carries 11 KB/s. Only the top of the device's folder is hashed,
# without the key, because the journal below it is large.
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
        """Path -> SHA-256 (hex) of the files of the agent, the boards and the device, without
        key and journal."""
        said = self._repl.run("l('/',0)\nl('/agent',1)\nl('/boards',1)\nl('/device',0)", 60)
        with understood(refused_by_agent):
            lines = [line.split(" ", 1) for line in said.splitlines()]
            return {path: digest for digest, path in lines}

    def put(self, path: str, content: bytes, progress: Callable[[int], None]) -> None:
        """Write one file whole, or keep the old one.

        Args:
            progress: gets the number of bytes that arrived since its last call.

        Raises:
            ProvisionError: the line is gone, or the file arrived damaged.
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
                    "{file} arrived damaged on the board; use a shorter cable or another port and "
                    "run the same command."
                ).format(file=path),
            )

    def remove(self, path: str) -> None:
        self._repl.run(f"r({path!r})")

    def bring(
        self,
        wanted: Mapping[str, bytes],
        owned: tuple[str, ...],
        have: Mapping[str, str],
        progress: Callable[[float], None],
    ) -> int:
        """Make the files in the owned folders equal to these.

        Args:
            wanted: path on the device -> content.
            owned: prefixes of paths; other files there are deleted, because MicroPython imports a
                source instead of the compiled file.
            have: as `hashes` returned it.
            progress: gets the share that is done.

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


def _swap_safe(repl: Repl, mac: str) -> None:
    """Refuse another board before anything is written to it: the port may have changed between
    bootloader and interpreter. Some interpreters do not know their board."""
    said = repl.run(
        "import binascii\ntry:\n import machine\n"
        " print(str(binascii.hexlify(machine.unique_id(),':'),'ascii'))\n"
        "except (ImportError,AttributeError): pass"
    ).strip()
    if said:
        refuse_swapped(mac, said)


def refuse_without_psram(repl: Repl, mac: str) -> None:
    """Refuse a board that lacks the PSRAM that its settings promise. Some interpreters can't
    say."""
    said = repl.run(
        "try:\n import esp32\n"
        " print(sum([r[0] for r in esp32.idf_heap_info(esp32.HEAP_DATA)]))\n"
        "except (ImportError,AttributeError): pass"
    ).strip()
    if said and int(said) < _PSRAM_LEAST:
        raise ProvisionError(
            "device",
            _(
                "The settings say that the board {mac} has PSRAM (board.psram), and it has none; "
                "take a board with PSRAM, or ask the province for firmware that supports it."
            ).format(mac=mac),
        )


class SerialDevice:
    """A board on a serial port: flashed by its bootloader, then filled over its REPL.

    opened: closes the REPL at the end.
    """

    def __init__(
        self,
        port: str,
        loader: Bootloader,
        opened: ExitStack,
        mac: str,
        kit: Kit,
        slot: KitSlot,
        board: Board,
        firmware: KitFirmware,
    ) -> None:
        self.board = board
        self.firmware = firmware
        self._port = port
        self._loader = loader
        self._opened = opened
        self._mac = mac
        self._kit = kit
        self._slot = slot
        self._have: dict[str, str] = {}

    def flash(self, progress: Progress) -> bool:
        fresh = self._loader.flash(self.firmware.image, self.board.baud, progress)
        self._loader.run()
        return fresh

    def enter(self) -> None:
        self._loader.run()
        self._speak()
        if not any(path.startswith("/agent/") for path in self._have) and not self._in_place():
            raise ProvisionError(
                "device",
                _(
                    "The board {mac} is not installed yet; run the same command without "
                    "--settings-only."
                ).format(mac=self._mac),
            )

    def _in_place(self) -> bool:
        """Whether the device runs the agent from ROMFS."""
        script = "import os\ntry: print(os.stat('/rom/agent')[0])\nexcept OSError: pass"
        return bool(self._repl.run(script).strip())

    def install(self, files: Mapping[str, bytes], progress: Progress) -> int:
        self._speak()
        return self._files.bring(files, ("/agent/", "/boards/"), self._have, progress)

    def _speak(self) -> None:
        """Enter the REPL, and see what the device holds."""
        self._repl = repl = self._opened.enter_context(Repl(self._port))
        repl.interrupt()
        repl.soft_reset()
        _swap_safe(repl, self._mac)
        if self._slot.config.get("board", {}).get("psram"):
            refuse_without_psram(repl, self._mac)
        # Prevents a start of the agent before provisioning is complete.
        repl.run(
            f"import os\ntry: os.mkdir({FOLDER!r})\nexcept OSError: pass\n"
            f"open({MARK!r},'w').close()"
        )
        self._files = DeviceFiles(repl)
        self._have = self._files.hashes()

    def forget_other(self, slot: str | None) -> bool:
        """Reports for another slot are signed for that slot, so they can't be used here."""
        said = self._repl.run(
            "import json\n"
            f"try:\n with open({CONFIG!r}) as f: print(json.load(f)['slot'])\n"
            "except (OSError,ValueError,KeyError): pass"
        ).strip()
        if not said or said == slot:
            return False
        # The configuration last: while it exists, the deletion is not complete.
        self._repl.run(
            "import os\n"
            "def d(p):\n"
            " for x in list(os.ilistdir(p)):\n"
            "  q=p+'/'+x[0]\n"
            "  if x[1]==0x4000: d(q)\n"
            f"  elif q not in {(MARK, CONFIG)!r}: os.remove(q)\n"
            f"d({FOLDER!r})\nos.remove({CONFIG!r})",
            60,
        )
        self._have = self._files.hashes()
        return True

    def configure(self, progress: Progress) -> int:
        own = own_files(self._kit, self._slot, self.board, self.firmware)
        count = self._files.bring(own, (), self._have, progress)
        # For an empty heap, and for the preparations of boot.py.
        self._repl.soft_reset()
        return count

    def make_key(self) -> bytes:
        with understood(refused_by_agent):
            load = "from agent import start\n"
            return base64.b64decode(self._repl.answer(load, f"start.enrol({CONFIG!r})", 120))

    def test_network(self, unix: int) -> tuple[str, str]:
        with understood(refused_by_agent):
            call = f"selftest.network({CONFIG!r},{unix})"
            result, detail = self._repl.answer(IMPORT_SELFTEST, call, 180)
            return str(result), str(detail)

    def first_report(self, unix: int) -> tuple[str, bytes]:
        self._repl.soft_reset()
        with understood(refused_by_agent):
            call = f"selftest.first_report({CONFIG!r})"
            topic, report = self._repl.answer(import_with_time(unix), call, 180)
            return str(topic), base64.b64decode(report)

    @contextmanager
    def visit(self) -> Iterator[SerialVisitor]:
        visitor = SerialVisitor(self._repl)
        yield visitor
        visitor.close()

    def start(self) -> None:
        self._repl.run(f"import os\nos.remove({MARK!r})")
        self._repl.start()


class FoundBoard:
    """A board in its bootloader, before its slot is chosen."""

    def __init__(self, port: str, loader: Bootloader, opened: ExitStack) -> None:
        self._port = port
        self._loader = loader
        self._opened = opened
        self._chip = loader.identify()
        self.unique_id = self._chip.mac
        self.facts = {"chip": self._chip.chip}

    def refuse_stranger(self, folder: Path) -> None:
        """Nothing to compare: its MAC is the name of the folder."""

    def as_device(self, kit: Kit, slot: KitSlot, board: str | None, work: Path) -> SerialDevice:
        """Raises ProvisionError, BoardError, FirmwareError, ReleaseError, HeapError: nothing in
        the kit fits the board."""
        kind = choose_board(kit, slot, self._chip, board)
        firmware = firmware_of(kit, kind, work)
        where = _("Slot {slot} ({village})").format(slot=slot.slot, village=slot.village.name)
        check_heap(kind, slot.config, firmware.romfs, where)
        return SerialDevice(
            *(self._port, self._loader, self._opened, self.unique_id, kit, slot, kind, firmware)
        )


@contextmanager
def over_cable(port: str) -> Iterator[FoundBoard]:
    """The board on a serial port, in its bootloader. The port is closed afterwards.

    Raises:
        ProvisionError: the port or the chip can't be used.
    """
    with ExitStack() as opened:
        yield FoundBoard(port, opened.enter_context(Bootloader(port)), opened)
