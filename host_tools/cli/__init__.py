"""The command `desalink`: one module a verb, imported only when its verb is used.

A module `host_tools/cli/<verb>.py` is a verb. It exposes `command` (a click command or group), and
the first line of its docstring is the verb's help in the list of verbs. Modules whose names begin
with an underscore are not verbs. A verb takes the `Application` with `@pass_app`, imports what is
heavy inside its functions, and leaves errors to `main`.
"""

from __future__ import annotations

import sys

try:
    from host_tools.common.interrupts import keep_interrupts

    keep_interrupts()

    import os
    from collections.abc import Sequence
    from copy import deepcopy
    from io import TextIOWrapper
    from pathlib import Path
    from typing import TYPE_CHECKING, NoReturn

    import click

    from host_tools import __version__
    from host_tools.common.errors import DesalinkError, ProvinceError, printable

    # The code that opens a file reports that it can't be read; click would do it in English. Here,
    # as click looks for its own translations at its first parameter.
    PATH = click.Path(path_type=Path, readable=False)
except KeyboardInterrupt:
    # These take a quarter of a second, in which nothing is begun: as `main` ends it afterwards.
    sys.exit(130)

if TYPE_CHECKING:
    from host_tools.province.registry import Registry
    from host_tools.province.settings import Province

DIRECTORY_VARIABLE = "DESALINK_DIR"

# Set by the shell when it asks for completions (click's convention).
_COMPLETION_VARIABLE = "_DESALINK_COMPLETE"


class Application:
    """What every verb is given: where the province is, and how to end with a sentence."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._province: Province | None = None

    @property
    def directory(self) -> Path:
        """The province directory: -C, else DESALINK_DIR, else here if here is one.

        Raises:
            ProvinceError: none was given and this directory is none.
        """
        from host_tools.common.i18n import _
        from host_tools.province.settings import FILE

        if self._directory is not None:
            return self._directory
        given = os.environ.get(DIRECTORY_VARIABLE)
        if given:
            return Path(given)
        if Path(FILE).exists():
            return Path.cwd()
        raise ProvinceError(
            _(
                "This directory is not a province (no {file}); give the province's directory with "
                "-C or {variable}, or make one with 'desalink init DIR --province CODE'."
            ).format(file=FILE, variable=DIRECTORY_VARIABLE)
        )

    @property
    def province(self) -> Province:
        """The opened province.

        Raises:
            ProvinceError: there is none, or its province.toml is wrong.
        """
        if self._province is None:
            from host_tools.province.settings import load

            self._province = load(self.directory)
        return self._province

    def registry(self) -> Registry:
        """The opened registry of the province, to be closed with `with`."""
        from host_tools.province.registry import Registry

        return Registry.open(self.province.directory)

    def abort(self, sentence: str, code: int = 1) -> NoReturn:
        """End the command with one sentence for the person at the keyboard."""
        error = DesalinkError(sentence)
        error.exit_code = code
        raise error

    def note(self, sentence: str) -> None:
        """Tell something that is not the command's output (stderr)."""
        click.echo(printable(sentence), err=True)


pass_app = click.make_pass_decorator(Application)

passphrase_option = click.option(
    "--passphrase-file",
    type=PATH,
    metavar="FILE",
    help="Read the passphrase from the first line of FILE (else DESALINK_PASSPHRASE, else asked).",
)


def _in_language(command: click.Command) -> click.Command:
    """A verb with its help in the language in force, where the catalogue has it."""
    from inspect import cleandoc

    from host_tools.common.i18n import _, language

    if language() == "en":
        return command
    if command.help:
        command.help = _(cleandoc(command.help))
    if command.epilog:
        command.epilog = _(command.epilog)
    if command.options_metavar:
        command.options_metavar = _(command.options_metavar)
    if isinstance(command, click.Group):
        command.subcommand_metavar = _(command.subcommand_metavar)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = _(parameter.help)
        if parameter.metavar:
            parameter.metavar = _(parameter.metavar)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _in_language(one)
    return command


