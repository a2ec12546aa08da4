"""Compares any runs: their origins, config differences, losses, speed and scores, side by side."""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from experiments.analysis import run_metrics
from experiments.analysis.report import console as terminal
from experiments.analysis.report import html, run_figures, table
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines
from gato_jax.evaluate import scores as scoring
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.task import flatten
from gato_jax.train import metrics as train_metrics
from gato_jax.train import provenance

_NONE = "–"
# Settings that say where a run is, or that have lines of their own.
_NOT_COMPARED = ("workdir", "data_dir", "name", "train.seed", "data.seed")
# Baselines that differ by less, relative to the expert's distance from random, are the same.
_SAME_BASELINE = 0.01


@dataclasses.dataclass(frozen=True)
class ComparedRun:
  """The files of training and evaluation in a directory.

  Attributes:
    label: Short name, different from the other runs'.
    directory: The run's directory.
    config: Setting -> value, by dotted name: "train.steps".
    parameters: Number of parameters.
    starts: Of training; [] for runs from before these were recorded.
    metrics: Rows of metrics.jsonl.
    validation: Contents of validation.json, {} without one.
    scores: Of the newest step that was played, [] if none was.
  """

  label: str
  directory: pathlib.Path
  config: Mapping[str, Any]
  parameters: int
  starts: Sequence[provenance.Start]
  metrics: run_metrics.Metrics
  validation: Mapping[str, Any]
  scores: Sequence[scoring.TaskScore]

  @functools.cached_property
  def tasks(self) -> dict[str, scoring.TaskScore]:
    """Task -> score."""
    return {score.task: score for score in self.scores}


def load(directories: Sequence[pathlib.Path]) -> list[ComparedRun]:
  """Returns the runs of these workdirs, in their order.

  Raises:
    GatoError: If there are fewer than two, one is given twice or is not the directory of a run,
      or a file cannot be read.
  """
  resolved = [directory.resolve() for directory in directories]
  if len(set(resolved)) < max(2, len(resolved)):
    raise GatoError(
      f"--runs={','.join(map(str, directories))}: give two workdirs or more, each once"
    )

  # Runs with the same name are told apart by their paths.
  names = collections.Counter(directory.name for directory in resolved)
  runs = []
  for directory, path in zip(directories, resolved, strict=True):
    label = str(directory) if names[path.name] > 1 else path.name
    runs.append(_load(directory, label))
  return runs


def _load(directory: pathlib.Path, label: str) -> ComparedRun:
  if not (directory / "config.json").exists():
    raise GatoError(
      f"{directory} is no run: it has no config.json; give workdirs that experiments.train has"
      " written"
    )

  config = json.loads((directory / "config.json").read_text())

  rows = list(results.read(directory / "results.jsonl"))
  scores = []
  if any(row.actor == results.POLICY for row in rows):
    try:
      scores = scoring.task_scores(rows, baselines=baselines.read(directory))
    except GatoError as e:
      # The error names a task; with several runs it must name the run too.
      raise GatoError(f"{directory}: {e}") from e

  return ComparedRun(
    label=label,
    directory=directory,
    config={name.replace("/", "."): value for name, value in flatten(config).items()},
    parameters=count_parameters(abstract_params(GatoConfig.from_json(config["model"]))),
    starts=provenance.read(directory),
    metrics=run_metrics.read(directory / "metrics.jsonl"),
    validation=train_metrics.read_validation(directory),
    scores=scores,
  )


def write(out: pathlib.Path, runs: Sequence[ComparedRun]) -> pathlib.Path:
  """Writes index.html, figures and CSVs into `out` and returns the page's path."""
  out.mkdir(parents=True, exist_ok=True)
  labels = [run.label for run in runs]

  tables = {
    "runs": facts(runs),
    "config": config_differences(runs),
    "losses": losses(runs),
    "tasks": tasks(runs),
  }
  for name, rows in tables.items():
    # A run is a column, since there are few runs and many rows.
    lines = [{"": row} | dict(zip(labels, cells, strict=True)) for row, cells in rows.items()]
    html.write_csv(out / f"{name}.csv", lines)

  metrics = {run.label: run.metrics for run in runs}
  domain_means = {run.label: scoring.domain_means(run.scores) for run in runs if run.scores}
  drawn = {
    "loss": run_figures.losses_of_runs(metrics, out / "loss.png"),
    "scores": run_figures.scores_of_runs(domain_means, out / "scores.png"),
  }

  path = out / "index.html"
  html.write(
    path,
    "comparison.html",
    filters={},
    labels=labels,
    directories=[str(run.directory) for run in runs],
    figures={name: html.embed(out / f"{name}.png") for name, exists in drawn.items() if exists},
    packages=package_differences(runs),
    other_baselines=other_baselines(runs),
    **tables,
  )
  return path


def show(runs: Sequence[ComparedRun], console: rich.console.Console | None = None) -> None:
  """Prints facts and config differences."""
  console = console or rich.console.Console()
  for rows in (facts(runs), config_differences(runs)):
    shown = terminal.table(left=[""], right=[run.label for run in runs], wrap=True)
    for label, cells in rows.items():
      terminal.add_row(shown, [label, *cells])
    console.print(shown)


