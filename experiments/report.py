"""Writes <workdir>/report/index.html and prints the table: python -m experiments.report --config=...

Of several runs, side by side: python -m experiments.report --runs=work/one,work/other [--out=work/comparison]
Of a study (python -m experiments.study): python -m experiments.report --config=experiments/configs/forgetting.py
Of a sweep (python -m launch sweep): python -m experiments.report --scaling --config=experiments/configs/scaling.py
"""

import json
import os
import pathlib
import platform

from absl import flags

from experiments import cli
from gato_jax import baselines, disk, results
from gato_jax.errors import GatoError
from gato_jax.language import measure
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.recorded import rows as recorded
from gato_jax.report import (
  action_scores,
  comparison,
  language_scores,
  language_table,
  page,
  scaling_page,
  scores,
  study_page,
  table,
)
from gato_jax.scaling import analysis, grid, points

_RESULTS = flags.DEFINE_string("results", "", "Folder of rows and films; the experiment's workdir by default.")
_SCALING = flags.DEFINE_bool("scaling", False, "The scaling law of a sweep's points instead of one run's scores.")
_POINTS = flags.DEFINE_string("points", "", "With --scaling: the points; <workdir>/points.jsonl by default.")
_DRAWS = flags.DEFINE_integer("draws", 300, "With --scaling: fits of the bootstrap.")

_RUNS = flags.DEFINE_list("runs", [], "Workdirs of two runs or more, to be shown side by side.")
_OUT = flags.DEFINE_string("out", "work/comparison", "With --runs: the folder of the page.")


def main(experiment: cli.Experiment) -> None:
  if _RUNS.value:
    compare()
  else:
    is_study = experiment.runs and not experiment.run
    with disk.writing(experiment.workdir / "report"):
      (scaling if _SCALING.value else study if is_study else run)(experiment)


def compare() -> None:
  """Any runs side by side, in --out; the config plays no part."""
  if _SCALING.value:
    raise GatoError("--runs compares runs, --scaling fits a law to a sweep; give one of them")
  runs = comparison.load([pathlib.Path(folder) for folder in _RUNS.value])
  index = comparison.write(pathlib.Path(_OUT.value), runs)
  comparison.show(runs)
  print(f"report: {index.resolve()}")


def study(experiment: cli.Experiment) -> None:
  """What the runs of a study show together, in <workdir>/report."""
  config, runs = experiment.config, [cli.Experiment(experiment.config, run.name) for run in experiment.runs]
  found = study_page.Study(
    config.name,
    json.loads(config.to_json()),
    [study_page.Played(one.run, one.results, one.workdir) for one in runs],
  )
  path = f"experiments/configs/{config.name}.py"
  facts = {
    "config": config.name,
    "machine": _machine(),
    "commands": [f"python -m experiments.{verb} --config={path}" for verb in ("collect", "build", "study", "report")],
  }
  index, section = study_page.write(experiment.workdir / "report", found, config.study.kind, facts)
  for paragraph in section.text:
    print(paragraph)
  print(f"report: {index.resolve()}")


def scaling(experiment: cli.Experiment) -> None:
  """Fits, figures, CSVs and the page of a sweep, in <workdir>/report."""
  if _DRAWS.value < 20:
    raise GatoError(f"--draws={_DRAWS.value}: an interval needs 20 at least")
  if "scaling" not in experiment.config:
    raise GatoError(f"{experiment.config.name} has no section `scaling`; experiments/configs/scaling.py has one")
  asked = experiment.section(grid.GridConfig, "scaling")
  path = pathlib.Path(_POINTS.value or experiment.workdir / "points.jsonl")
  found = points.read(path)
  series, others = (analysis.analyse(found, asked.hold_out, _DRAWS.value, size) for size in analysis.SIZES)
  wanted = len(grid.runs(asked))
  facts = {
    "config": experiment.config.name,
    "points": f"{len(found)} of {wanted} runs of the grid" if not _POINTS.value else f"{len(found)}, of {path}",
    "intervals": f"bootstrap over runs, {_DRAWS.value} fits",
    "commands": [
      f"python -m launch sweep --config=experiments/configs/{experiment.config.name}.py --on=local",
      f"python -m experiments.report --scaling --config=experiments/configs/{experiment.config.name}.py",
    ],
  }
  index = scaling_page.write(experiment.workdir / "report", found, series, others, facts)
  scaling_page.show(series)
  print(f"report: {index.resolve()}")


def run(experiment: cli.Experiment) -> None:
  """Scores of one run."""
  workdir, config = experiment.workdir, experiment.config
  played = pathlib.Path(_RESULTS.value or experiment.results)
  rows = list(results.read(played / "results.jsonl"))
  measured = language_scores.newest(results.read(played / measure.ROWS, measure.Row))
  actions = action_scores.scores(results.read(played / recorded.ROWS, recorded.Row))
  if not rows and not measured and not actions:
    raise GatoError(f"nothing to report in {played / 'results.jsonl'}; run python -m experiments.evaluate, or measure")
  of_run = f" --run={experiment.run.name}" if experiment.run else ""
  facts = {
    "config": config.name,
    "parameters": count_parameters(abstract_params(experiment.section(GatoConfig, "model"))),
    "machine": _machine(),
    "sampling": f"temperature {config.act.temperature}, prompt: {config.act.prompt}",
    "commands": [
      f"python -m experiments.{verb} --config=experiments/configs/{config.name}.py{of_run}"
      for verb in ("collect", "build", "train", "evaluate", *["measure"] * bool(measured or actions), "report")
    ],
  }
  metrics_path = workdir / "metrics.jsonl"
  metrics = [json.loads(line) for line in metrics_path.read_text().splitlines()] if metrics_path.exists() else []
  if metrics:
    minutes = sum(row["interval_seconds"] for row in metrics) / 60
    facts |= {"steps": metrics[-1]["step"], "tokens": metrics[-1]["tokens"], "minutes of training": round(minutes, 1)}
  paths = (played / "report", played / "results.jsonl", metrics_path, played / "videos")
  language = {"measured": measured, "pictures": played / measure.PICTURES, "actions": actions}
  index, scored = page.write(*paths, facts, baselines=baselines.read(played), keep=config.data.keep, **language)
  if measured:
    language_table.show(language_scores.scores(measured))
  if actions:
    action_scores.show(actions)
  if scored:
    table.show(scored, scores.unplayed(rows, scored))
  print(f"report: {index.resolve()}")


def _machine() -> str:
  return f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
  cli.run(main)