class _Verbs(click.Group):
    """Verbs found by their file names; listing them imports none."""

    _directory = Path(__file__).parent

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A --help may come before the default of --lang.
        if not any(argument.startswith("--lang") for argument in args):
            _speak(ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(
            file.stem.replace("_", "-")
            for file in self._directory.glob("*.py")
            if not file.name.startswith("_")
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        from importlib import import_module

        command = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return _in_language(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from difflib import get_close_matches

            from host_tools.common.i18n import _

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            if near:
                sentence = _("There is no command '{name}'; did you mean '{near}'?")
            else:
                sentence = _("There is no command '{name}'; 'desalink --help' lists them.")
            ctx.fail(sentence.format(name=args[0], near=near[0] if near else ""))
        return super().resolve_command(ctx, args)

    def _help_line(self, verb: str) -> str:
        """The first line of a module's docstring, read as text: importing eleven verbs is slow."""
        file = self._directory / f"{verb.replace('-', '_')}.py"
        with file.open(encoding="utf-8") as source:
            for line in source:
                line = line.strip()
                if line.startswith('"""'):
                    return line.strip('"').strip()
                if line and not line.startswith("#"):
                    break
        return ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from host_tools.common.i18n import _

        with formatter.section(_("Commands")):
            formatter.write_dl(
                [(verb, _(self._help_line(verb) or verb)) for verb in self.list_commands(ctx)]
            )


def _choose_language(ctx: click.Context, parameter: click.Parameter, name: str | None) -> None:
    from host_tools.common.i18n import set_language

    set_language(name)
    _speak(ctx)


def _speak(ctx: click.Context) -> None:
    """Put click and the command itself into the language in force. Verbs follow when they are
    imported."""
    from host_tools.cli._click import use_language
    from host_tools.common.i18n import _

    use_language()
    _in_language(ctx.command)
    # click makes this option before the language is known.
    shown = ctx.command.get_help_option(ctx)
    if shown is not None and shown.help:
        shown.help = _(shown.help)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99},
    epilog="Where something goes wrong, DESALINK_DEBUG=1 shows the whole traceback.",
)
@click.option(
    "-C",
    "--province-dir",
    type=PATH,
    metavar="DIR",
    help="The province's directory (else DESALINK_DIR, else the current one).",
)
@click.option(
    "--lang",
    metavar="en|id",
    expose_value=False,
    is_eager=True,
    callback=_choose_language,
    help="English or Bahasa Indonesia (else DESALINK_LANG, else the system's language).",
)
@click.version_option(
    __version__,
    prog_name="desalink",
    message="%(prog)s %(version)s",
    help="Show the version and exit.",
)
@click.pass_context
def desalink(ctx: click.Context, province_dir: Path | None) -> None:
    """Measure the internet hotspots of villages, and keep the figures as evidence."""
    ctx.obj = Application(province_dir)


def _common_first(arguments: Sequence[str]) -> list[str]:
    """Allow -C and --lang anywhere: people put them at the end of the line."""
    first: list[str] = []
    rest: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            rest += [argument, *remaining]
            break
        if argument in ("-C", "--province-dir", "--lang") and remaining:
            first += [argument, remaining.pop(0)]
        elif argument.startswith(("--province-dir=", "--lang=")):
            first.append(argument)
        else:
            rest.append(argument)
    return first + rest


def run(arguments: Sequence[str]) -> int:
    """Run a verb; whatever ends it becomes a sentence and an exit code.

    0 done; 1 an error, said in one sentence; 2 wrong usage; 70 a defect of this program;
    130 interrupted; 141 the reader of the output went away.
    """
    try:
        if _COMPLETION_VARIABLE in os.environ:
            desalink.main(list(arguments), "desalink")
        # Not `desalink.main`: that ends some errors itself, in each version otherwise. A copy:
        # its texts take the language of this call.
        command = deepcopy(desalink)
        with command.make_context("desalink", _common_first(arguments)) as context:
            command.invoke(context)
        # Where nobody reads any more, this is where it shows; later it would be a traceback.
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - whatever it is becomes a sentence
        from host_tools.cli._errors import report

        return report(error)
    return 0


def _write_any_letter() -> None:
    """Keep a tick or an arrow from ending a command where the output's encoding lacks it.

    Windows gives a pipe or a file the code page of the system; desalink writes UTF-8 there.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            redirected = os.name == "nt" and not stream.isatty()
            utf8 = redirected and "PYTHONIOENCODING" not in os.environ
            stream.reconfigure(encoding="utf-8" if utf8 else None, errors="replace")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `desalink` and end the process with the exit code of `run`."""
    _write_any_letter()
    raise SystemExit(run(sys.argv[1:] if arguments is None else arguments))
