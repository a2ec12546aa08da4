"""Trains the missing runs of a sweep: python -m launch sweep --on=BACKEND --config=FILE

FILE is experiments/configs/studies/scaling.py or one like it. Each run is a job of its own
(experiments/analysis/scaling/grid.py lists them), the cheapest first, in <workdir>/<run>. A run is
finished once its folder has a loss of the validation split; the rest are submitted, --jobs at a
time, and continue from their checkpoints. Interrupted or killed, the command leaves its jobs
running; given again it finds them, submits what is missing, and also tries again what failed.
<workdir>/points.jsonl has the finished ones, for python -m experiments.report --scaling.

With --verb=evaluate it plays the trained ones instead, --config.evaluate.episodes a task, for the
report's scores.

The folders must be readable here: a cluster's workdir lies on a shared file system, and for gke and
tpu_vm in the bucket, --config.workdir=gs://BUCKET/work/NAME. Slices are checked once, with the
largest network that is missing.
"""

import collections
import datetime
import sys
import time
from collections.abc import Iterator, Sequence

import rich.console
import rich.live
from absl import flags

from experiments import cli
from experiments.analysis.scaling import grid, points
from gato_jax.env import results
from gato_jax.errors import GatoError
from launch import jobs, settings, submit
from launch.jobs import JobState
from launch.sweep_runs import WAITING, Sweep, SweepRow, table

_JOBS = flags.DEFINE_integer(
  "jobs", None, "Jobs at a time; 0: all. Local: 1 by default, elsewhere 0."
)
_POLL = flags.DEFINE_float("poll", 2.0, "Seconds between two looks at the jobs.")

# --on, --dry_run, --preflight, --flag and the backends' settings.
flags.adopt_module_key_flags(submit)


def main(experiment: cli.Experiment) -> None:
  options = flags.FLAGS
  _check_flags(experiment)

  backend = settings.backend(options.on)
  rows = list(plan(experiment, sys.argv, more=options.flag, verb=options.verb))
  bucket = getattr(backend, "bucket", "")
  if bucket and not str(experiment.workdir).startswith(f"gs://{bucket}/"):
    raise GatoError(
      f"--on={backend.name} writes to its bucket: give "
      f"--config.workdir=gs://{bucket}/work/{experiment.config.name}"
    )

  # Runs on one machine would take the cores from each other.
  width = _JOBS.value
  if width is None:
    width = 1 if backend.name == "local" else 0
  if width < 0 or _POLL.value <= 0:
    raise GatoError(f"--jobs={width} --poll={_POLL.value}: at least 0, and above 0")

  if options.dry_run:
    show_plan(rows, backend)
    return

  out = experiment.workdir / "points.jsonl"
  if options.verb == "train":
    sweep = Sweep(rows, backend, width=width, out=out)
  else:
    sweep = Sweep(
      rows,
      backend,
      width=width,
      out=out,
      finished=lambda row: _is_played(row, experiment),
    )
    check_trained(rows)

  missing = [row for row in rows if row.state == WAITING]
  if options.preflight and options.verb == "train" and missing:
    submit.preflight(backend, max(missing, key=lambda row: row.run.width).job)

  _run(sweep)

  unfinished = [row.job.name for row in rows if row.state != JobState.DONE]
  if unfinished:
    raise GatoError(
      f"{len(unfinished)} of {len(rows)} runs did not finish: {', '.join(unfinished)}; see `python"
      f" -m launch logs --name={unfinished[0]}` and run the same command again"
    )
  print(f"{len(rows)} points: {out}")


def _check_flags(experiment: cli.Experiment) -> None:
  if "scaling" not in experiment.config:
    raise GatoError(
      f"{experiment.config.name} has no section `scaling`; experiments/configs/studies/scaling.py"
      " has one, and a study goes through python -m launch submit --verb=study"
    )

  options = flags.FLAGS
  if options.on is None:
    raise GatoError(f"--on=BACKEND ({', '.join(settings.BACKENDS)}) is missing")
  if options.name is not None or options.verb not in ("train", "evaluate"):
    raise GatoError(
      "a sweep names its runs itself, so --name is no flag of it; --verb is train or evaluate"
    )


