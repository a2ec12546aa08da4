"""Writes <workdir>/report/index.html, prints the table: python -m experiments.report --config=...

Several runs side by side: --runs=work/one,work/other [--out=work/comparison] and no --config
A study (experiments.study): --config=experiments/configs/studies/forgetting.py
A sweep (launch sweep): --scaling --config=experiments/configs/studies/scaling.py
"""

import json
import os
import pathlib
import platform
from typing import Any

from absl import flags

from experiments import cli
from experiments.analysis.cloning import rows as cloning
from experiments.analysis.language import measure
from experiments.analysis.recorded import rows as recorded
from experiments.analysis.report import (
  action_scores,
  comparison,
  language_scores,
  language_table,
  page,
  scaling_page,
  study_page,
  table,
)
from experiments.analysis.scaling import analysis, points, predictions, runs
from gato_jax.data import mirror
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines, scores
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.storage import copies, disk, paths

_RESULTS = flags.DEFINE_string(
  "results", "", "Folder with the rows and videos; the experiment's workdir by default."
)
_SCALING = flags.DEFINE_bool(
  "scaling", False, "Reports the scaling law of a sweep's points instead of one run's scores."
)
_POINTS = flags.DEFINE_string(
  "points", "", "With --scaling: path of the points; <workdir>/points.jsonl by default."
)
_DRAWS = flags.DEFINE_integer(
  "draws", 300, "With --scaling: number of bootstrap samples that the law is fitted to."
)
_RUNS = flags.DEFINE_list("runs", [], "Workdirs of two or more runs to show side by side.")
_OUT = flags.DEFINE_string(
  "out", "work/comparison", "With --runs: folder that the page is written to."
)

_MIN_DRAWS = 20  # fewer fits give no interval


# Directories of a workdir that no report reads.
_UNREAD = ("checkpoints", "compiled", "corrections", "profile", "report", "tensorboard")


def main(experiment: cli.Experiment) -> None:
  address = str(experiment.config.workdir or "")
  if not paths.is_remote(address):
    report(experiment)
    return

  # The page is written from files of this machine, and uploaded.
  folder = mirror.home(address)
  objects = {
    relative: found
    for relative, found in copies.listing(address).items()
    if not set(relative.split("/")[:-1]) & set(_UNREAD)
  }
  copies.update(folder, objects, address)
  experiment.config.workdir = str(folder)
  report(cli.Experiment(experiment.config, experiment.run.name if experiment.run else ""))

  pages = [path for path in folder.rglob("report/**/*") if path.is_file()]
  copies.upload(folder, address, pages)
  print(f"report: {len(pages)} files, also in {address}")


def report(experiment: cli.Experiment) -> None:
  """Writes the page that the flags ask for."""
  if _RUNS.value:
    compare()
    return

  with disk.writing(experiment.workdir / "report"):
    if _SCALING.value:
      report_scaling(experiment)
    elif experiment.runs and not experiment.run:
      report_study(experiment)
    else:
      report_run(experiment)


def compare() -> None:
  """Writes any runs side by side, into --out; the config plays no part."""
  if _SCALING.value:
    raise GatoError("--runs compares runs, --scaling fits a law to a sweep; give one of them")

  runs = comparison.load([pathlib.Path(workdir) for workdir in _RUNS.value])
  index = comparison.write(pathlib.Path(_OUT.value), runs)

  comparison.show(runs)
  print(f"report: {index.resolve()}")


def report_study(experiment: cli.Experiment) -> None:
  """Writes what the runs of a study show together, into <workdir>/report."""
  config = experiment.config

  # Each run is resolved anew, since its changes decide where its rows and checkpoints are.
  played = []
  for run in experiment.runs:
    of_run = cli.Experiment(config, run.name)
    played.append(study_page.Played(run, of_run.results, of_run.workdir))
  study = study_page.Study(config.name, json.loads(config.to_json()), played)

  verbs = ("collect", "build", "study", "report")
  facts = {
    "config": config.name,
    "machine": _machine(),
    "commands": [f"python -m experiments.{verb} --config={cli.config_path()}" for verb in verbs],
  }
  index, section = study_page.write(
    experiment.workdir / "report", study, kind=config.study.kind, facts=facts
  )

  for paragraph in section.text:
    print(paragraph)
  print(f"report: {index.resolve()}")


