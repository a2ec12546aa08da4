"""The page of a study: what its runs show together, figures inside it, PNGs and CSVs beside it."""

import collections
import dataclasses
import functools
import importlib
import pathlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax import baselines, results, specs, studies
from gato_jax.errors import GatoError
from gato_jax.report import html, scaling_page, sections
from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring


@dataclasses.dataclass(frozen=True)
class Section:
  """What a kind has to say.

  Attributes:
    text: paragraphs: what was done, what came out. figures: PNGs in the report's folder, with captions.
    tables: name -> rows of one shape; each is also <name>.csv.
  """

  title: str
  text: Sequence[str]
  figures: Sequence[tuple[pathlib.Path, str]] = ()
  tables: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Played:
  """A run of the study as its report reads it.

  Attributes:
    folder: of its results. workdir: of its checkpoints.
  """

  run: studies.Run
  folder: pathlib.Path
  workdir: pathlib.Path

  @property
  def labels(self) -> Mapping[str, Any]:
    return self.run.labels

  @functools.cached_property
  def rows(self) -> list[results.Row]:
    """All that was played, at all steps."""
    return list(results.read(self.folder / "results.jsonl"))

  @functools.cached_property
  def baselines(self) -> dict[str, baselines.Baseline]:
    return baselines.read(self.folder)

  @functools.cached_property
  def scores(self) -> list[scoring.TaskScore]:
    """Of the newest step that was played, [] where nothing was."""
    if not any(row.actor == "gato" for row in self.rows):
      return []
    return scoring.task_scores(self.rows, baselines=self.baselines)

  @functools.cached_property
  def metrics(self) -> training.Metrics:
    """Of its training."""
    return training.read(self.workdir / "metrics.jsonl")


@dataclasses.dataclass(frozen=True)
class Study:
  """A study as its report reads it. config: the study's, as JSON. runs: in its order, finished or not."""

  name: str
  config: Mapping[str, Any]
  runs: Sequence[Played]

  def with_scores(self) -> list[Played]:
    """The runs that have been played; GatoError where none has."""
    found = [run for run in self.runs if run.scores]
    if not found:
      raise GatoError(f"no run of {self.name} has been played yet; run python -m experiments.study --config=...")
    return found


def kinds() -> list[str]:
  return sorted(module.name for module in pkgutil.iter_modules(sections.__path__))


def write(out: pathlib.Path, study: Study, kind: str, facts: Mapping[str, Any]) -> tuple[pathlib.Path, Section]:
  """Writes index.html, figures and CSVs into `out`; returns the page's path and the section in it.

  Args:
    kind: of the study, a module of gato_jax/report/sections. facts: label -> text; "commands", a list, is a block.
  """
  specs.check_name(kind, kinds(), "kind of study")
  out.mkdir(parents=True, exist_ok=True)
  section = importlib.import_module(f"gato_jax.report.sections.{kind}").section(study, out)
  for name, rows in section.tables.items():
    html.write_csv(out / f"{name}.csv", rows)
  finished = collections.Counter(bool(run.rows or run.metrics) for run in study.runs)
  path = out / "index.html"
  html.write(
    path,
    "study.html",
    {"number": scaling_page.number},
    section=section,
    name=study.name,
    begun=f"{finished[True]} of {len(study.runs)}",
    runs=[
      {
        "run": played.run,
        "labels": ", ".join(f"{name}: {value}" for name, value in played.labels.items()),
        "changes": ", ".join(f"{name}={value}" for name, value in played.run.changes.items()),
        "steps": played.metrics[-1]["step"] if played.metrics else None,
        "episodes": sum(row.actor == "gato" for row in played.rows),
      }
      for played in study.runs
    ],
    figures=[(html.embed(png), caption) for png, caption in section.figures],
    facts={k: v for k, v in facts.items() if k != "commands"},
    commands=facts.get("commands", []),
  )
  return path, section
