"""All that an installed device says of itself, as one table for people and programs."""

from __future__ import annotations

import base64
import time
from typing import Any

from host_tools.common.errors import printable
from host_tools.common.i18n import _, number
from host_tools.common.times import wita
from host_tools.field.enrolments.site import named
from host_tools.field.talk.advice import advice, evidence_line, probe_name
from host_tools.field.talk.rounds import figures, one_round, test_province
from host_tools.field.talk.visitor import Visitor, unknown_form
from host_tools.states.words import state_sentence
from host_tools.wire import Refused, parse_report
from host_tools.wire.columns import decode_columns
from host_tools.wire.envelope import split
from host_tools.wire.vocabulary import RESET_CAUSES, state_name

_RESETS = {cause.code: cause.name for cause in RESET_CAUSES}
_NETWORKS = 12


# What a device says of itself; it may be None where this says so.
_FORM: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("slot", "board", "agent", "interpreter", "stream"), (str,)),
    **dict.fromkeys(("boot", "clock", "certificate_end", "reset_cause"), (int,)),
    **dict.fromkeys(("oldest", "newest", "waiting", "fill"), (int,)),
    **dict.fromkeys(("unique_id", "report"), (str, type(None))),
    **dict.fromkeys(("storage_free", "voltage", "temperature"), (int, float, type(None))),
    "clock_synchronised": (bool, type(None)),
    "stored": (list,),
}


def ask_about(visitor: Visitor) -> dict[str, Any]:
    """What the device says of itself, in the form that is expected.

    Raises:
        ProvisionError: it is not.
    """
    said = visitor.ask("about()")
    right = (
        type(said) is dict
        and all(type(said.get(name)) in kinds for name, kinds in _FORM.items())
        and all(type(number) is int for number in said["stored"])
    )
    if not right:
        raise unknown_form()
    return {name: said[name] for name in _FORM}


def look(visitor: Visitor) -> dict[str, Any]:
    """Ask a device everything; takes up to some minutes where its network is dead.

    Raises:
        ProvisionError: it does not answer, or in an unknown form.
    """
    about = ask_about(visitor)
    about["clock_ahead"] = about["clock"] - int(time.time())
    about["reset_cause"] = _RESETS.get(about["reset_cause"], "unknown")
    report = about.pop("report", None)
    networks = visitor.networks()
    province, detail = test_province(visitor)
    figures(visitor)  # counters need a value to count from
    found = one_round(visitor, put=False)
    row, usage = figures(visitor)
    return {
        **about,
        "last_report": _last_report(report) if report else None,
        "wifi": None if networks is None else [network._asdict() for network in networks],
        "state": found.state,
        "evidence": [[state_name(rung), probe_name(result)] for rung, result in found.evidence],
        "figures": named(row),
        "usage": usage,
        "province": {"result": province, "detail": detail},
        "advice": advice(found.state, province),
        "log": visitor.log(),
    }


def key_of(encoded: str | None) -> bytes | None:
    """The id of the key that signed a report in base64; None if it can't be read."""
    try:
        return split(base64.b64decode(encoded or ""))[0]
    except (ValueError, Refused):
        return None


def _last_report(encoded: str) -> dict[str, Any] | None:
    """The newest report: who signed it, when it began, and its last sample."""
    try:
        message = base64.b64decode(encoded)
        kid, begin = split(message)
        report = parse_report(message[begin:-66])
    except (ValueError, Refused):
        return None
    last = {name: column[-1] for name, column in decode_columns(report).items() if column}
    state = last.get("state")
    return {
        "device": kid.hex(),
        "seq": report.seq,
        "boot": report.boot,
        "start": report.start,
        "end": None if report.start is None else report.start + report.n * report.step,
        "samples": report.n,
        "state": None if state is None else state_name(state),
    }


def lines(said: dict[str, Any]) -> list[str]:
    """What `look` returned, for people."""

    def line(title: str, text: object) -> str:
        return printable(f"{title + ':' if title else '':<19} {text}")

    clock = _("{time}, {seconds} s from this laptop's").format(
        time=wita(said["clock"]), seconds=f"{said['clock_ahead']:+d}"
    )
    found = [
        line(_("Device"), f"{said['slot']}  {said['board']}  {said['unique_id'] or '-'}"),
        line(_("Agent"), f"{said['agent']}, {said['interpreter']}, boot {said['boot']}"),
        line(_("Clock"), clock),
        line(_("Certificate until"), wita(said["certificate_end"])),
        line(
            _("Reports"),
            _("{oldest} to {newest} are kept, {waiting} wait to be stored").format(
                oldest=said["oldest"], newest=said["newest"], waiting=said["waiting"]
            ),
        ),
        line(_("Stored"), _ranges(said["stored"]) or _("none yet")),
        line(
            _("Journal"),
            _("{share} % full, {free} KB free").format(
                share=number(said["fill"] / 10, 1), free=number((said["storage_free"] or 0) / 1024)
            ),
        ),
    ]
    last = said["last_report"]
    if last:
        when = wita(last["end"]) or _("before the clock was set")
        state = state_sentence(last["state"] or "unknown")
        found.append(line(_("Last report"), f"{last['seq']}, {when}, {state}"))
    for network in (said["wifi"] or [])[:_NETWORKS]:
        found.append(line(_("Wi-Fi in reach"), f"{network['signal']} dBm  {network['name']}"))
    found.append(line(_("Link"), state_sentence(said["state"])))
    found += [line("", evidence_line(*rung)) for rung in said["evidence"]]
    found += [line("", text) for text in figure_lines(said["figures"])]
    for name, answers in said["usage"].items():
        text = _("{source} answers") if answers else _("{source} does not answer")
        found.append(line(_("Usage"), text.format(source=name)))
    found.append(line(_("Province"), _province(**said["province"])))
    if said["log"]:
        found += ["", _("Log:"), *(printable(text) for text in said["log"].splitlines())]
    if said["advice"]:
        found += ["", said["advice"]]
    return found


def _ranges(flat: list[int]) -> str:
    return ", ".join(f"{low}-{high}" for low, high in zip(flat[::2], flat[1::2], strict=False))


def _province(result: str, detail: str) -> str:
    if result == "ok":
        return _("its server {host} accepts this device").format(host=detail)
    return _("not reached: {result}").format(result=f"{result} {detail}".strip())


def figure_lines(row: dict[str, float]) -> list[str]:
    """Figures of the link for people, those that were measured."""
    shown = (
        ("rtt_gw_mean", _("round trip to the router: {value} ms")),
        ("rtt_mean", _("round trip to the internet: {value} ms")),
        ("loss", _("loss: {value} %")),
        ("dns_time", _("name look-up: {value} ms")),
        ("signal", _("signal: {value} dBm")),
        ("lte_rsrp", _("LTE signal: {value} dBm")),
    )
    return [
        text.format(value=number(row[name], 0 if float(row[name]).is_integer() else 1))
        for name, text in shown
        if name in row
    ]
