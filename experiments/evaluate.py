"""Plays a checkpoint in its environments: python -m experiments.evaluate --config=...    (docs/evaluation.md)

Rows go to <workdir>/results.jsonl; those that exist are not played again. With --follow it evaluates a training run
while it runs: python -m experiments.evaluate --config=... --follow --config.evaluate.minutes=10
"""

import json
import pathlib
import signal
from collections.abc import Sequence

from absl import flags

import rlds_builders
from experiments import cli
from gato_jax import agent, checkpoint, evaluate, freshness, lock, logs, specs
from gato_jax.errors import GatoError
from gato_jax.evaluate import evaluation, follow, pool
from gato_jax.report import table

_RESULTS = flags.DEFINE_string("results", "", "Folder of rows and films; the experiment's workdir by default.")
_STEPS = flags.DEFINE_enum("steps", "newest", ("newest", "kept"), "The newest checkpoint, or all that are kept.")
_FOLLOW = flags.DEFINE_bool("follow", False, "Evaluates each new checkpoint until the training run has ended.")


def refuse_stale_logs(experiment: cli.Experiment, tasks: Sequence[tuple[specs.Domain, str]]) -> None:
  """Raises GatoError where the expert's logged returns are of another expert or environment than the domain's now."""
  for domain, task in tasks:
    why = freshness.stale_logs(domain, task, experiment.raw)
    if why and not cli.ACCEPT.value:
      raise GatoError(
        f"{domain.name}.{task}: {why} since its raw logs were collected, which its expert return is from; run python "
        "-m experiments.collect, or go on with --accept_changes"
      )


def main(experiment: cli.Experiment) -> None:
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: rows are kept
  config = experiment.section(evaluate.EvaluateConfig, "evaluate")
  act = experiment.section(agent.ActConfig, "act")
  tasks, workdir = experiment.control_tasks, experiment.workdir
  if not tasks:
    raise GatoError(
      f"no task of {experiment.config.name} has an environment to play in; python -m experiments.measure measures "
      "recorded episodes and documents on what was held out of training"
    )
  refuse_stale_logs(experiment, tasks)
  steps = sorted(checkpoint.saved_steps(workdir / "checkpoints"))[:-1] if _STEPS.value == "kept" else []
  policy = None if _FOLLOW.value else agent.Policy(workdir)
  out = pathlib.Path(_RESULTS.value or experiment.results)
  with lock.only_writer(out, "evaluate"), pool.Simulators(config, out / "simulators.log") as simulators:
    run = evaluation.Evaluation(tasks, out, config, simulators)
    run.check_settings(act)
    todo = run.baselines(
      lambda domain, task: logs.rows(logs.task_directory(experiment.raw, domain, task)),
      lambda domain: json.loads(rlds_builders.scores_path(domain).read_text()),
    )
    if policy:
      with follow.compiled_once():
        for step in steps:
          if earlier := run.missing(step):
            run.play(earlier, f"step {step}", agent.Policy(workdir, step), act, config.minutes)
      todo = [*run.missing(policy.step), *todo]  # what needs no policy fills the end
      run.play(todo, "evaluate", policy, act, config.minutes)
      if config.videos:
        run.film(policy, act)
    else:
      run.play(todo, "baselines")
      follow.follow(
        run, workdir / "checkpoints", lambda: agent.Policy(workdir), act,
        minutes=config.minutes, idle_seconds=60 * config.idle_minutes, videos=config.videos,
      )  # fmt: skip
  scored, left_out = run.scores()
  if scored:
    table.show(scored, left_out)
  print(f"evaluate: rows of {len(tasks)} tasks are in {run.path}")
  run.check()


if __name__ == "__main__":
  cli.run(main)