def _run(sweep: Sweep) -> None:
  """Submits the runs and shows the table until all are over."""
  console = rich.console.Console()
  with rich.live.Live(table(sweep), console=console, auto_refresh=False) as live:
    shown = [row.state for row in sweep.rows]
    while True:
      sweep.submit()

      # Changes of state are printed above the table, where they stay.
      for row, before in zip(sweep.rows, shown, strict=True):
        if row.state != before:
          now = f"{datetime.datetime.now():%H:%M:%S}"
          console.print(f"{now} {row.job.name}: {before} -> {row.state}", highlight=False)
      shown = [row.state for row in sweep.rows]
      live.update(table(sweep), refresh=True)

      if sweep.over:
        break
      time.sleep(_POLL.value)
      sweep.look()

  # In a file rich leaves the last line open.
  if not console.is_terminal:
    console.print()


def check_trained(rows: Sequence[SweepRow]) -> None:
  """Checks that all runs that are to be played are trained.

  Raises:
    GatoError: A run has no point.
  """
  untrained = [row.run.name for row in rows if row.point is None]
  if untrained:
    raise GatoError(
      f"{len(untrained)} of {len(rows)} runs are not trained, {untrained[0]} for one; sweep without"
      " --verb first"
    )


def _is_played(row: SweepRow, experiment: cli.Experiment) -> bool:
  """Returns True when the run's last checkpoint has all episodes of all tasks."""
  played: collections.Counter[str] = collections.Counter()
  for result in results.read(row.workdir / "results.jsonl"):
    if result.actor == "gato" and result.step == row.steps:
      played[result.task] += 1

  episodes = experiment.config.evaluate.episodes
  tasks = [f"{domain.name}.{task}" for domain, task in experiment.control_tasks]
  return all(played[task] >= episodes for task in tasks)


def plan(
  experiment: cli.Experiment, argv: Sequence[str], more: Sequence[str] = (), verb: str = "train"
) -> Iterator[SweepRow]:
  """Yields the runs of the grid, before the backend was asked about any of them.

  Args:
    experiment: The sweep's experiment.
    argv: Arguments of the command, for its overrides.
    more: Flags of the verb.
    verb: "train" or "evaluate".
  """
  paths = [a.removeprefix("--config=") for a in argv if a.startswith("--config=")]
  if not paths:
    raise GatoError("--config=experiments/configs/NAME.py is missing")

  # Every run has a workdir of its own, inside the one that was given.
  given = [a for a in argv if a.startswith("--config.") and not a.startswith("--config.workdir=")]

  config = experiment.config
  batch_tokens = config.train.batch_size * config.data.sequence_length
  for run in grid.runs(experiment.section(grid.GridConfig, "scaling")):
    workdir = experiment.workdir / run.name
    run_overrides = grid.overrides(run, batch_tokens)
    overrides = (*more, *given, *run_overrides, f"--config.workdir={workdir}")

    # Names of jobs have no underscores. Jobs that play a run and that train it are two.
    name = f"{config.name}-{run.name}".replace("_", "-")
    if verb != "train":
      name += f"-{verb}"
    job = jobs.Job(name, paths[-1], overrides=overrides, verb=verb)

    # Roughly the parameters that a token meets: 11 d^2 in a layer, and the head over the vocabulary
    # of 33,025. The head counts an eighth, because only the targets go through it.
    layers = grid.network(run.width)["layers"]
    work = run.tokens * float(layers * run.width**2 * 11 + 33_025 * run.width / 8)
    yield SweepRow(run, job, workdir=workdir, steps=run.steps(batch_tokens), work=work)


def show_plan(rows: Sequence[SweepRow], backend: jobs.Backend) -> None:
  """Prints the output of --dry_run: the missing runs, and the first of them as it would be sent."""
  missing = []
  for row in rows:
    if row.job.verb != "train" or points.of_run(row.workdir, row.steps) is None:
      missing.append(row)

  print(f"{len(rows)} runs, {len(missing)} missing: {' '.join(row.run.name for row in missing)}")
  if not missing:
    return

  for title, text in backend.render(missing[0].job).items():
    print(f"--- {title}\n{text}", end="" if text.endswith("\n") else "\n")


if __name__ == "__main__":
  cli.run(main, buckets=True)
