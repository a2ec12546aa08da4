"""Writes the page of a study: the results of its runs together, with PNGs and CSVs beside it."""

import collections
import dataclasses
import functools
import importlib
import pathlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.analysis import run_metrics, studies
from experiments.analysis.report import html, scaling_page, sections
from gato_jax.env import results
from gato_jax.errors import GatoError, check_name
from gato_jax.evaluate import baselines
from gato_jax.evaluate import scores as scoring


@dataclasses.dataclass(frozen=True)
class Section:
  """The results of a study of one kind.

  Attributes:
    title: Heading of the page.
    text: Paragraphs on the method and on the results.
    figures: PNGs in the report's directory, with captions.
    tables: Name -> rows with the same keys; each table is also <name>.csv.
  """

  title: str
  text: Sequence[str]
  figures: Sequence[tuple[pathlib.Path, str]] = ()
  tables: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Played:
  """A run of a study and its results.

  Attributes:
    run: The run.
    directory: Directory of its results.
    workdir: Directory of its checkpoints and metrics.
  """

  run: studies.StudyRun
  directory: pathlib.Path
  workdir: pathlib.Path

  @property
  def labels(self) -> Mapping[str, Any]:
    return self.run.labels

  @functools.cached_property
  def rows(self) -> list[results.Row]:
    """All episodes that were played, at all steps."""
    return list(results.read(self.directory / "results.jsonl"))

  @functools.cached_property
  def baselines(self) -> dict[str, baselines.Baseline]:
    """Task -> means of its baselines."""
    return baselines.read(self.directory)

  @functools.cached_property
  def scores(self) -> list[scoring.TaskScore]:
    """Scores of the newest step that was played, [] if none was."""
    if not any(row.actor == results.POLICY for row in self.rows):
      return []

    return scoring.task_scores(self.rows, baselines=self.baselines)

  @functools.cached_property
  def metrics(self) -> run_metrics.Metrics:
    """Metrics of its training."""
    return run_metrics.read(self.workdir / "metrics.jsonl")


@dataclasses.dataclass(frozen=True)
class Study:
  """A study and the results of its runs.

  Attributes:
    name: Of the study.
    config: The study's config, as JSON.
    runs: In the study's order, finished or not.
  """

  name: str
  config: Mapping[str, Any]
  runs: Sequence[Played]

  def with_scores(self) -> list[Played]:
    """Returns the runs that have been played.

    Raises:
      GatoError: If none has.
    """
    played = [run for run in self.runs if run.scores]
    if not played:
      raise GatoError(
        f"no run of {self.name} has been played yet; run python -m experiments.study --config=..."
      )

    return played


def kinds() -> list[str]:
  """Returns the kinds of studies: the modules of `sections`."""
  return sorted(module.name for module in pkgutil.iter_modules(sections.__path__))


def write(
  out: pathlib.Path, study: Study, kind: str, facts: Mapping[str, Any]
) -> tuple[pathlib.Path, Section]:
  """Writes index.html, figures and CSVs into `out`.

  Args:
    out: The report's directory.
    study: The study.
    kind: Of the study, a module of experiments/analysis/report/sections.
    facts: Label -> text; "commands", a list, is printed as a block.

  Returns:
    The page's path and the section in it.
  """
  check_name(kind, kinds(), "kind of study")
  out.mkdir(parents=True, exist_ok=True)

  # Imported by name, since a section imports this module.
  module = importlib.import_module(f"experiments.analysis.report.sections.{kind}")
  section = module.section(study, out)

  for name, rows in section.tables.items():
    html.write_csv(out / f"{name}.csv", rows)

  # A run that only trains has no rows, one that only plays has no metrics.
  begun = collections.Counter(bool(run.rows or run.metrics) for run in study.runs)
  path = out / "index.html"
  html.write(
    path,
    "study.html",
    filters={"number": scaling_page.number},
    section=section,
    name=study.name,
    begun=f"{begun[True]} of {len(study.runs)}",
    runs=[_run_values(played) for played in study.runs],
    figures=[(html.embed(png), caption) for png, caption in section.figures],
    **html.made_by(facts),
  )
  return path, section


def _run_values(played: Played) -> dict[str, Any]:
  """Returns the page's values about one run."""
  changes = (f"{name}={value}" for name, value in played.run.changes.items())

  return {
    "run": played.run,
    "labels": ", ".join(f"{name}: {value}" for name, value in played.labels.items()),
    "changes": ", ".join(changes),
    "steps": played.metrics[-1]["step"] if played.metrics else None,
    "episodes": sum(row.actor == results.POLICY for row in played.rows),
  }
