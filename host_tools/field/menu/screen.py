"""The screens of the menu: a choice, a question, a message. 80 columns and 24 lines are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.screen import Screen
from rich.table import Table
from rich.text import Text

from host_tools.common.errors import printable
from host_tools.common.i18n import _
from host_tools.field.menu import keys
from host_tools.field.menu.keys import Keyboard

# Title, subtitle and rule above; rule and help below; a line on either side of the list.
_FRAME = 7


@dataclass(frozen=True)
class Choice:
    """A line of a list. beside: shown dimmed at the right; done: shown with a tick."""

    title: str
    beside: str = ""
    done: bool = False


class MenuScreen:
    """Draws one screen at a time, and reads keys until it is answered. A context manager: the
    terminal is the menu's within the block.

    Args:
        console: the terminal; its size may change.
        keys_of_terminal: puts the terminal into its mode for keys.

    Attributes:
        status: a line below the title.
    """

    def __init__(
        self, console: Console, keys_of_terminal: Callable[[], AbstractContextManager[Keyboard]]
    ) -> None:
        self.console = console
        self.status = ""
        self._keys_of_terminal = keys_of_terminal
        self._mode = ExitStack()
        self._keyboard: Keyboard

    def __enter__(self) -> MenuScreen:
        self._keyboard = self._mode.enter_context(self._keys_of_terminal())
        for switch, on in ((self.console.set_alt_screen, True), (self.console.show_cursor, False)):
            switch(on)
            self._mode.callback(switch, not on)
        return self

    def __exit__(self, *error: object) -> None:
        self._mode.close()

    def aside(self, work: Callable[[], object], *, wait: bool = True) -> bool:
        """Give the terminal to other work, then wait until its output was read.

        Returns:
            Whether the technician goes on; False: back.
        """
        self._mode.close()
        try:
            work()
            if not wait:
                return True
            with self._keys_of_terminal() as self._keyboard:
                return self.wait()
        finally:
            self.__enter__()

    def choose(
        self,
        title: str,
        choices: Sequence[Choice],
        *,
        at: int = 0,
        note: str = "",
        filtered: bool = False,
        back: str = "",
        more: str = "",
        hotkeys: str = "",
    ) -> int | str | None:
        """Have one of a list chosen.

        Args:
            at: where the cursor is at first.
            note: sentences above the list.
            filtered: typed letters show only the lines that contain them; else digits choose.
            back: what Esc does, if it is not "back".
            more: explains `hotkeys`, which are returned.

        Returns:
            The number of the line; a hotkey; or None: go back.
        """
        typed = ""
        while True:
            shown = [
                n
                for n, choice in enumerate(choices)
                if typed.casefold() in f"{choice.title} {choice.beside}".casefold()
            ]
            at = at if at in shown else (shown[0] if shown else 0)
            helps = [_("↑ ↓ choose"), _("letters search") if filtered else "", _("Enter take it")]
            helps += [more, back or _("Esc back")]
            head = [note] if note else []
            if typed:
                head.append(_("Search: {text}").format(text=typed))
            rows = self._list(choices, shown, at, len(head), numbered=not filtered)
            self._draw(title, [*map(Text, head), rows], "   ".join(filter(None, helps)))
            key = self._keyboard.key()
            where = shown.index(at) if shown else 0
            page = max(1, self.console.height - _FRAME - 2)
            step = {keys.UP: -1, keys.DOWN: 1, keys.PAGE_UP: -page, keys.PAGE_DOWN: page}.get(key)
            if step is not None and shown:
                at = shown[min(max(where + step, 0), len(shown) - 1)]
            elif key == keys.ENTER and shown:
                return at
            elif key == keys.ESCAPE and not typed:
                return None
            elif key == keys.ESCAPE:
                typed = ""
            elif key in hotkeys.split():
                return key
            elif filtered and key == keys.BACKSPACE:
                typed = typed[:-1]
            elif filtered and len(key) == 1:
                typed += key
            elif key.isdecimal() and len(key) == 1 and 0 < int(key) <= len(choices):
                return int(key) - 1

    def ask(self, title: str, question: str, *, default: str = "", secret: bool = False) -> str:
        """Have a line typed; empty: go back.

        Args:
            secret: show dots.
        """
        typed = default
        while True:
            shown = "•" * len(typed) if secret else typed
            line = Text.assemble("  ", ("> ", "bold"), shown, ("▏", "blink"))
            self._draw(title, [Text(question), Text(), line], _("Enter go on   Esc back"))
            key = self._keyboard.key()
            if key == keys.ENTER:
                return typed.strip()
            if key == keys.ESCAPE:
                return ""
            if key == keys.BACKSPACE:
                typed = typed[:-1]
            elif len(key) == 1:
                typed += key

    def say(self, title: str, text: str) -> bool:
        """Show a message; False if the technician goes back instead of on."""
        self._draw(title, [Text(printable(text))], _("Enter go on   Esc back"))
        return self.wait()

    def wait(self) -> bool:
        while (key := self._keyboard.key()) not in (keys.ENTER, keys.ESCAPE):
            pass
        return key == keys.ENTER

    def _list(
        self, choices: Sequence[Choice], shown: Sequence[int], at: int, above: int, numbered: bool
    ) -> RenderableType:
        """As many lines as there is room for, with the cursor among them."""
        if not shown:
            return Text(_("Nothing matches."), style="dim")
        room = max(1, self.console.height - _FRAME - above)
        where = shown.index(at)
        first = min(max(0, where - room // 2), max(0, len(shown) - room))
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(
            no_wrap=True, overflow="ellipsis", justify="right", max_width=self.console.width // 2
        )
        for n in shown[first : first + room]:
            choice, here = choices[n], n == at
            number = f"{n + 1}  " if numbered and n < 9 else "   " if numbered else ""
            tick = "✓ " if choice.done else ""
            table.add_row(
                "▸" if here else "",
                Text(f"{number}{tick}{printable(choice.title)}", style="reverse" if here else ""),
                Text(printable(choice.beside), style="dim"),
            )
        return table

    def _draw(self, title: str, body: Sequence[RenderableType], help_text: str) -> None:
        rule = Text("─" * self.console.width, style="dim")
        head = Text.assemble((title, "bold"))
        everything = Group(
            head, Text(self.status, style="dim"), rule, *body, rule, Text(help_text, style="dim")
        )
        self.console.control(Control.home())
        self.console.print(Screen(everything), end="")
