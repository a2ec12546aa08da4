"""Any runs side by side: where they come from, what their configs differ in, losses, speed, scores."""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.table

from gato_jax import baselines, provenance, results, specs
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.report import figures, html, table
from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring

_NONE = "–"
_ELSEWHERE = ("workdir", "data_dir", "name", "train.seed", "data.seed")  # of the place, or told in lines of their own
_SAME_BASELINE = 0.01  # relative


@dataclasses.dataclass(frozen=True)
class Run:
  """What training and evaluation left in a folder.

  Attributes:
    label: short, told apart from the other runs'. config: flat, "train.steps" -> value.
    starts: [] for a run of before they were kept. metrics: rows of metrics.jsonl.
    held_out: of held_out.json, {} where there is none. scores: of the newest step that was played, [] where none was.
  """

  label: str
  folder: pathlib.Path
  config: Mapping[str, Any]
  parameters: int
  starts: Sequence[provenance.Start]
  metrics: training.Metrics
  held_out: Mapping[str, Any]
  scores: Sequence[scoring.TaskScore]

  @functools.cached_property
  def tasks(self) -> dict[str, scoring.TaskScore]:
    return {score.task: score for score in self.scores}


def load(folders: Sequence[pathlib.Path]) -> list[Run]:
  """The runs of these workdirs, in their order.

  Raises:
    GatoError: fewer than two, one twice, one that is no run's folder, or a file that cannot be read.
  """
  resolved = [folder.resolve() for folder in folders]
  if len(set(resolved)) < max(2, len(resolved)):
    raise GatoError(f"--runs={','.join(map(str, folders))}: give two workdirs or more, each once")
  names = collections.Counter(folder.name for folder in resolved)
  labels = [str(folder) if names[path.name] > 1 else path.name for folder, path in zip(folders, resolved, strict=True)]
  return [_load(folder, label) for folder, label in zip(folders, labels, strict=True)]


def _load(folder: pathlib.Path, label: str) -> Run:
  if not (folder / "config.json").exists():
    raise GatoError(f"{folder} is no run: it has no config.json; give workdirs that experiments.train has written")
  config = json.loads((folder / "config.json").read_text())
  held_out = folder / "held_out.json"
  rows = list(results.read(folder / "results.jsonl"))
  played = any(row.actor == "gato" for row in rows)
  try:
    scores = scoring.task_scores(rows, baselines=baselines.read(folder)) if played else []
  except GatoError as e:
    raise GatoError(f"{folder}: {e}") from e
  return Run(
    label=label,
    folder=folder,
    config={name.replace("/", "."): value for name, value in specs.flatten(config).items()},
    parameters=count_parameters(abstract_params(GatoConfig.from_json(config["model"]))),
    starts=provenance.read(folder),
    metrics=training.read(folder / "metrics.jsonl"),
    held_out=json.loads(held_out.read_text()) if held_out.exists() else {},
    scores=scores,
  )


def write(out: pathlib.Path, runs: Sequence[Run]) -> pathlib.Path:
  """Writes index.html, figures and CSVs into `out` and returns the page's path."""
  out.mkdir(parents=True, exist_ok=True)
  tables = {"runs": facts(runs), "config": config_differences(runs), "losses": losses(runs), "tasks": tasks(runs)}
  for name, rows in tables.items():
    lines = [{"": label, **dict(zip(_labels(runs), cells, strict=True))} for label, cells in rows.items()]
    html.write_csv(out / f"{name}.csv", lines)
  drawn = {
    "loss": figures.losses_of_runs({run.label: run.metrics for run in runs}, out / "loss.png"),
    "scores": figures.scores_of_runs(
      {run.label: scoring.domain_means(run.scores) for run in runs if run.scores}, out / "scores.png"
    ),
  }
  path = out / "index.html"
  html.write(
    path,
    "comparison.html",
    {},
    labels=_labels(runs),
    folders=[str(run.folder) for run in runs],
    figures={name: html.embed(out / f"{name}.png") for name, there in drawn.items() if there},
    packages=package_differences(runs),
    other_baselines=other_baselines(runs),
    **tables,
  )
  return path


def show(runs: Sequence[Run], console: rich.console.Console | None = None) -> None:
  """Facts and config differences in a terminal."""
  console = console or rich.console.Console()
  for rows in (facts(runs), config_differences(runs)):
    shown = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    shown.add_column("")
    for label in _labels(runs):
      shown.add_column(label, justify="right")
    for label, cells in rows.items():
      shown.add_row(label, *(cell.replace("[", r"\[") for cell in cells))
    console.print(shown)


def _labels(runs: Sequence[Run]) -> list[str]:
  return [run.label for run in runs]


