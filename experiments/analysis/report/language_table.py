"""Language scores for people: a table in the terminal, and images with what was written."""

import dataclasses
import math
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import rich.console

from experiments.analysis.language import measure
from experiments.analysis.report import console as terminal
from experiments.analysis.report.language_scores import LanguageScore

_EXAMPLES = 12  # on a page, but at least one of each task


@dataclasses.dataclass(frozen=True)
class Example:
  """An image beside the page.

  Attributes:
    file: Path of the image, relative to the page.
    row: What the network wrote about it.
  """

  file: str
  row: measure.DocumentRow


def number(score: LanguageScore, value: float) -> str:
  """Returns a value with the digits that suit its measure, "" for NaN."""
  digits = 3 if score.lower_is_better else 1
  return "" if math.isnan(value) else f"{value:.{digits}f}"


def interval(score: LanguageScore) -> str:
  """Returns "[low, high]", or "no spread"."""
  low, high = (number(score, end) for end in (score.low, score.high))
  return f"[{low}, {high}]" if low else "no spread"


def notes(scores: Sequence[LanguageScore]) -> list[str]:
  """Returns the meanings of the columns "chance" and "blind", with the measures they are for."""
  # Meaning -> names of measures, as a dict that keeps their order.
  measures: dict[str, dict[str, None]] = {}
  for score in scores:
    for column, meaning in (("chance", score.chance_of), ("blind", score.blind_of)):
      if meaning:
        measures.setdefault(f"{column}: {meaning}", {})[score.name] = None

  return [f"{meaning} ({', '.join(names)})" for meaning, names in measures.items()]


def examples(
  by_task: Mapping[str, Sequence[measure.DocumentRow]],
  directory: pathlib.Path,
  out: pathlib.Path,
) -> list[Example]:
  """Draws the same number of images of each task and copies them to `out`/pictures.

  The choice does not depend on what was written.

  Args:
    by_task: Task -> its rows.
    directory: The images, <task>/<document>.png.
    out: Directory of the page.
  """
  # Images are written for some documents only.
  with_image = {}
  for task, rows in by_task.items():
    rows = [row for row in rows if (directory / task / f"{row.document}.png").exists()]
    if rows:
      with_image[task] = rows

  per_task = max(1, _EXAMPLES // max(1, len(with_image)))
  chosen = []
  for task, rows in with_image.items():
    for index in measure.sample(len(rows), per_task):
      name = f"{rows[index].document}.png"
      target = out / "pictures" / task / name
      # Beside the page, since it must still show them when it is moved.
      target.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(directory / task / name, target)
      chosen.append(Example(target.relative_to(out).as_posix(), rows[index]))

  return chosen


def show(scores: Sequence[LanguageScore], console: rich.console.Console | None = None) -> None:
  """Prints a row for each measure of each task."""
  headings = ("value", "95 %", "chance", "blind", "documents")
  shown = terminal.table(left=["task", "measure"], right=headings)
  for score in scores:
    cells = [
      score.task,
      score.name,
      number(score, score.value),
      interval(score),
      number(score, score.chance),
      number(score, score.blind),
      str(score.documents),
    ]
    terminal.add_row(shown, cells)

  console = terminal.fitting(console, shown)
  console.print(shown)
  for note in notes(scores):
    console.print(note, highlight=False, markup=False)
