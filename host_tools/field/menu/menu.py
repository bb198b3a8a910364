"""The menu itself: a list of what can be done, each with its verb, and the run of the verb."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from host_tools.common.errors import DesalinkError, PassphraseError
from host_tools.common.i18n import _, language, set_language
from host_tools.common.passphrase import KIT_VARIABLE
from host_tools.field.menu.screen import Choice, MenuScreen
from host_tools.field.menu.trip import Trip
from host_tools.people.kits import Kit

# The start scripts set it to the stick's folder.
STICK_VARIABLE = "DESALINK_STICK"


@dataclass(frozen=True)
class MenuItem:
    """Something that a technician does.

    verb: as people type it, shown beside the title; ask: asks for what the verb needs, returns its
    arguments, or None: go back.
    """

    title: Callable[[], str]
    verb: str
    ask: Callable[[Menu], Sequence[str] | None]


class Menu:
    """One session of a technician.

    Args:
        items: the list.
        run: runs a verb with its arguments; returns the exit code.
        ports: pattern of the boards' ports, None: all USB ports.
    """

    def __init__(
        self,
        screen: MenuScreen,
        trip: Trip,
        items: Sequence[MenuItem],
        run: Callable[[Sequence[str]], int],
        ports: str | None = None,
    ) -> None:
        self.screen = screen
        self.trip = trip
        self.ports = ports
        self._items = items
        self._run = run
        self._done: set[str] = set()

    def show(self) -> None:
        """Show the menu until the technician ends it."""
        with self.screen:
            while True:
                self._renew_status()
                chosen = self._choose()
                if chosen is None:
                    return
                try:
                    chosen()
                except (DesalinkError, OSError) as error:
                    self.screen.say(_("This does not work"), str(error))

    def _choose(self) -> Callable[[], object] | None:
        """What the technician does next; None: end."""
        found: list[tuple[Choice, Callable[[], object]]] = [
            (
                Choice(item.title(), f"desalink {item.verb}", item.verb in self._done),
                partial(self._do, item),
            )
            for item in self._items
        ]
        found.append((Choice(_("Type commands in a terminal")), self._terminal))
        # In the other language, for whoever can't read this one.
        other, title = ("id", "Bahasa Indonesia") if language() == "en" else ("en", "English")
        found.append((Choice(title, f"--lang {other}"), lambda: set_language(other)))
        stick = os.environ.get(STICK_VARIABLE)
        guide = Path(stick or "", _("Guide.pdf"))
        number = self.screen.choose(
            "Desalink",
            [choice for choice, _act in found],
            at=self._next(),
            note=_("The guide: {path}").format(path=guide) if stick else "",
            back=_("Esc end"),
        )
        return found[number][1] if isinstance(number, int) else None

    def _next(self) -> int:
        """The item that comes next on a trip."""
        verbs = [item.verb for item in self._items]
        if not self.trip.is_open():
            wanted = "kit open"
        elif "doctor" in verbs and "doctor" not in self._done:
            wanted = "doctor"
        elif self._some_left():
            wanted = "provision --village"
        else:
            wanted = "enrolments export"
        return verbs.index(wanted) if wanted in verbs else 0

    def _some_left(self) -> bool:
        try:
            return self.trip.kit is None or any(not stop.filled for stop in self.trip.stops())
        except (DesalinkError, OSError):
            return True  # the status line says what is wrong

    def _do(self, item: MenuItem) -> None:
        arguments = item.ask(self)
        if arguments is not None and self.perform(arguments):
            self._done.add(item.verb)
        self.trip.forget_other()

    def _renew_status(self) -> None:
        try:
            self.screen.status = self.trip.status()
        except (DesalinkError, OSError) as error:
            self.screen.status = str(error)

    # ---- for the items -----------------------------------------------------------------------

    def kit(self) -> Kit | None:
        """The opened kit, whose passphrase is asked for once; None: go back."""
        if self.trip.kit is None and not self.unlock():
            return None
        return self.trip.kit

    def unlock(self, file: Path | None = None) -> bool:
        """Ask for the kit's passphrase until it is right; False: go back.

        Args:
            file: a kit that is not opened yet.

        Raises:
            KitError, OSError: the kit is no use.
        """
        title = _("The kit's passphrase")
        question = _("The office gave it to you separately from the kit.")
        given = os.environ.get(KIT_VARIABLE, "")
        while True:
            secret = given or self.screen.ask(title, question, secret=True)
            if not secret:
                return False
            given = ""
            try:
                self.trip.open(secret, file)
            except PassphraseError as error:
                question = str(error)
                continue
            self._renew_status()
            return True

    def perform(self, arguments: Sequence[str]) -> bool:
        """Run a verb on the ordinary screen; after a failure, again if the technician wants."""
        code = 0

        def run() -> None:
            nonlocal code
            self.screen.console.print(
                f"desalink {shlex.join(arguments)}\n", style="bold", markup=False, highlight=False
            )
            with self._passphrase():
                code = self._run(["--lang", language(), *arguments])
            ending = (
                _("Enter: back to the menu.")
                if not code
                else _("Enter: try again.   Esc: back to the menu.")
            )
            self.screen.console.print(f"\n{ending}", style="bold", markup=False, highlight=False)

        while self.screen.aside(run) and code:
            pass
        return code == 0

    @contextmanager
    def _passphrase(self) -> Iterator[None]:
        """The verb gets the passphrase; what runs afterwards does not."""
        before = os.environ.get(KIT_VARIABLE)
        if self.trip.passphrase:
            os.environ[KIT_VARIABLE] = self.trip.passphrase
        try:
            yield
        finally:
            os.environ.pop(KIT_VARIABLE, None)
            if before is not None:
                os.environ[KIT_VARIABLE] = before

    def _terminal(self) -> None:
        shell = (
            [os.environ["COMSPEC"], "/k"]
            if "COMSPEC" in os.environ
            else [os.environ.get("SHELL", "/bin/sh")]
        )

        def run() -> None:
            self.screen.console.print(_("'exit' leads back to the menu."), style="bold")
            subprocess.call(shell)

        self.screen.aside(run, wait=False)