def facts(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
  """Returns label -> a text for each run, without lines that no run has."""
  # All runs have the same labels.
  of_runs = [_facts_of_run(run) for run in runs]
  rows = {label: [facts_of_run[label] for facts_of_run in of_runs] for label in of_runs[0]}
  return _without_empty_rows(rows)


def _without_empty_rows(rows: Mapping[str, list[str]]) -> dict[str, list[str]]:
  return {label: cells for label, cells in rows.items() if set(cells) != {_NONE}}


def _facts_of_run(run: ComparedRun) -> dict[str, str]:
  """Returns label -> text, for all labels."""
  last_row = run.metrics[-1] if run.metrics else {}

  def last(column: str) -> str:
    return f"{last_row[column]:,}" if column in last_row else _NONE

  def median(column: str, text: Callable[[float], str]) -> str:
    _, values = run_metrics.column(run.metrics, column)
    return text(float(np.median(values))) if len(values) else _NONE

  revisions, first_started, devices = _NONE, _NONE, _NONE
  if run.starts:
    # A short hash. Behind the 40 digits stands the + of a revision with uncommitted changes.
    short = [start.revision[:12] + start.revision[40:] for start in run.starts]
    revisions = " ".join(dict.fromkeys(short)) or _NONE
    first_started = run.starts[0].time
    devices = f"{run.starts[-1].devices} {run.starts[-1].device}"

  reached, mean, interquartile = _NONE, _NONE, _NONE
  if run.scores:
    intervals = scoring.intervals(run.scores, table.THRESHOLD)
    reached = "{} of {}".format(*scoring.bar(run.scores, table.THRESHOLD))
    low, high = intervals["mean_over_domains"]
    mean = f"{scoring.mean_over_domains(run.scores):.1f} [{low:.1f}, {high:.1f}]"
    low, high = intervals["interquartile_mean"]
    interquartile = f"{scoring.interquartile_mean(run.scores):.1f} [{low:.1f}, {high:.1f}]"

  minutes = sum(row["interval_seconds"] for row in run.metrics) / 60
  final_loss = f"{run_metrics.final(run.metrics, 'loss'):.4f}" if run.metrics else _NONE
  return {
    "name": str(run.config["name"]),
    "seed": str(run.config["train.seed"]),
    "git revision": revisions,
    "first started": first_started,
    "starts": str(len(run.starts) or _NONE),
    "devices": devices,
    "parameters": f"{run.parameters:,}",
    "steps": last("step"),
    "tokens": last("tokens"),
    "minutes of training": f"{minutes:.1f}",
    "tokens/s, median": median("tokens_per_second", "{:,.0f}".format),
    "utilisation, median": median("utilisation", "{:.1%}".format),
    "loss, last tenth": final_loss,
    "validation loss": f"{run.validation['loss']:.4f}" if run.validation else _NONE,
    f"tasks at {table.THRESHOLD} % of the expert": reached,
    "mean score over domains": mean,
    "interquartile mean over tasks": interquartile,
  }


def config_differences(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
  """Returns setting -> its value in each run, of settings that are not the same in all runs."""
  names = sorted({name for run in runs for name in run.config} - set(_NOT_COMPARED))
  # A value that equals no setting, not even None.
  missing = object()

  differences = {}
  for name in names:
    values = [run.config.get(name, missing) for run in runs]
    if any(value != values[0] for value in values):
      differences[name] = [_NONE if value is missing else _setting(value) for value in values]
  return differences


def _setting(value: Any) -> str:
  return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def package_differences(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
  """Returns package -> its version in each run's last start, of packages that differ."""
  packages = [run.starts[-1].packages if run.starts else None for run in runs]
  names = sorted({name for versions in packages if versions for name in versions})

  differences = {}
  for name in names:
    cells = [
      _NONE if versions is None else versions.get(name, "not there") for versions in packages
    ]
    # Runs that did not record their packages do not count as different.
    if len(set(cells) - {_NONE}) > 1:
      differences[name] = cells
  return differences


def losses(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
  """Returns the nats per target of each run, for "domain" and "domain, held out".

  Training losses are means over the last tenth of the steps.
  """
  domains = sorted({domain for run in runs for domain in run_metrics.domains(run.metrics)})
  rows = {}
  for domain in domains:
    training = [run_metrics.final(run.metrics, f"loss/{domain}") for run in runs]
    rows[domain] = [_NONE if np.isnan(loss) else f"{loss:.3f}" for loss in training]
    validation = [run.validation.get(f"loss/{domain}") for run in runs]
    rows[f"{domain}, held out"] = [_NONE if loss is None else f"{loss:.3f}" for loss in validation]

  return _without_empty_rows(rows)


def tasks(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
  """Returns "domain.task" -> "score [low, high]" of each run."""

  def cell(score: scoring.TaskScore | None) -> str:
    return _NONE if score is None else f"{score.score:.1f} {table.interval(score)}"

  names = sorted({task for run in runs for task in run.tasks})
  return {task: [cell(run.tasks.get(task)) for run in runs] for task in names}


def other_baselines(runs: Sequence[ComparedRun]) -> list[str]:
  """Returns the tasks whose baselines differ between runs: their scores do not compare."""
  different = []
  for task in sorted({task for run in runs for task in run.tasks}):
    ends = [
      (run.tasks[task].random_mean, run.tasks[task].expert_return)
      for run in runs
      if task in run.tasks
    ]
    # Two runs may each be near the first one and further from each other; that is near enough.
    random, expert = ends[0]
    tolerance = _SAME_BASELINE * abs(expert - random)
    if any(abs(r - random) > tolerance or abs(e - expert) > tolerance for r, e in ends):
      different.append(task)

  return different
