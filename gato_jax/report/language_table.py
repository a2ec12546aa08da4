"""Measures of texts, captions and answers for people: a terminal's table, and pictures with what was written."""

import dataclasses
import math
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import rich.console
import rich.table

from gato_jax.language import measure
from gato_jax.report.language_scores import Score
from gato_jax.report.table import MIN_WIDTH

_EXAMPLES = 12  # on a page, but one of each task at least


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture beside the page, and its row."""

  file: str
  row: measure.Row


def number(score: Score, value: float) -> str:
  """In the digits that a measure deserves; "" where there is none."""
  return "" if math.isnan(value) else f"{value:.{3 if score.lower_is_better else 1}f}"


def interval(score: Score) -> str:
  low, high = (number(score, end) for end in (score.low, score.high))
  return f"[{low}, {high}]" if low else "no spread"


def notes(scores: Sequence[Score]) -> list[str]:
  """What stands in the columns "chance" and "blind", and of which measures."""
  found: dict[str, dict[str, None]] = {}
  for score in scores:
    for column, what in (("chance", score.chance_of), ("blind", score.blind_of)):
      if what:
        found.setdefault(f"{column}: {what}", {})[score.name] = None
  return [f"{what} ({', '.join(names)})" for what, names in found.items()]


def examples(by_task: Mapping[str, Sequence[measure.Row]], folder: pathlib.Path, out: pathlib.Path) -> list[Example]:
  """Of every task the same number of the pictures in `folder`, drawn, copied to `out`/pictures.

  Nothing of what was written plays a part in the choice.
  """
  kept = {
    task: [row for row in rows if (folder / task / f"{row.document}.png").exists()] for task, rows in by_task.items()
  }
  kept = {task: rows for task, rows in kept.items() if rows}
  each = max(1, _EXAMPLES // max(1, len(kept)))
  found = []
  for task, rows in kept.items():
    for row in (rows[place] for place in measure.sample(len(rows), each)):
      target = out / "pictures" / task / f"{row.document}.png"
      target.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(folder / task / f"{row.document}.png", target)
      found.append(Example(target.relative_to(out).as_posix(), row))
  return found


def show(scores: Sequence[Score], console=None) -> None:
  """Prints a line for each measure of each task."""
  console = console or rich.console.Console()
  if console.width < MIN_WIDTH:
    console = rich.console.Console(file=console.file, width=MIN_WIDTH)
  table = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
  table.add_column("task", no_wrap=True)
  table.add_column("measure", no_wrap=True)
  for name in ("value", "95 %", "chance", "blind", "documents"):
    table.add_column(name, justify="right", no_wrap=True)
  for s in scores:
    cells = (number(s, s.value), interval(s).replace("[", r"\["), number(s, s.chance), number(s, s.blind))
    table.add_row(s.task, s.name, *cells, str(s.documents))
  console.print(table)
  for note in notes(scores):
    console.print(note, highlight=False, markup=False)