def report_scaling(experiment: cli.Experiment) -> None:
  """Writes the fits, figures, CSVs and the page of a sweep, into <workdir>/report."""
  if _DRAWS.value < _MIN_DRAWS:
    raise GatoError(f"--draws={_DRAWS.value}: an interval needs 20 at least")
  if "scaling" not in experiment.config:
    raise GatoError(
      f"{experiment.config.name} has no section `scaling`; "
      "experiments/configs/studies/scaling.py has one"
    )

  sweep_config = experiment.section(runs.SweepConfig, "scaling")
  path = pathlib.Path(_POINTS.value or experiment.workdir / "points.jsonl")
  measured = points.read(path)
  series, other_series = (
    analysis.analyse(
      measured, analysis.predicted_budgets(sweep_config), draws=_DRAWS.value, size=size
    )
    for size in analysis.SIZES
  )

  config_flag = f"--config={cli.config_path()}"
  facts = {
    "config": experiment.config.name,
    "points": f"{len(measured)}, of {path}",
    "intervals": f"bootstrap over runs, {_DRAWS.value} fits",
    "commands": [
      f"python -m launch sweep {config_flag} --on=local",
      f"python -m experiments.report --scaling {config_flag}",
    ],
  }
  index = scaling_page.write(
    experiment.workdir / "report",
    measured,
    series,
    other_series,
    facts,
    predicted=predictions.read(path.parent),
  )

  scaling_page.show(series)
  print(f"report: {index.resolve()}")


def report_run(experiment: cli.Experiment) -> None:
  """Writes the scores of one run, into its `report` directory, and prints them."""
  played = pathlib.Path(_RESULTS.value or experiment.results)
  rows = list(results.read(played / "results.jsonl"))
  measured = language_scores.newest(results.read(played / measure.ROWS, measure.DocumentRow))
  recorded_rows = list(results.read(played / recorded.ROWS, recorded.ActionErrorRow))
  actions = action_scores.scores(recorded_rows)
  if not rows and not measured and not actions:
    raise GatoError(
      f"nothing to report in {played / 'results.jsonl'}; "
      "run python -m experiments.evaluate, or measure"
    )

  metrics_path = experiment.workdir / "metrics.jsonl"
  facts = _facts_of_run(experiment, is_measured=bool(measured or actions))
  facts |= _training_facts(metrics_path)

  index, scored = page.write(
    played / "report",
    played / "results.jsonl",
    metrics_path,
    played / "videos",
    facts,
    baselines=baselines.read(played),
    keep=experiment.config.data.keep,
    measured=measured,
    pictures=played / measure.IMAGES,
    actions=actions,
    recorded_rows=recorded_rows,
    recorded_videos=played / recorded.VIDEOS,
    cloned=list(results.read(played / cloning.ROWS, cloning.CloningRow)),
  )

  if measured:
    language_table.show(language_scores.scores(measured))
  if actions:
    action_scores.show(actions)
  if scored:
    table.show(scored, scores.unplayed(rows, scored))
  print(f"report: {index.resolve()}")


def _facts_of_run(experiment: cli.Experiment, is_measured: bool) -> dict[str, Any]:
  """Returns what the page says about a run: its network, its settings, and how to repeat it."""
  config = experiment.config

  # The verbs in the order in which they have to be run.
  verbs = ["collect", "build", "train", "evaluate", "report"]
  if is_measured:
    verbs.insert(-1, "measure")
  run_flag = f" --run={experiment.run.name}" if experiment.run else ""
  commands = [
    f"python -m experiments.{verb} --config={cli.config_path()}{run_flag}" for verb in verbs
  ]

  model_config = experiment.section(GatoConfig, "model")
  return {
    "config": config.name,
    "parameters": count_parameters(abstract_params(model_config)),
    "machine": _machine(),
    "sampling": f"temperature {config.act.temperature}, prompt: {config.act.prompt}",
    "commands": commands,
  }


def _training_facts(metrics_path: pathlib.Path) -> dict[str, Any]:
  """Returns how long a run has trained; nothing where there are no metrics."""
  if not metrics_path.exists():
    return {}
  metrics = [json.loads(line) for line in metrics_path.read_text().splitlines()]
  if not metrics:
    return {}

  # Summed over intervals, since the clock also ran while the run was interrupted.
  minutes = sum(row["interval_seconds"] for row in metrics) / 60
  return {
    "steps": metrics[-1]["step"],
    "tokens": metrics[-1]["tokens"],
    "minutes of training": round(minutes, 1),
  }


def _machine() -> str:
  return f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
  cli.run(main, buckets=True)
