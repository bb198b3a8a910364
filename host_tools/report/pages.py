"""The pages of the report as HTML, from templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from importlib import resources
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from host_tools.common.i18n import _, language
from host_tools.common.sizes import size
from host_tools.common.templates import templates
from host_tools.common.times import day, span, wita
from host_tools.contracts.months import SlotMonth, paid
from host_tools.contracts.rules import EXCLUDABLE
from host_tools.province.contract_records import DISPUTE
from host_tools.report import drawing, texts
from host_tools.report.data import MonthReport
from host_tools.states.words import state_sentence

if TYPE_CHECKING:
    from jinja2 import Environment

# So many fit on a village's one page.
_MOST_OUTAGES, _MOST_EVENTS = 10, 4
# So many of the best and of the worst slots stand in the ranking; figures.csv has all.
_RANKED = 15


@cache
def _templates() -> Environment:
    return templates("host_tools.report")


def _share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _check(report: MonthReport) -> str:
    """The command that checks what a page says."""
    if report.evidence is not None:
        return f"desalink evidence verify {report.evidence.name} --root root.pub"
    return f"desalink month figures {report.month.name} | sha256sum"


def _checked_by(report: MonthReport) -> list[str]:
    """What stands below each page: by what its figures are checked."""
    rules = _("Rules {version} (SHA-256 {digest})")
    first = [report.province, report.month.name]
    if report.edition:
        first.append(_("Edition {number}").format(number=report.edition))
    first.append(rules.format(version=report.rules.version, digest=report.rules.digest))
    lines = [" · ".join(first), _("Figures: SHA-256 {digest}").format(digest=report.digest)]
    if report.evidence is not None:
        name, digest = report.evidence
        evidence = _("Evidence file {name}: SHA-256 {digest}")
        lines.append(evidence.format(name=name, digest=digest))
    return [*lines, _("Check with: {command}").format(command=_check(report))]


def _css_string(text: str) -> str:
    """A text that is safe in a style sheet within HTML, whoever has named a file or province."""
    safe = (c if c.isalnum() or c in " .,:;()-_" else f"\\{ord(c):x} " for c in text)
    return f'"{"".join(safe)}"'


def _qr_text(report: MonthReport) -> str:
    text = f"desalink {report.month.name} rules {report.rules.version} sha256 {report.digest}"
    if report.evidence is not None:
        text += f" evidence {report.evidence.name} sha256 {report.evidence.digest}"
    return f"{text} check: {_check(report)}"


def _qr(text: str) -> str:
    import segno

    url: str = segno.make(text, error="l", micro=False).png_data_uri(scale=4, border=2)
    return url


def _render(name: str, report: MonthReport, **values: Any) -> str:
    from markupsafe import Markup

    css = resources.files("host_tools.report").joinpath("templates/report.css").read_text()
    checked = _checked_by(report)
    return (
        _templates()
        .get_template(name)
        .render(
            r=report,
            kinds=texts.kinds(),
            cause=state_sentence,
            found=texts.findings(),
            colours=drawing.COLOURS,
            language=language(),
            css=Markup(css),  # nosec B704 # a file of ours
            qr=_qr(_qr_text(report)),
            qr_text=_qr_text(report),
            checked=checked,
            foot=Markup(_css_string("\n".join(checked))),  # nosec B704 # escaped
            share=_share,
            percent=texts.percent,
            minutes=texts.minutes,
            duration=span,
            count=texts.count,
            size=size,
            rupiah=texts.rupiah,
            day=day,
            wita=wita,
            **values,
        )
    )


def villages(report: MonthReport, slots: Sequence[SlotMonth]) -> str:
    pages = []
    for one in slots:
        causes: Counter[str] = Counter()
        for piece in one.pieces:
            causes += piece.causes
        pages.append(
            {
                "one": one,
                "causes": causes.most_common(),
                "grid": drawing.grid(report.month, drawing.layer(one.pieces)),
                "alt": texts.percent(paid(one).availability),
                "hours": drawing.hours(one.usage.by_hour),
                "busiest": _busiest(one.usage.by_hour),
                "speed": None if report.speeds is None else _speed(report.speeds[one.slot]),
                "outages": [(outage, report.reports_of(one, outage)) for outage in one.charged],
            }
        )
    return _render(
        "villages.html",
        report,
        villages=pages,
        most_outages=_MOST_OUTAGES,
        most_events=_MOST_EVENTS,
    )


def _busiest(by_hour: Sequence[int]) -> str:
    """The three hours of the day in which most was used, the busiest first."""
    used = sorted((-size, hour) for hour, size in enumerate(by_hour) if size)
    return ", ".join(f"{hour:02d}–{hour + 1:02d}" for _, hour in used[:3])


def _speed(speeds: Sequence[int]) -> str:
    """How many samples there are, the lowest, the middle one and the highest, in Mbps."""
    if not speeds:
        return "–"
    shown = (texts.mbps(value) for value in (min(speeds), median(speeds), max(speeds)))
    return f"{len(speeds)}: {' / '.join(shown)}"


def summary(report: MonthReport) -> str:
    """The province's page: by provider and regency, ranking, what got worse, what is not used."""
    ranked = report.ranking()
    ends = ranked if len(ranked) <= 2 * _RANKED else ranked[:_RANKED] + ranked[-_RANKED:]
    return _render(
        "summary.html",
        report,
        all_s=sum(report.total.seconds.values()),
        ranking=ends,
        disputes=[event for event in report.events if event.kind == DISPUTE],
    )


def strips(report: MonthReport) -> str:
    """The month of every slot as a strip, by regency."""
    rows = [
        (
            regency,
            [
                (one, paid(one), drawing.strip(report.month, drawing.layer(one.pieces)))
                for one in group
            ],
        )
        for regency, group in groupby(report.slots, key=lambda one: one.village.regency)
    ]
    return _render("strips.html", report, strips=rows)


def quality(report: MonthReport) -> str:
    """The page of the data's own quality."""
    names = {one.slot: one.village.name for one in report.slots}
    rows: list[tuple[str, int, str]] = []

    def add(name: str, values: list[int], shown: Callable[[int], str]) -> None:
        rows.append((name, sum(map(bool, values)), shown(sum(values))))

    quality = report.quality
    add(_("No data"), [q.no_data_s for q in quality], span)
    add(_("Measured as unknown"), [q.unknown_s for q in quality], span)
    add(_("Missing reports"), [q.missing for q in quality], texts.count)
    for kind, name in texts.findings().items():
        add(name, [q.findings[kind] for q in quality], texts.count)
    messages: Counter[str] = Counter()
    for slot, _reason, number, *_rest in report.quarantined:
        messages[slot] += number
    add(_("Messages in quarantine, not counted"), list(messages.values()), texts.count)
    for kind in EXCLUDABLE:
        add(texts.kinds()[kind], [one.seconds[kind] for one in report.slots], span)
    return _render("quality.html", report, names=names, summary=rows)
