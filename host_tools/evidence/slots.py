"""What the devices of a slot have signed, and the figures that follow from it.

A slot's figures follow from its own part of the file and from what was checked before it. So slots
are checked side by side, on all cores.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, language, set_language
from host_tools.common.times import day
from host_tools.evidence.chains import Expected, Office, ReceiptChain
from host_tools.evidence.container import (
    EvidenceError,
    EvidenceReader,
    PartMessage,
    unpack,
)
from host_tools.evidence.recount import Received, Recounter
from host_tools.people.receipts import StreamDigest
from host_tools.store.ranges import RangeSet
from host_tools.wire import Refused, parse_report, topic_name
from host_tools.wire.envelope import byte_string_head, check_signature, signed_bytes, split

_MOST_WORKERS = 8
_SLOTS_PER_WORKER = 8  # fewer are checked sooner than another process starts


class SlotPart(NamedTuple):
    """A slot's part of a file, still compressed; what the receipts count of it."""

    slot: str
    births: Sequence[bytes]
    reports: Sequence[bytes]
    expected: Sequence[Expected]


class SlotFigures(NamedTuple):
    """What follows from a slot's part: the JSON of its figures, and how many reports there are."""

    slot: str
    figures: bytes
    reports: int


class SlotChecker:
    """Checks slots, each by itself."""

    def __init__(self, office: Office, spans: Sequence[tuple[int, int]], directory: Path) -> None:
        """
        Args:
            spans: begin and end of each receipt.
            directory: for databases that live as long as one slot is counted.
        """
        self._office, self._spans = office, spans
        self._recounter = Recounter(office.basis, directory)

    def check(self, part: SlotPart) -> SlotFigures:
        """Verify all messages of a slot, and count its figures.

        Raises:
            EvidenceError: the first thing that is wrong.
        """
        births = (birth for data in part.births for birth in unpack(data))
        _check_births(births, part.slot, self._office)
        messages = (message for data in part.reports for message in unpack(data))
        reports = _Reports(messages, part, self._office, self._spans)
        try:
            figures = self._recounter.count(part.slot, reports)
        except EvidenceError:
            raise
        except DesalinkError as error:
            raise EvidenceError(str(error)) from None
        reports.end()
        return SlotFigures(part.slot, figures, reports.count)


