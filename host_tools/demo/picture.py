"""A screen as SVG for a web page: readable with whatever monospaced font there is.

Rich's own frame loads its font from a content delivery network, which many viewers refuse and the
others should not be asked to.
"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from host_tools.demo.screen import WIDTH

_TITLE = "desalink demo"

# Each text has its length with it (textLength), so columns stand under each other in any font.
_FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
  white-space: pre;
}}
.{unique_id}-title {{ font: bold 17px system-ui, "DejaVu Sans", Arial, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

_THEME = TerminalTheme(
    (24, 27, 33),
    (212, 216, 224),
    [
        (60, 66, 77), (240, 98, 98), (110, 200, 120), (230, 190, 90),
        (100, 160, 240), (200, 130, 220), (90, 195, 205), (212, 216, 224),
    ],
)  # fmt: skip


def draw(screen: RenderableType, title: str = _TITLE) -> str:
    """What a terminal of WIDTH columns would show, as SVG."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen)
    return recorded(console, title)


def recorded(console: Console, title: str) -> str:
    """What a recording console has shown, as SVG."""
    return console.export_svg(title=title, theme=_THEME, code_format=_FRAME, unique_id="desalink")


def save(screen: RenderableType, file: Path) -> None:
    """Write what a terminal of WIDTH columns would show."""
    file.write_text(draw(screen))
