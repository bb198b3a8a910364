"""Bytes of one village and day on the wire, counted below TCP; and writes to its flash meanwhile.

The real agent on MicroPython, on a simulated clock, reports over TLS to a real Mosquitto through a
pair of network namespaces; everything at port 8883 is counted on the interface between them. The
province acknowledges as docs/wire.md demands. Measurements vary as on a real uplink
(tests.sim.links, tests.sim.world). After each minute in which something passed, the device stands
still until the kernels' delayed acknowledgements have passed as well, so that there are as many
as in real time.

Namespaces need root, or the right to make user namespaces. Else a relay counts (relay.py).
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cbor2

from host_tools import wire
from tests import support
from tests.bench.namespaces import PROVINCE, enter, village
from tests.bench.relay import Relay
from tests.bench.sniffer import Sniffer
from tests.sim.province import Message, Province
from tests.sim.run import Device, Site

PORT = 8883
# Linux delays an acknowledgement by 40 ms at least, 200 ms at most; the most is rare.
_SILENCE_S = 0.1
FLASH = (
    "programs",
    "programmed",
    "erases",
    "alive_programs",
    "alive_programmed",
    "alive_erases",
    "journal_bytes",
    "journal_writes",
)

Counts = dict[str, Any]


def run(hours: int = 24, samples: int = 5) -> Counts:
    """Measure a stretch of so many hours, the first with the connection and a reconnect.

    Args:
        samples: in a report while all is well.

    Returns:
        wire: bytes a day by what they carry; packets: the same of packets; flash: the counts of
        FLASH, a day; reports: how many; namespaces: whether they were to be had; parts: mean bytes
        of what makes up a report; json: bytes of the same measurements a day as JSON, one message
        a sample.
    """
    prefix = enter()
    arguments = [str(hours), "yes" if prefix else "no", str(samples)]
    result = subprocess.run(
        [*prefix, sys.executable, "-m", __name__, *arguments],
        cwd=support.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


@contextlib.contextmanager
def _path(separate: bool) -> Iterator[tuple[list[str], str, Any, list[str]]]:
    """The path from the device to the broker: command prefix, address, counter, listeners."""
    if separate:
        with village() as inside:
            counter = Sniffer("village", PORT)
            yield inside, PROVINCE, counter, [f"listener {PORT} {PROVINCE}"]
            counter.close()
    else:
        with contextlib.closing(Relay("127.0.0.1")) as relay:
            yield [], "127.0.0.1", relay, []


class _Stretch(NamedTuple):
    """What was counted in a stretch of time."""

    bytes: Counter[str]
    packets: Counter[str]
    flash: Counter[str]
    reports: int


class _Day:
    """Lets a device live, and counts."""

    def __init__(self, site: Site, province: Province, device: Device, counter: Any) -> None:
        self._site, self._province, self._device = site, province, device
        self._counter = counter
        self._flash: Counter[str] = Counter()

    def until(self, minute: int) -> _Stretch:
        counter, device = self._counter, self._device
        counts = Counter(counter.bytes), Counter(counter.packets)
        flash, reports = self._flash, self._reports()
        while device.minute < minute:
            seen = sum(counter.packets.values())
            device.next_minute()
            self._site.village.minute(device.minute)
            self._province.minute(device.now)
            if sum(counter.packets.values()) != seen:
                counter.wait_for_silence(_SILENCE_S)
        self._flash = Counter({what: device.ask(what) for what in FLASH})
        return _Stretch(
            Counter(counter.bytes) - counts[0],
            Counter(counter.packets) - counts[1],
            self._flash - flash,
            self._reports() - reports,
        )

    def _reports(self) -> int:
        return sum(isinstance(m.content, wire.Report) for m in self._province.messages)


def _measure(hours: int, separate: bool, samples: int) -> Counts:
    with (
        tempfile.TemporaryDirectory() as name,
        _path(separate) as (inside, host, counter, listener),
    ):
        folder = Path(name)
        settings = {
            "link.gateway": "gateway",
            "link.targets": ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
            "link.dns": "192.0.2.53",
            "journal.capacity": 262144,
            "cadence.quiet_samples": samples,
            "broker.keepalive_s": max(400, 60 * samples + 100),
        }
        port = counter.target = support.free_port()
        site = Site(folder / "site", host, PORT if separate else counter.port, settings)
        lines = ["set_tcp_nodelay true", *site.broker_lines()]
        lines += [*listener, *site.broker_lines()[:-1]] if listener else []
        if hours < 24:
            site.village.begin = 450  # from here on some hours are as busy as the day on average
        province = site.province()
        modules = [("tests.sim.links", 1), ("tests.sim.flash", site.state)]
        with (
            support.start_mosquitto(folder / "broker", lines, port) as broker,
            Device(site.config, heapsize="4m", prefix=inside, modules=modules) as device,
        ):
            province.connect("127.0.0.1", port)
            day = _Day(site, province, device, counter)
            # Twice a day a connection is made: once at start, once because something broke.
            parts = [day.until(10)]
            province.close()
            broker.restart()
            province.connect("127.0.0.1", port)
            parts += [day.until(20), day.until(60 * hours)]
            device.finish()
            province.close()
        if province.refused:
            raise AssertionError(province.refused)
    scale = (24 * 60 - 20) / (60 * hours - 20)
    total = _Stretch(*(_sum(counts, scale) for counts in list(zip(*parts, strict=True))[:3]), 0)
    reports = round(parts[0].reports + parts[1].reports + parts[2].reports * scale)
    return {
        "wire": total.bytes,
        "packets": total.packets,
        "flash": total.flash,
        "reports": reports,
        "namespaces": separate,
        "parts": _parts(province, samples),
        "json": _as_json(province, samples, sum(total.bytes.values()) / reports),
    }


def _sum(counts: Sequence[Counter[str]], scale: float) -> Counter[str]:
    """Counts of three stretches, of which the last stands for the rest of the day."""
    total = counts[0] + counts[1]
    for what, count in counts[2].items():
        total[what] += round(count * scale)
    return total


def _full_reports(province: Province, samples: int) -> list[Message]:
    """Reports as most are: so many samples and no event."""
    return [
        message
        for message in province.messages
        if isinstance(message.content, wire.Report)
        and message.content.n == samples
        and not message.content.events
    ]


def _parts(province: Province, samples: int) -> dict[str, float]:
    total: Counter[str] = Counter()
    messages = _full_reports(province, samples)
    for message in messages:
        table = cbor2.loads(message.payload)
        for metric, column in table[8].items():
            total[wire.columns.NAMES[metric]] += len(cbor2.dumps({metric: column})) - 1
        rest = len(message.payload) - len(cbor2.dumps(table[8]))
        total["(head: stream, seq, prev, time, ...)"] += rest
        total["(signature, envelope)"] += len(message.signed) - len(message.payload)
    return {what: round(size / len(messages), 1) for what, size in total.most_common()}


def _as_json(province: Province, samples: int, per_report: float) -> int:
    """The same measurements as most would send them: a JSON message a sample, without signature.

    Calculated: the text's length, and around it what was counted around each report."""
    sizes = []
    messages = _full_reports(province, samples)
    for message in messages:
        assert isinstance(message.content, wire.Report)
        values = wire.decode_columns(message.content)
        for i in range(message.content.n):
            sample = {
                name: column[i] / wire.columns.SCALES[name] if column[i] is not None else None
                for name, column in values.items()
            }
            sample["time"] = (message.content.start or 0) + i * message.content.step
            sizes.append(len(json.dumps(sample, separators=(",", ":"))))
    signed = sum(len(message.signed) for message in messages) / len(messages)
    around = per_report - signed
    return round(24 * 60 * (sum(sizes) / len(sizes) + around))


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]), sys.argv[2] == "yes", int(sys.argv[3]))))