def check_slots(
    file: EvidenceReader,
    slots: Sequence[str],
    office: Office,
    chain: ReceiptChain,
    workers: int | None = None,
) -> Iterator[SlotFigures]:
    """Check the slots' parts of a file, which come in the order of `slots`.

    In memory are the parts of two slots for each process, and what one of them unpacks.

    Args:
        workers: processes; None: as many as there are cores and it is worth.

    Raises:
        EvidenceError: the first thing in the file that is wrong.
    """
    if workers is None:
        workers = min(os.cpu_count() or 1, _MOST_WORKERS, len(slots) // _SLOTS_PER_WORKER)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="desalink-")))
        if workers < 2:
            checker = SlotChecker(office, chain.spans, directory)
            yield from map(checker.check, _parts(file, slots, chain))
            return
        pool = stack.enter_context(
            ProcessPoolExecutor(
                workers,
                get_context("spawn"),
                _begin_worker,
                (office, chain.spans, directory, language()),
            )
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[Future[SlotFigures]] = deque()
        parts = _parts(file, slots, chain)
        try:
            for part in parts:
                waiting.append(pool.submit(_work, part))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
        except EvidenceError:
            # What is wrong with a slot before comes first.
            for future in waiting:
                future.result()
            raise
        while waiting:
            yield waiting.popleft().result()


def _parts(file: EvidenceReader, slots: Sequence[str], chain: ReceiptChain) -> Iterator[SlotPart]:
    for slot in slots:
        births = list(file.of_slot("births", slot))
        reports = list(file.of_slot("reports", slot))
        yield SlotPart(slot, births, reports, chain.expected.get(slot, ()))


_checker: SlotChecker | None = None  # of a worker


def _begin_worker(
    office: Office, spans: Sequence[tuple[int, int]], directory: Path, language: str
) -> None:
    global _checker
    set_language(language)
    _checker = SlotChecker(office, spans, directory)


def _work(part: SlotPart) -> SlotFigures:
    assert _checker is not None
    return _checker.check(part)


def _check_births(births: Iterable[PartMessage], slot: str, office: Office) -> None:
    before = PartMessage(-1, 0, b"")
    for birth in births:
        where = f"A birth of {slot} (receipt {birth.receipt})"
        if birth <= before:
            raise EvidenceError(
                _("{where} is not in its order, or is there twice.").format(where=where)
            )
        before = birth
        _signed(slot, "birth", birth.message, where, office, birth.received_at)


def _signed(
    slot: str, kind: str, message: bytes, where: str, office: Office, received_at: int
) -> tuple[bytes, bytes]:
    """kid and payload of a message that one of the slot's devices signed."""
    try:
        kid, begin = split(message)
    except Refused as refused:
        raise EvidenceError(
            _("{where} is no signed message: {refused}.").format(where=where, refused=refused)
        ) from None
    device = office.state.devices.get(kid)
    if device is None or device.slot != slot:
        raise EvidenceError(
            _(
                "{where} is signed by key {kid}, and the office has enrolled no such device for "
                "this slot."
            ).format(where=where, kid=kid.hex())
        )
    if not office.counts(kid, received_at):
        raise EvidenceError(
            _("{where} was received on {date}, after its device {kid} was revoked.").format(
                where=where, date=day(received_at), kid=kid.hex()
            )
        )
    topic = topic_name(slot, kind).encode()
    if not check_signature(
        device.key, signed_bytes(message, byte_string_head(len(topic)) + topic)
    ):
        raise EvidenceError(
            _(
                "{where} is not what its device {kid} signed: it was changed, or it is another "
                "slot's."
            ).format(where=where, kid=kid.hex())
        )
    return kid, message[begin:-66]


class _Reports:
    """The reports of a slot, each verified and held against its receipt."""

    def __init__(
        self,
        messages: Iterable[PartMessage],
        part: SlotPart,
        office: Office,
        spans: Sequence[tuple[int, int]],
    ) -> None:
        self._messages, self._slot, self._office, self._spans = messages, part.slot, office, spans
        self._expected = iter(part.expected)
        self._now: Expected | None = None
        self._digest = StreamDigest()
        self._seqs: dict[tuple[bytes, bytes], RangeSet] = {}
        self.count = 0

    def __iter__(self) -> Iterator[Received]:
        before = (-1, b"", b"", 0)
        for number, received_at, message in self._messages:
            where = f"Report {self.count} of {self._slot} (receipt {number})"
            kid, payload = _signed(self._slot, "report", message, where, self._office, received_at)
            try:
                report = parse_report(payload)
            except Refused as refused:
                raise EvidenceError(
                    _("{where} can't be read: {refused}.").format(where=where, refused=refused)
                ) from None
            key = (number, kid, report.stream, report.seq)
            if key <= before:
                raise EvidenceError(
                    _("{where} is not in its order, or is there twice.").format(where=where)
                )
            if key[:3] != before[:3]:
                self._begin(number, kid, report.stream, report.seq)
            before = key
            if not self._seqs.setdefault(key[1:3], RangeSet()).add(report.seq):
                raise EvidenceError(
                    _("{where} is there twice, in two receipts.").format(where=where)
                )
            if received_at >= self._spans[number][1]:
                raise EvidenceError(
                    _("{where} was received on {date}, after its receipt ends.").format(
                        where=where, date=day(received_at)
                    )
                )
            self._digest.add(message, received_at)
            self.count += 1
            yield received_at, message, report

    def _begin(self, number: int, kid: bytes, stream: bytes, seq: int) -> None:
        self._finish()
        self._now = next(self._expected, None)
        if self._now is None or self._now[:3] != (number, kid, stream):
            if self._now is not None and self._now[:3] < (number, kid, stream):
                raise self._left_out(self._now)
            raise EvidenceError(
                _(
                    "Report {seq} of stream {stream} of {slot} is in the file, and receipt "
                    "{number} does not count that stream: it was added afterwards."
                ).format(seq=seq, stream=stream.hex(), slot=self._slot, number=number)
            )
        self._digest = StreamDigest()

    def _finish(self) -> None:
        now = self._now
        if now is None:
            return
        where = f"stream {now.stream.hex()} of {self._slot} in receipt {now.receipt}"
        if self._digest.count != now.reports:
            raise EvidenceError(
                _(
                    "The receipt counts {reports} reports of {where}, and the file holds {count}: "
                    "reports were left out or added."
                ).format(reports=now.reports, where=where, count=self._digest.count)
            )
        if self._digest.digest() != now.digest:
            raise EvidenceError(
                _(
                    "The reports of {where} are not those that the receipt counts: one was "
                    "exchanged, or its time of receipt was changed."
                ).format(where=where)
            )
        if now.highest < self._seqs[now.kid, now.stream].last:
            raise EvidenceError(
                _("The highest seq of {where} is less than that of its reports.").format(
                    where=where
                )
            )

    def _left_out(self, row: Expected) -> EvidenceError:
        return EvidenceError(
            _(
                "Receipt {receipt} counts {reports} reports of stream {stream} of {slot}, and the "
                "file holds none of them: they were left out."
            ).format(
                receipt=row.receipt, reports=row.reports, stream=row.stream.hex(), slot=self._slot
            )
        )

    def end(self) -> None:
        """See that nothing is missing."""
        self._finish()
        rest = next(self._expected, None)
        if rest is not None:
            raise self._left_out(rest)


def compare(slot: str, item: dict[str, Any], mine: bytes) -> None:
    said = item["figures"]
    if item.get("slot") != slot or type(said) is not bytes:
        raise EvidenceError(
            _("The figures of {slot} are expected in the file, and others come.").format(slot=slot)
        )
    if said == mine:
        return
    try:
        table = json.loads(said)
    except (ValueError, RecursionError):
        raise EvidenceError(_("The figures of {slot} are no JSON.").format(slot=slot)) from None
    raise EvidenceError(
        _("The figures of {slot} are not what its reports give: {difference}.").format(
            slot=slot, difference=difference(table, json.loads(mine))
        )
    )


def difference(said: Any, counted: Any, where: str = "") -> str:
    """The first value that differs, as text for people."""
    if type(said) is dict and type(counted) is dict:
        for key in sorted(set(counted) | set(map(str, said))):
            if said.get(key) != counted.get(key):
                return difference(said.get(key), counted.get(key), f"{where}.{key}"[:80])
    if type(said) is list and type(counted) is list and len(said) == len(counted):
        for number, pair in enumerate(zip(said, counted, strict=True)):
            if pair[0] != pair[1]:
                return difference(*pair, f"{where}[{number}]")
    name = where.lstrip(".") or "the form"
    return f"{name} is {said!s:.60}, and the evidence gives {counted!s:.60}"
