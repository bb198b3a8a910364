"""The weekly digest: what was alerted, what is not up, what was never sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from host_tools.alerts import texts
from host_tools.alerts.places import AlertPlace
from host_tools.alerts.records import FAILED, AlertRecords
from host_tools.alerts.settings import AlertSettings
from host_tools.alerts.texts import MessageText, title, trouble_words
from host_tools.common.i18n import _, ngettext, speaking
from host_tools.common.times import DAY_S, WITA, day, span, wita

_WEEK_S = 7 * DAY_S
_HOUR = 8  # of Monday, WITA
_SHOWN = 15


def digest_text(records: AlertRecords, places: Mapping[str, AlertPlace], now: int) -> MessageText:
    """The last seven days, in the language in force."""
    since = now - _WEEK_S
    alerts = [a for a in records.alerts_since(since) if a.merged_into is None]
    fresh = [a for a in alerts if a.opened_at >= since and not a.late]
    lines = [
        ngettext("{count} alert since {day}.", "{count} alerts since {day}.", len(fresh)).format(
            count=len(fresh), day=day(since)
        )
    ]
    for state, count in Counter(a.state for a in fresh).most_common():
        lines.append(f"- {trouble_words(state)}: {count}")
    lasting = [a for a in alerts if a.closed_at is None and not a.late]
    _add(lines, _("Open now:"), [title(a, places) for a in lasting])
    slots = Counter(m.member for a in fresh if a.scope != "rule" for m in records.members(a.id))
    often = [
        f"{places[slot].label if slot in places else slot} ({slot}): {count}"
        for slot, count in slots.most_common()
        if count > 1
    ]
    _add(lines, _("Alerted more than once:"), often)
    late = [a for a in alerts if a.late and a.closed_at is None]
    _add(
        lines,
        _("Down for so long when it became known that nothing was sent:"),
        [f"{title(a, places)} ({span(now - a.begin)})" for a in late],
    )
    _add(
        lines,
        _("Silenced:"),
        [f"{s.scope} {s.value}: {wita(s.end)}, {s.who}: {s.why}" for s in records.silences(now)],
    )
    _add(
        lines,
        _("Not sent:"),
        [
            f"{m.channel}: {m.subject} ({m.error})"
            for m in records.messages(FAILED)
            if m.queued_at >= since
        ],
    )
    subject = _("The week up to {day}").format(day=day(now))
    return MessageText(f"[Desalink] {subject}", "\n".join(texts.filter_blank(lines)))


def _add(lines: list[str], heading: str, found: list[str]) -> None:
    if not found:
        return
    lines += ["", heading, *(f"- {line}" for line in found[:_SHOWN])]
    if len(found) > _SHOWN:
        lines.append(_("- and {count} more").format(count=len(found) - _SHOWN))


def queue_digest(
    settings: AlertSettings,
    records: AlertRecords,
    places: Mapping[str, AlertPlace],
    now: int,
    *,
    name: str | None = None,
) -> int:
    """Put the digest into the outbox for the teams that want it; returns how many messages.

    Args:
        name: of this digest, which is sent once; None: that of this week, and only after Monday,
            08:00 WITA.
    """
    if name is None:
        moment = datetime.fromtimestamp(now, WITA)
        if now - _monday(moment).timestamp() > DAY_S:
            return 0  # a week that began without this service
        name = f"{_monday(moment):%G-W%V}"
    queued = 0
    channels = [
        channel
        for team in settings.teams.values()
        if team.digest
        for channel in team.channels(0, now)
    ]
    for channel in dict.fromkeys(channels):
        if records.has_message(f"digest.{name}.{channel}"):
            continue
        with speaking(settings.channels[channel].language):
            text = digest_text(records, places, now)
        with records.transaction():
            queued += records.queue(
                *("digest", f"digest.{name}.{channel}", channel, text.subject, text.body),
                now=now,
                due=now,
            )
    return queued


def _monday(moment: datetime) -> datetime:
    """The last Monday, 08:00 WITA."""
    found = moment.replace(hour=_HOUR, minute=0, second=0, microsecond=0)
    found -= timedelta(days=found.weekday())
    return found if found <= moment else found - timedelta(days=7)
