"""The pages of the report as HTML, from templates."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Any

from host_tools.common.i18n import language
from host_tools.common.times import day, wita
from host_tools.contracts.months import SlotMonth
from host_tools.report import drawing, texts
from host_tools.report.data import MonthReport

if TYPE_CHECKING:
    from jinja2 import Environment

# So many fit on a village's one page.
MOST_OUTAGES = 12


@lru_cache(1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("host_tools.report"),
        # Names and reasons come from outside.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _qr(report: MonthReport) -> str:
    import segno

    content = f"desalink {report.month.name} rules {report.rules.version} sha256 {report.digest}"
    buffer = io.BytesIO()
    segno.make(content, error="m", micro=False).save(
        buffer, kind="svg", xmldecl=False, svgclass=None, lineclass=None, omitsize=True
    )
    return buffer.getvalue().decode()


def _render(name: str, report: MonthReport, **values: Any) -> str:
    from markupsafe import Markup

    css = resources.files("host_tools.report").joinpath("templates/report.css").read_text()
    return (
        _environment()
        .get_template(name)
        .render(
            r=report,
            t=texts.labels(),
            kinds=texts.kinds(),
            causes=texts.causes(),
            found=texts.findings(),
            colours=drawing.COLOURS,
            language=language(),
            css=Markup(css),
            qr=Markup(_qr(report)),
            share=_share,
            percent=texts.percent,
            minutes=texts.minutes,
            duration=texts.duration,
            count=texts.count,
            size=texts.size,
            rupiah=texts.rupiah,
            day=day,
            wita=wita,
            **values,
        )
    )


def villages(report: MonthReport, slots: Sequence[SlotMonth]) -> str:
    """A page for each of some slots."""
    from markupsafe import Markup

    pages = []
    for one in slots:
        causes: Counter[str] = Counter()
        for piece in one.pieces:
            causes += piece.causes
        pages.append(
            {
                "one": one,
                "causes": causes.most_common(),
                "grid": Markup(drawing.grid(report.month, drawing.layer(one.pieces))),
                "hours": Markup(drawing.hours(one.usage.by_hour)),
            }
        )
    return _render("villages.html", report, villages=pages, most_outages=MOST_OUTAGES)


def summary(report: MonthReport) -> str:
    """The province's page: by provider and regency, what got worse, what is not used."""
    return _render("summary.html", report, all_s=sum(report.total.seconds.values()))


def strips(report: MonthReport) -> str:
    """The month of every slot as a strip, by regency."""
    from markupsafe import Markup

    rows = [
        (
            regency,
            [
                (one, Markup(drawing.strip(report.month, drawing.layer(one.pieces))))
                for one in group
            ],
        )
        for regency, group in groupby(report.slots, key=lambda one: one.village.regency)
    ]
    return _render("strips.html", report, strips=rows)


def quality(report: MonthReport) -> str:
    """The page of the data's own quality."""
    names = {one.slot: one.village.name for one in report.slots}
    return _render("quality.html", report, names=names)
