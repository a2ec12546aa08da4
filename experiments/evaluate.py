"""Plays a checkpoint in its environments: python -m experiments.evaluate --config=...

Rows go to <workdir>/results.jsonl; those that exist are not played again (docs/evaluation.md).
With --follow it evaluates a training run while that run trains:
python -m experiments.evaluate --config=... --follow --config.evaluate.minutes=10
"""

import signal
from collections.abc import Sequence

from absl import flags

import rlds_builders
from experiments import cli
from experiments.analysis.report import table
from gato_jax import agent, evaluate
from gato_jax.data import freshness
from gato_jax.domain import Domain
from gato_jax.env import logs
from gato_jax.errors import GatoError
from gato_jax.evaluate import evaluation, follow, scores, simulator_pool
from gato_jax.storage import lock, paths, piece_cache
from gato_jax.train import checkpoint, export

_RESULTS = flags.DEFINE_string(
  "results", "", "Folder for the rows and videos; the experiment's workdir by default."
)
_STEPS = flags.DEFINE_enum(
  "steps",
  "newest",
  ("newest", "kept"),
  "Which checkpoints are played: the newest one, or all that are kept.",
)
_FOLLOW = flags.DEFINE_bool(
  "follow", False, "Evaluates each new checkpoint until the training run has ended."
)


def refuse_stale_logs(experiment: cli.Experiment, tasks: Sequence[tuple[Domain, str]]) -> None:
  """Refuses to compare with the logged returns of another expert or environment than today's.

  Raises:
    GatoError: The logs of a task are stale and --accept_changes is not given.
  """
  for domain, task in tasks:
    reason = freshness.stale_logs(domain, task, experiment.raw)
    if reason and not cli.ACCEPT.value:
      raise GatoError(
        f"{domain.name}.{task}: {reason} since its raw logs were collected, which its expert "
        "return is from; run python -m experiments.collect, or go on with --accept_changes"
      )


def main(experiment: cli.Experiment) -> None:
  # SIGTERM, which schedulers send, ends like Ctrl-C: the rows so far are kept.
  signal.signal(signal.SIGTERM, signal.default_int_handler)

  config = experiment.section(evaluate.EvaluateConfig, "evaluate")
  act = experiment.section(agent.ActConfig, "act")
  tasks = experiment.control_tasks
  if not tasks:
    raise GatoError(
      f"no task of {experiment.config.name} has an environment to play in; python -m "
      "experiments.measure measures recorded episodes and documents on what was held out of "
      "training"
    )
  if export.is_exported(experiment.workdir):
    if not _RESULTS.value:
      raise GatoError(
        f"{experiment.workdir} holds exported weights and no results: give --results=work/NAME"
      )
    if _FOLLOW.value:
      raise GatoError(f"{experiment.workdir} holds exported weights: there is nothing to --follow")
  refuse_stale_logs(experiment, tasks)

  # With --follow there may be no checkpoint yet, so that a policy is loaded as they appear.
  checkpoints = experiment.workdir / "checkpoints"
  earlier_steps = sorted(checkpoint.saved_steps(checkpoints))[:-1] if _STEPS.value == "kept" else []
  policy = None if _FOLLOW.value else agent.Policy(experiment.workdir)
  out = paths.path(_RESULTS.value or experiment.results)

  # Processes append to their log, which no object of a bucket lets them.
  log_directory = piece_cache.directory() if paths.is_remote(out) else out
  simulators_log = log_directory / "simulators.log"

  with (
    lock.only_writer(out, "evaluate"),
    simulator_pool.Simulators(config, simulators_log) as simulators,
  ):
    run = evaluation.Evaluation(tasks, out, config=config, simulators=simulators)
    run.check_settings(act)
    jobs = run.baselines(
      lambda domain, task: logs.rows(logs.task_directory(experiment.raw, domain, task)),
      rlds_builders.scores,
    )

    if policy:
      with follow.compiled_once():
        for step in earlier_steps:
          if missing := run.missing(step):
            earlier_policy = agent.Policy(experiment.workdir, step)
            run.play(missing, f"step {step}", earlier_policy, act=act, minutes=config.minutes)

      # Baselines need no policy. They come last, when few of its episodes are left to play.
      jobs = [*run.missing(policy.step), *jobs]
      run.play(jobs, "evaluate", policy, act=act, minutes=config.minutes)
      if config.videos:
        run.record_videos(policy, act)
    else:
      run.play(jobs, "baselines")
      follow.follow(
        run,
        checkpoints,
        lambda: agent.Policy(experiment.workdir),
        act,
        minutes=config.minutes,
        idle_seconds=60 * config.idle_minutes,
        videos=config.videos,
      )

  scored, left_out = run.scores()
  if scored:
    table.show(scored, left_out)
  print(f"evaluate: rows of {len(tasks)} tasks are in {run.path}")
  spared = run.spared(scores.newest_step(run.rows)) if scored else {}
  if spared:
    print(
      f"evaluate: {len(spared)} tasks are known to {config.until_width:g} points"
      f" (evaluate.until_width); {sum(spared.values())} of their episodes were not played"
    )

  # Last, so that the scores are printed even if tasks were given up.
  run.check()


if __name__ == "__main__":
  cli.run(main, plays=True, buckets=True)
