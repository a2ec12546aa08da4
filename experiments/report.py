"""Writes <workdir>/report/index.html and prints the table: python -m experiments.report --config=..."""

import json
import os
import platform

from experiments import cli
from gato_jax import baselines, results
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.report import page, scores, table


def main(experiment: cli.Experiment) -> None:
  workdir, config = experiment.workdir, experiment.config
  rows = list(results.read(workdir / "results.jsonl"))
  if not rows:
    raise GatoError(f"nothing to report in {workdir / 'results.jsonl'}; run python -m experiments.evaluate")
  facts = {
    "config": config.name,
    "parameters": count_parameters(abstract_params(experiment.section(GatoConfig, "model"))),
    "machine": f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
    "sampling": f"temperature {config.act.temperature}, prompt: {config.act.prompt}",
    "commands": [
      f"python -m experiments.{verb} --config=experiments/configs/{config.name}.py"
      for verb in ("collect", "build", "train", "evaluate", "report")
    ],
  }
  metrics_path = workdir / "metrics.jsonl"
  if metrics_path.exists():
    metrics = [json.loads(line) for line in metrics_path.read_text().splitlines()]
    minutes = sum(row["interval_seconds"] for row in metrics) / 60
    facts |= {"steps": metrics[-1]["step"], "tokens": metrics[-1]["tokens"], "minutes of training": round(minutes, 1)}
  paths = (workdir / "report", workdir / "results.jsonl", metrics_path, workdir / "videos")
  index, scored = page.write(*paths, facts, baselines=baselines.read(workdir))
  table.show(scored, scores.unplayed(rows, scored))
  print(f"report: {index.resolve()}")


if __name__ == "__main__":
  cli.run(main)