def facts(runs: Sequence[Run]) -> dict[str, list[str]]:
  """Label -> a text for each run; lines that no run has are left out."""

  def last(row: str, text: Callable[[Any], str]) -> Callable[[Run], str]:
    return lambda run: text(run.metrics[-1][row]) if run.metrics and row in run.metrics[-1] else _NONE

  def median(row: str, text: Callable[[float], str]) -> Callable[[Run], str]:
    return lambda run: text(np.median(values)) if len(values := training.column(run.metrics, row)[1]) else _NONE

  def scored(number: Callable[[Sequence[scoring.TaskScore]], float], name: str) -> Callable[[Run], str]:
    def text(run: Run) -> str:
      if not run.scores:
        return _NONE
      low, high = scoring.intervals(run.scores, table.THRESHOLD)[name]
      return f"{number(run.scores):.1f} [{low:.1f}, {high:.1f}]"

    return text

  def reached(run: Run) -> str:
    return "{} of {}".format(*scoring.bar(run.scores, table.THRESHOLD)) if run.scores else _NONE

  of_run: dict[str, Callable[[Run], str]] = {
    "name": lambda run: str(run.config["name"]),
    "seed": lambda run: str(run.config["train.seed"]),
    "git revision": lambda run: " ".join(dict.fromkeys(s.revision[:12] + s.revision[40:] for s in run.starts)) or _NONE,
    "first started": lambda run: run.starts[0].time if run.starts else _NONE,
    "starts": lambda run: str(len(run.starts) or _NONE),
    "devices": lambda run: f"{run.starts[-1].devices} {run.starts[-1].device}" if run.starts else _NONE,
    "parameters": lambda run: f"{run.parameters:,}",
    "steps": last("step", "{:,}".format),
    "tokens": last("tokens", "{:,}".format),
    "minutes of training": lambda run: f"{sum(row['interval_seconds'] for row in run.metrics) / 60:.1f}",
    "tokens/s, median": median("tokens_per_second", "{:,.0f}".format),
    "utilisation, median": median("utilisation", "{:.1%}".format),
    "loss, last tenth": lambda run: f"{training.final(run.metrics, 'loss'):.4f}" if run.metrics else _NONE,
    "held-out loss": lambda run: f"{run.held_out['loss']:.4f}" if run.held_out else _NONE,
    f"tasks at {table.THRESHOLD} % of the expert": reached,
    "mean score over domains": scored(scoring.mean_over_domains, "mean_over_domains"),
    "interquartile mean over tasks": scored(scoring.interquartile_mean, "interquartile_mean"),
  }
  rows = {label: [text(run) for run in runs] for label, text in of_run.items()}
  return {label: cells for label, cells in rows.items() if set(cells) != {_NONE}}


def config_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
  """Setting -> its value in each run, of those that are not the same in all."""
  names = sorted({name for run in runs for name in run.config} - set(_ELSEWHERE))
  missing = object()
  values = {name: [run.config.get(name, missing) for run in runs] for name in names}
  return {
    name: [_NONE if value is missing else _setting(value) for value in of_runs]
    for name, of_runs in values.items()
    if any(value != of_runs[0] for value in of_runs)
  }


def _setting(value: Any) -> str:
  return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def package_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
  """Package -> its version in each run's last start, of those that differ among the runs that say them."""
  known = [run.starts[-1].packages if run.starts else None for run in runs]
  names = sorted({name for packages in known if packages for name in packages})
  versions = {name: [_NONE if p is None else p.get(name, "not there") for p in known] for name in names}
  return {name: of_runs for name, of_runs in versions.items() if len(set(of_runs) - {_NONE}) > 1}


def losses(runs: Sequence[Run]) -> dict[str, list[str]]:
  """ "domain" and "domain, held out" -> nats a target; training's of the last tenth of the steps."""
  domains = sorted({domain for run in runs for domain in training.domains(run.metrics)})
  rows = {}
  for domain in domains:
    ends = [training.final(run.metrics, f"loss/{domain}") for run in runs]
    held = [run.held_out.get(f"loss/{domain}") for run in runs]
    rows[domain] = [_NONE if np.isnan(end) else f"{end:.3f}" for end in ends]
    rows[f"{domain}, held out"] = [_NONE if value is None else f"{value:.3f}" for value in held]
  return {label: cells for label, cells in rows.items() if set(cells) != {_NONE}}


def tasks(runs: Sequence[Run]) -> dict[str, list[str]]:
  """ "domain.task" -> "score [low, high]" of each run."""

  def cell(score: scoring.TaskScore | None) -> str:
    return _NONE if score is None else f"{score.score:.1f} {table.interval(score)}"

  return {task: [cell(run.tasks.get(task)) for run in runs] for task in sorted({t for run in runs for t in run.tasks})}


def other_baselines(runs: Sequence[Run]) -> list[str]:
  """Tasks whose scores are measured between other returns in one run than in another: not to be compared."""
  found = []
  for task in sorted({task for run in runs for task in run.tasks}):
    ends = [(s.random_mean, s.expert_return) for run in runs if (s := run.tasks.get(task))]
    span = abs(ends[0][1] - ends[0][0])
    if any(abs(a - b) > _SAME_BASELINE * span for one in ends for a, b in zip(one, ends[0], strict=True)):
      found.append(task)
  return found
