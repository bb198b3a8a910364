"""The agent's configuration as UCI's /etc/config/desalink; boards/openwrt/uci.py reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_NAME = re.compile(r"[A-Za-z0-9_]+")


class UciError(DesalinkError):
    """A configuration that UCI can't hold."""


def to_uci(config: Mapping[str, Any], *, enabled: bool, interpreter: str | None = None) -> str:
    """The text of /etc/config/desalink.

    Args:
        config: the agent's configuration, as in config.json: texts, whole numbers, lists of texts,
            sections of these, and sources in `usage`.
        enabled: whether the router starts the agent.
        interpreter: `micropython`, `python3`, or None: the first that is installed.

    Raises:
        UciError: a value or name that UCI does not allow.
    """
    general: dict[str, Any] = {"enabled": int(enabled)}
    if interpreter:
        general["interpreter"] = interpreter
    sections: list[tuple[str, str, Mapping[str, Any]]] = []
    for key, value in config.items():
        if not isinstance(value, Mapping):
            general[key] = value
            continue
        plain = {name: v for name, v in value.items() if not isinstance(v, Mapping)}
        sections.append((key, key, plain))
        for name, source in value.items():
            if isinstance(source, Mapping):
                if key != "usage":
                    raise UciError(
                        _("{key}.{name} can't be written to UCI: only usage has sections.").format(
                            key=key, name=name
                        )
                    )
                sections.append(("source", name, source))
    return "\n".join(_section(*s) for s in [("agent", "agent", general), *sections])


def _section(kind: str, name: str, options: Mapping[str, Any]) -> str:
    lines = [f"config {_name(kind)} {_quoted(_name(name))}"]
    for option, value in options.items():
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            lines.append(f"\toption {_name(option)} {_quoted(str(value))}")
        elif isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
            lines += [f"\tlist {_name(option)} {_quoted(item)}" for item in value]
        elif value is not None:
            raise UciError(
                _(
                    "{name}.{option} can't be written to UCI: expected a text, a whole number or "
                    "a list of texts; change it in the kit's settings."
                ).format(name=name, option=option)
            )
    return "\n".join([*lines, ""])


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UciError(
            _("'{name}' is no name that UCI allows: use letters, digits and underscores.").format(
                name=name
            )
        )
    return name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
