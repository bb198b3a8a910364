"""List, export and import enrolments that were made without a network."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_tools.cli import PATH, Application, pass_app, passphrase_option
from host_tools.cli._options import form_option, kit_option
from host_tools.cli._output import counted, show
from host_tools.cli._signing import open_authority
from host_tools.common import passphrase
from host_tools.common.errors import ProvinceError
from host_tools.common.files import write_file
from host_tools.common.i18n import _, marked, ngettext
from host_tools.listings.model import CODE, UNIX, Column, Listing, keyed_columns

if TYPE_CHECKING:
    from host_tools.field.enrolments import Record
    from host_tools.keys.ca import Authority
    from host_tools.office.importing import Imported


@click.group()
def command() -> None:
    """List, export and import enrolments that were made without a network.

    On a technician's laptop every enrolment is countersigned into a log. 'export' writes it to a
    file, 'import' reads that file on the province's side.
    """


@command.command("list")
@click.option(
    "--kit",
    type=PATH,
    metavar="DIR",
    help="The log of this opened kit, instead of what the province imported.",
)
@form_option
@pass_app
def list_(app: Application, kit: Path | None, form: str | None) -> None:
    """List enrolments: imported ones, or a kit's.

    Those that the province imported, or those in the log of a kit (--kit; without a province, the
    opened kit's).
    """

    kit = kit or _on_laptop(app)
    rows = _of_kit(kit) if kit is not None else _of_province(app)
    columns = [
        *keyed_columns(rows),
        Column("", _("log"), of=itemgetter("log")),
        Column("", _("number"), of=itemgetter("number"), right=True),
        Column("", _("time"), UNIX, itemgetter("time")),
        Column("", _("slot"), CODE, itemgetter("slot")),
        Column("", _("device"), CODE, itemgetter("device")),
        Column("", _("technician"), of=itemgetter("technician")),
        Column("", _("state"), of=_state_of),
    ]
    nothing = _("There are no enrolments yet.")
    show(app, Listing("enrolments", columns, rows), form, nothing)


def _state_of(row: dict[str, Any]) -> str:
    state = str(row["refused"] or _(row["state"]))
    if not row["corrections"]:
        return state
    return _("{state}; differs from the kit: {settings}").format(
        state=state, settings=", ".join(f"{k} = {v}" for k, v in row["corrections"].items())
    )


def _on_laptop(app: Application) -> Path | None:
    """The opened kit, if no province was given."""
    from host_tools.people.kits import KitDirectory, find_directory
    from host_tools.people.kits.model import KitError

    try:
        app.directory  # noqa: B018 - raises if there is none
    except ProvinceError:
        try:
            return KitDirectory(find_directory()).file.parent
        except KitError:
            pass  # no kit either; the missing province is reported
    return None


def _of_kit(kit: Path) -> list[dict[str, Any]]:
    from host_tools.field.enrolments import EnrolmentLog
    from host_tools.people.kits import KitDirectory

    records = EnrolmentLog(KitDirectory(kit).enrolments).records()
    return [_row(record, record.technician.hex(), _("in the log"), None) for record in records]


def _of_province(app: Application) -> list[dict[str, Any]]:
    from host_tools.field.enrolments import parse_record

    with app.registry() as registry:
        found = registry.enrolment_records()
    return [
        _row(
            parse_record(raw), name, marked("refused") if refused else marked("imported"), refused
        )
        for raw, name, refused in found
    ]


def _row(record: Record, technician: str, state: str, refused: str | None) -> dict[str, Any]:
    return {
        "log": record.log.hex(),
        "number": record.number,
        "time": record.time,
        "slot": record.slot,
        "device": record.device.hex(),
        "unique_id": record.unique_id,
        "board": record.board,
        "certificate": record.certificate_serial,
        "replaces": record.replaces.hex() if record.replaces else None,
        "kit": record.kit.hex(),
        "corrections": record.corrections or {},
        "site": record.site.as_json() if record.site else None,
        "technician": technician,
        "state": state,
        "refused": refused,
    }


@command.command()
@click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    metavar="FILE",
    help="File for the log.",
)
@kit_option
def export(output: Path, kit_path: Path | None) -> None:
    """Write the log of an opened kit to a file for the province.

    It is always the whole log; the province imports the new records. Nothing in it is secret.
    """
    from host_tools.field.enrolments import EnrolmentLog
    from host_tools.people.kits import KitDirectory, find_directory

    log = EnrolmentLog(KitDirectory(find_directory(kit_path)).enrolments)
    write_file(output, log.export())
    click.echo(
        ngettext(
            "{count} enrolment is in {file}; bring or send it to the province.",
            "{count} enrolments are in {file}; bring or send it to the province.",
            len(log.records()),
        ).format(count=len(log.records()), file=output)
    )


@command.command("import")
@click.argument("file", type=PATH, metavar="FILE")
@passphrase_option
@pass_app
def import_(app: Application, file: Path, passphrase_file: Path | None) -> None:
    """Enrol the devices of a technician's log.

    A log that is forked, changed or not signed by a technician of this province is refused. A
    record that conflicts with the registry is refused alone, with the reason, and retried when the
    file is imported again. A replaced device is revoked with its certificate. Importing a file
    twice changes nothing. Needs the passphrase: the office log gets an entry for each device.
    """
    from host_tools.office.cutting import cut_off
    from host_tools.office.importing import MAX_FILE, import_records, needs_authority, read_export
    from host_tools.people.office_pen import has_log, open_office

    province = app.province

    with file.open("rb") as source:
        data = source.read(MAX_FILE + 1)
    records = read_export(data, file)
    with app.registry() as registry:
        known = registry.records_of_log(records[0].log)
        done = len(known) >= len(records) and all(refused is None for _, refused, _ in known)
        secret = None
        if has_log(registry) and not done:
            secret = passphrase.existing(passphrase_file)
            open_office(province, registry, secret)

        def the_authority() -> Authority:
            return open_authority(app, secret or passphrase.existing(passphrase_file))

        # Before anything is changed: without the passphrase only half of it could be done.
        needed = needs_authority(province, registry, records, file)
        authority = the_authority() if needed else None
        results = import_records(registry, records, file)
        _report(app, results)
        replaced = [r.record.slot for r in results if r.outcome == "replaced"]
        for warning in cut_off(province, registry, lambda: authority or the_authority(), replaced):
            app.note(warning)
    refused = sum(result.outcome == "refused" for result in results)
    if refused:
        app.abort(
            _(
                "{refused} of {count} enrolments were refused; correct the causes above and "
                "import {file} again."
            ).format(refused=refused, count=len(results), file=file)
        )


def _report(app: Application, results: list[Imported]) -> None:

    counts = {
        name: sum(result.outcome == name for result in results)
        for name in ("enrolled", "replaced", "already", "known")
    }
    for result in results:
        record = result.record
        if result.outcome in ("enrolled", "replaced"):
            what = _("is enrolled for") if result.outcome == "enrolled" else _("has taken over")
            click.echo(
                _("Device {device} ({board}) {what} slot {slot}, by {technician}.").format(
                    device=record.device.hex(),
                    board=record.board,
                    what=what,
                    slot=record.slot,
                    technician=result.technician,
                )
            )
        elif result.outcome == "refused":
            app.note(
                _("Refused: record {number}, {slot}: {reason}.").format(
                    number=record.number, slot=record.slot, reason=result.reason
                )
            )
        if record.corrections and result.outcome not in ("refused", "known"):
            keys = ", ".join(record.corrections)
            click.echo(
                _("Settings of {slot} differ from the kit: {keys}.").format(
                    slot=record.slot, keys=keys
                )
            )
    click.echo(
        _(
            "{devices} enrolled, {replaced} of them in the place of another; {known} were known."
        ).format(
            devices=counted(counts["enrolled"] + counts["replaced"], "device"),
            replaced=counts["replaced"],
            known=counts["already"] + counts["known"],
        )
    )
