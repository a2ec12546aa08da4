"""Tables in a terminal."""

from collections.abc import Sequence

import rich.console
import rich.measure
import rich.table

# Characters: of the notes below a table, and of any table.
_LEAST_WIDTH, _WIDEST = 100, 10_000


def table(left: Sequence[str], right: Sequence[str], wrap: bool = False) -> rich.table.Table:
  """Returns an empty table without borders.

  Args:
    left: Headings of the first columns, which are aligned to the left.
    right: Headings of the other columns, which are aligned to the right.
    wrap: True if long cells may be wrapped.
  """
  shown = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
  for name in left:
    shown.add_column(name, no_wrap=not wrap)
  for name in right:
    shown.add_column(name, justify="right", no_wrap=not wrap)

  return shown


def add_row(shown: rich.table.Table, cells: Sequence[str], style: str = "") -> None:
  """Adds a row of plain text; rich would read intervals, "[low, high]", as markup."""
  shown.add_row(*(cell.replace("[", r"\[") for cell in cells), style=style)


def fitting(console: rich.console.Console | None, shown: rich.table.Table) -> rich.console.Console:
  """Returns a console that is wide enough for a table: a wrapped line is better than a cut one."""
  console = console or rich.console.Console()

  # rich takes the width of the terminal, or 80 in a file, and cuts cells.
  unbounded = console.options.update(max_width=_WIDEST)
  width = max(_LEAST_WIDTH, rich.measure.Measurement.get(console, unbounded, shown).maximum)
  if console.width < width:
    return rich.console.Console(file=console.file, width=width)
  return console
