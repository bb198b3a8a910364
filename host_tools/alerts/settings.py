"""The settings of alerts: the rules that are shipped, and a province's alerts.toml over them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from host_tools.common import tables
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, WITA

FILE = "alerts.toml"
SEVERITIES = ("info", "warning", "critical")
STATE, FLAPPING, UNUSED, VOLTAGE = "state", "flapping", "unused", "voltage"
JOURNAL, CERTIFICATE, DISK, OWN = "journal", "certificate", "disk", "own"
CHANNEL = "channel"
KINDS = (STATE, FLAPPING, UNUSED, VOLTAGE, JOURNAL, CERTIFICATE, DISK, OWN, CHANNEL)
DUTY = "duty"  # in a team's steps: whose turn it is

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}
_SPAN = re.compile(r"([0-9]{1,6}) ?(s|min|h|d|w)")
_HOURS = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")

Length = Annotated[str, tables.text(_SPAN.pattern, 'a length of time such as "30 min"')]
Hours = Annotated[str, tables.text(_HOURS.pattern, 'hours such as "08:00-16:00"')]
Names = Annotated[list[str], Meta(description="a list of names in quotes")]
Line = Annotated[str, tables.text(r"[^\r\n]*", "one line of text in quotes")]

T = TypeVar("T")


class AlertSettingsError(DesalinkError):
    """alerts.toml is not valid."""


def seconds(length: str) -> int:
    """Seconds of a length of time such as `30 min`.

    Raises:
        DesalinkError: it is none.
    """
    found = _SPAN.fullmatch(length.strip())
    if found is None:
        raise DesalinkError(
            _("'{text}' is not a length of time; give one such as 30min or 2d.").format(
                text=length
            )
        )
    return int(found[1]) * _UNITS[found[2]]


def hours_of(text: str) -> tuple[int, int]:
    """Seconds since midnight of hours such as `18:00-23:00`."""
    found = _HOURS.fullmatch(text)
    assert found is not None, text
    opens, m, closes, n = map(int, found.groups())
    return opens * 3600 + m * 60, closes * 3600 + n * 60


@dataclass(frozen=True)
class AlertRule:
    """What is alerted, to which teams.

    states: of `state`. family: rules whose troubles are one, as a slot's different ways of being
    down. limit: of `flapping`, `voltage`, `journal`, `certificate`, `disk`, `channel`. send: at
    any time, or in the team's working hours only.
    """

    when: Annotated[str, tables.choice(*KINDS)]
    to: Names
    states: Names = field(default_factory=list)
    family: Line = ""
    after: Length = "0 s"
    limit: Annotated[int, tables.whole(0, 1_000_000)] = 0
    severity: Annotated[str, tables.choice(*SEVERITIES)] = "warning"
    send: Annotated[str, tables.choice("always", "working")] = "always"
    off: Annotated[bool, Meta(description="true or false")] = False
    name: str = ""

    @cached_property
    def after_s(self) -> int:
        return seconds(self.after)

    @property
    def family_name(self) -> str:
        """Of its family; without one, its own."""
        return self.family or self.name

    @cached_property
    def rank(self) -> int:
        """The higher, the more severe."""
        return SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class Team:
    """Who is sent something: by steps of escalation, names of channels or `duty`.

    duty: channels that take turns of `turn`, from the day `since` on. places: only alerts of
    villages whose codes begin with one of them. days: of the week, 1 is Monday.
    """

    steps: list[Names]
    escalate: Length = "1 h"
    duty: Names = field(default_factory=list)
    since: Annotated[date | None, Meta(description="a date such as 2026-11-23")] = None
    turn: Length = "7 d"
    hours: Hours = "08:00-16:00"
    days: list[Annotated[int, tables.whole(1, 7)]] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    places: Names = field(default_factory=list)
    digest: Annotated[bool, Meta(description="true or false")] = False

    def on_duty(self, now: float) -> str | None:
        """The channel whose turn it is."""
        if not self.duty:
            return None
        first = self.since or date(2026, 1, 5)
        begin = datetime(first.year, first.month, first.day, tzinfo=WITA).timestamp()
        return self.duty[int((now - begin) // seconds(self.turn)) % len(self.duty)]

    def channels(self, step: int, now: float) -> list[str]:
        """The channels of the steps up to one, each once."""
        found: dict[str, None] = {}
        for names in self.steps[: step + 1]:
            for name in names:
                channel = self.on_duty(now) if name == DUTY else name
                if channel is not None:
                    found[channel] = None
        return list(found)

    def working(self, now: float) -> float:
        """Now, or when the next working hours begin."""
        opens, closes = hours_of(self.hours)
        moment = datetime.fromtimestamp(now, WITA)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for number in range(8):
            its = midnight + timedelta(days=number)
            if its.isoweekday() in self.days and its.timestamp() + closes > now:
                return max(now, its.timestamp() + opens)
        return now


@dataclass(frozen=True)
class ChannelSettings:
    """One way to one person, group or program: an e-mail address, an address of Apprise, or a
    program's address that takes signed JSON (hook).

    Files are relative to the province. url_file: its first line is the address of Apprise, which
    holds a secret. secret_file: its first line signs what is sent to the hook.
    """

    mail: Annotated[str, tables.text(r"[^\s<>@,]+@[^\s<>@,]+|", "an e-mail address in quotes")] = (
        ""
    )
    url: Line = ""
    url_file: Line = ""
    hook: Annotated[
        str,
        tables.text(
            r"https?://[^\s/@#]+(/[^\s#]*)?|", "an address such as https://example.go.id/x"
        ),
    ] = ""
    secret_file: Line = ""
    language: Annotated[str, tables.choice("id", "en")] = "id"


@dataclass(frozen=True)
class Smtp:
    """The server that takes the e-mails."""

    host: Line
    sender: Annotated[str, tables.text(r"[^\s<>@,]+@[^\s<>@,]+", "an e-mail address in quotes")]
    port: Annotated[int, tables.whole(1, 65535)] = 587
    tls: Annotated[str, tables.choice("starttls", "tls", "none")] = "starttls"
    user: Line = ""
    password_file: Line = ""


@dataclass(frozen=True)
class Grouping:
    """When many alerts are one; shares in per cent."""

    window: Length
    least: Annotated[int, tables.whole(2, 10_000)]
    share: Annotated[int, tables.whole(1, 100)]
    own_share: Annotated[int, tables.whole(1, 100)]
    own_least: Annotated[int, tables.whole(2, 10_000)]

    @property
    def window_s(self) -> int:
        return seconds(self.window)


@dataclass(frozen=True)
class Calm:
    """When an alert is over, and what is none."""

    settle: Length
    flaps: Annotated[int, tables.whole(1, 1000)]
    flapping_settle: Length
    late: Length


@dataclass(frozen=True)
class AlertSettings:
    """All settings. hours: by village or slot, when the link is expected; link: has `{token}`."""

    rules: dict[str, AlertRule]
    grouping: Grouping
    calm: Calm
    teams: dict[str, Team] = field(default_factory=dict)
    channels: dict[str, ChannelSettings] = field(default_factory=dict)
    hours: dict[str, tuple[int, int]] = field(default_factory=dict)
    smtp: Smtp | None = None
    link: str = ""

    def of_kind(self, kind: str) -> list[AlertRule]:
        """The rules of a kind that are in force."""
        return [rule for rule in self.rules.values() if rule.when == kind and not rule.off]


def load_settings(directory: Path) -> AlertSettings:
    """The settings of a province.

    Raises:
        AlertSettingsError: names the file and the key.
        OSError: the file can't be read.
    """
    path = directory / FILE
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    shipped = tomllib.loads(text)
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return _settings(_merged(shipped, own))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AlertSettingsError(
            _("{path} can't be understood ({error}); correct it.").format(path=path, error=error)
        ) from None
    except tables.TableError as error:
        raise AlertSettingsError(
            _("{path}: {error} Correct it and try again.").format(path=path, error=error)
        ) from None


def _merged(shipped: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(shipped)
    for key, value in own.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            value = _merged(old, value)
        result[key] = value
    return result


_KEYS = ("rules", "grouping", "calm", "teams", "channels", "hours", "smtp", "link")


def _settings(table: dict[str, Any]) -> AlertSettings:
    for key in table:
        if key not in _KEYS:
            raise tables.TableError(
                _("{key}: no such key (there are: {known}).").format(
                    key=key, known=", ".join(_KEYS)
                )
            )
    settings = AlertSettings(
        {
            name: _part({"name": name} | its, f"rules.{name}", AlertRule)
            for name, its in _section(table, "rules").items()
        },
        _part(table["grouping"], "grouping", Grouping),
        _part(table["calm"], "calm", Calm),
        {
            name: _part(its, f"teams.{name}", Team)
            for name, its in _section(table, "teams").items()
        },
        {
            name: _part(its, f"channels.{name}", ChannelSettings)
            for name, its in _section(table, "channels").items()
        },
        {name: _hours(name, its) for name, its in _section(table, "hours").items()},
        _part(table["smtp"], "smtp", Smtp) if "smtp" in table else None,
        str(table.get("link", "")),
    )
    _check(settings)
    return settings


def _section(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise tables.TableError(
            _("{key}: expected a section, got {value}.").format(key=key, value=repr(found))
        )
    return found


def _part(table: Any, key: str, kind: type[T]) -> T:
    try:
        return tables.checked(table, kind)
    except tables.TableError as error:
        raise tables.TableError(f"{key}.{error}") from None


def _hours(name: str, text: Any) -> tuple[int, int]:
    if not isinstance(text, str) or not _HOURS.fullmatch(text):
        raise tables.TableError(
            _('{key}: expected hours such as "18:00-23:00".').format(key=f"hours.{name}")
        )
    return hours_of(text)


def _check(settings: AlertSettings) -> None:
    """What names something names what there is, and a state has one rule."""
    by_state: dict[str, str] = {}
    for rule in settings.of_kind(STATE):
        for state in rule.states:
            other = by_state.setdefault(state, rule.name)
            if other != rule.name:
                raise tables.TableError(
                    _("{key}: {state} is also in {other}; name it once.").format(
                        key=f"rules.{rule.name}.states", state=state, other=f"rules.{other}"
                    )
                )
    for name, team in settings.teams.items():
        for channel in (*team.duty, *(each for step in team.steps for each in step)):
            if channel not in settings.channels and channel != DUTY:
                raise tables.TableError(
                    _("{key}: there is no channel '{name}'; add {section}.").format(
                        key=f"teams.{name}", name=channel, section=f"[channels.{channel}]"
                    )
                )
    for name, its in settings.channels.items():
        if sum(map(bool, (its.mail, its.url, its.url_file, its.hook))) != 1:
            raise tables.TableError(
                _("{key}: give one of mail, url, url_file and hook.").format(
                    key=f"channels.{name}"
                )
            )
        if bool(its.hook) != bool(its.secret_file):
            raise tables.TableError(
                _("{key}: hook and secret_file belong together; give both.").format(
                    key=f"channels.{name}"
                )
            )
        if its.mail and settings.smtp is None:
            raise tables.TableError(
                _("{key}: e-mail needs a section [smtp].").format(key=f"channels.{name}")
            )
    if settings.link and "{token}" not in settings.link:
        raise tables.TableError(
            _("link: expected an address that holds {token}.").format(token="{token}")  # nosec B106 # no password
        )
