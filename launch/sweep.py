"""Trains the missing runs of a sweep: python -m launch sweep --on=BACKEND --config=FILE

FILE is experiments/configs/studies/scaling.py or one like it. Each run is a job of its own, in
<workdir>/<run>. With `scaling.budgets` the runs of a budget follow from the losses of the cheaper
ones (experiments/analysis/scaling/design.py), so that there are rounds: when all runs of one have
ended, the next is planned. The losses of `scaling.predicted_budgets` are predicted, in
<workdir>/predictions.jsonl, before their first run is submitted.

A run is finished once its directory has a validation loss; the rest are submitted, --jobs at a
time, and continue from their checkpoints. Interrupted or killed, the command leaves its jobs
running; given again it finds them, submits what is missing, and also tries again what failed.
--runs=NAME,... is for some of the runs only, and --until=CHIP_HOURS for a part of the sweep.
<workdir>/points.jsonl has the finished runs, for python -m experiments.report --scaling.

With --verb=evaluate it plays the trained runs instead, --config.evaluate.episodes a task, for the
report's scores.

The directories must be readable here: a cluster's workdir lies on a shared file system, and for gke
and tpu_vm in the bucket, --config.workdir=gs://BUCKET/work/NAME. Slices are checked once, with the
largest network that is missing. The first start reads some batches of the mixture, for the FLOPs of
its networks.
"""

import collections
import datetime
import sys
import time
from collections.abc import Sequence

import rich.console
import rich.live
from absl import flags

from experiments import cli
from experiments.analysis.scaling import batches, points, predictions, runs
from gato_jax.data import pipeline
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.errors import GatoError
from launch import jobs, settings, submit
from launch.jobs import JobState
from launch.sweep_plan import Planner
from launch.sweep_runs import WAITING, Sweep, SweepRow, table

_JOBS = flags.DEFINE_integer(
  "jobs", None, "Jobs at a time; 0: all. Local: 1 by default, elsewhere 0."
)
_POLL = flags.DEFINE_float("poll", 2.0, "Seconds between two looks at the jobs.")
_RUNS = flags.DEFINE_list("runs", [], "Names of the runs to train or play; all by default.")
_UNTIL = flags.DEFINE_float(
  "until",
  None,
  "Chip-hours after which no further run is submitted; on machines without accelerators, hours of"
  " their runs.",
)

# --on, --dry_run, --preflight, --flag and the backends' settings.
flags.adopt_module_key_flags(submit)


def main(experiment: cli.Experiment) -> None:
  options = flags.FLAGS
  _check_flags(experiment)
  backend = settings.backend(options.on)
  _check_bucket(experiment, backend)

  planner = Planner(
    experiment, sys.argv, _content(experiment), more=options.flag, verb=options.verb
  )
  measured = _measured(planner)
  print(planner.forecast(measured))
  if options.dry_run:
    show_plan(_rows(planner, measured), backend)
    return

  if options.verb == "evaluate":
    _play(experiment, planner, backend)
    return

  checked = False
  while True:
    rows = _rows(planner, measured)
    missing = [row for row in rows if not row.point]
    if options.preflight and missing and not checked:
      submit.preflight(backend, max(missing, key=lambda row: row.work / row.run.tokens).job)
      checked = True

    _predict(experiment, planner, measured)
    sweep = Sweep(
      rows,
      backend,
      width=_width(backend),
      out=experiment.workdir / "points.jsonl",
      content=planner.content,
      until=_UNTIL.value,
    )
    _run(sweep)
    _check_finished(sweep)

    measured = _measured(planner)
    if sweep.exhausted or planner.is_complete(_losses(measured)) or _RUNS.value:
      break

  print(f"{len(measured)} points: {experiment.workdir / 'points.jsonl'}")


def _play(experiment: cli.Experiment, planner: Planner, backend: jobs.Backend) -> None:
  """Plays the runs that are planned."""
  rows = _rows(planner, _measured(planner))
  check_trained(rows)
  sweep = Sweep(
    rows,
    backend,
    width=_width(backend),
    out=experiment.workdir / "points.jsonl",
    content=planner.content,
    finished=lambda row: is_played(row, experiment),
    until=_UNTIL.value,
  )
  _run(sweep)
  _check_finished(sweep)
  print(f"{len(rows)} runs played: {experiment.workdir / 'points.jsonl'}")


def _content(experiment: cli.Experiment) -> batches.BatchContent:
  """Returns what batches of the mixture hold, measured at the sweep's first start."""
  content = batches.read(experiment.workdir)
  if content is None:
    content = batches.measure(_open_input(experiment))
    batches.write(experiment.workdir, content)
  return content


def _open_input(experiment: cli.Experiment) -> pipeline.Input:
  """Opens the mixture as training does."""
  config = experiment.config
  mixture = experiment.section(
    MixtureConfig, "data", name=config.name, weights=experiment.weights, episodes=experiment.subsets
  )
  return pipeline.Input(
    mixture,
    experiment.tfds,
    batch_size=config.train.batch_size,
    text=experiment.text_codec(),
    max_local_positions=config.model.max_local_positions,
  )


def _measured(planner: Planner) -> list[points.ScalingPoint]:
  """Returns the points of all runs that have ended, also of those that others lead to."""
  known: dict[str, points.ScalingPoint] = {}
  while True:
    losses = {name: point.loss for name, point in known.items()}
    measured = {}
    for row in planner.rows(losses):
      point = known.get(row.name) or points.of_run(row.workdir, row.run, planner.content)
      if point is not None:
        measured[row.name] = point
    if len(measured) == len(known):
      return list(measured.values())
    known = measured


def _losses(measured: Sequence[points.ScalingPoint]) -> dict[str, float]:
  return {point.name: point.loss for point in measured}


def _rows(planner: Planner, measured: Sequence[points.ScalingPoint]) -> list[SweepRow]:
  """Returns the planned runs, those of --runs alone where it is given."""
  rows = planner.rows(_losses(measured))
  by_name = {point.name: point for point in measured}
  for row in rows:
    row.point = by_name.get(row.name)
  if not _RUNS.value:
    return rows

  unknown = [name for name in _RUNS.value if name not in {row.name for row in rows}]
  if unknown:
    raise GatoError(
      f"--runs={unknown[0]}: no run that is planned; --dry_run names them, and those of a budget"
      " are planned when the cheaper budgets are trained"
    )
  return [row for row in rows if row.name in _RUNS.value]


def _predict(
  experiment: cli.Experiment, planner: Planner, measured: Sequence[points.ScalingPoint]
) -> None:
  """Writes predictions of the runs of a predicted budget, before they are trained."""
  losses = _losses(measured)
  expected = [
    run
    for stage in planner.stages(losses)
    if stage.predicted
    for run in stage.runs
    if run.name not in losses
  ]
  if not expected:
    return

  written = predictions.predict(
    experiment.workdir, expected, measured, planner.content, planner.config, planner.parameters
  )
  if not written and not predictions.read(experiment.workdir):
    print("nothing is predicted: the runs so far determine no law")
  if written:
    print(f"{written} losses predicted: {experiment.workdir / predictions.FILE}")


def _check_flags(experiment: cli.Experiment) -> None:
  if "scaling" not in experiment.config:
    raise GatoError(
      f"{experiment.config.name} has no section `scaling`; experiments/configs/studies/scaling.py"
      " has one, and a study goes through python -m launch submit --verb=study"
    )

  # Before anything is read or sent.
  experiment.section(runs.SweepConfig, "scaling")

  options = flags.FLAGS
  if options.on is None:
    raise GatoError(f"--on=BACKEND ({', '.join(settings.BACKENDS)}) is missing")
  if options.name is not None or options.verb not in ("train", "evaluate"):
    raise GatoError(
      "a sweep names its runs itself, so --name is no flag of it; --verb is train or evaluate"
    )
  if (_JOBS.value or 0) < 0 or _POLL.value <= 0:
    raise GatoError(f"--jobs={_JOBS.value} --poll={_POLL.value}: at least 0, and above 0")
  if _UNTIL.value is not None and _UNTIL.value <= 0:
    raise GatoError(f"--until={_UNTIL.value}: chip-hours, above 0")


def _check_bucket(experiment: cli.Experiment, backend: jobs.Backend) -> None:
  bucket = getattr(backend, "bucket", "")
  if bucket and not str(experiment.workdir).startswith(f"gs://{bucket}/"):
    raise GatoError(
      f"--on={backend.name} writes to its bucket: give "
      f"--config.workdir=gs://{bucket}/work/{experiment.config.name}"
    )


def _width(backend: jobs.Backend) -> int:
  """Returns the number of jobs at a time."""
  if _JOBS.value is not None:
    return _JOBS.value
  # Runs on one machine would take the cores from each other.
  return 1 if backend.name == "local" else 0


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


def _check_finished(sweep: Sweep) -> None:
  """Raises GatoError if a run that was submitted did not finish."""
  if sweep.exhausted:
    waiting = sum(row.state == WAITING for row in sweep.rows)
    print(
      f"--until={_UNTIL.value:g}: {sweep.spent_hours():.2f} chip-hours are spent, {waiting} runs"
      " wait for the same command with more"
    )

  unfinished = [row.job.name for row in sweep.rows if row.state not in (JobState.DONE, WAITING)]
  if unfinished:
    raise GatoError(
      f"{len(unfinished)} of {len(sweep.rows)} runs did not finish: {', '.join(unfinished)}; see"
      f" `python -m launch logs --name={unfinished[0]}` and run the same command again"
    )


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


def is_played(row: SweepRow, experiment: cli.Experiment) -> bool:
  """Returns True when the run's last checkpoint has all episodes of all tasks."""
  played: collections.Counter[str] = collections.Counter()
  for result in results.read(row.workdir / "results.jsonl"):
    if result.actor == "gato" and result.step == row.steps:
      played[result.task] += 1

  episodes = experiment.config.evaluate.episodes
  tasks = [f"{domain.name}.{task}" for domain, task in experiment.control_tasks]
  return all(played[task] >= episodes for task in tasks)


def show_plan(rows: Sequence[SweepRow], backend: jobs.Backend) -> None:
  """Prints the output of --dry_run: the missing runs, and the first of them as it would be sent."""
  missing = [row for row in rows if row.job.verb != "train" or row.point is None]
  print(f"{len(rows)} runs, {len(missing)} missing: {' '.join(row.run.name for row in missing)}")
  if not missing:
    return

  for title, text in backend.render(missing[0].job).items():
    print(f"--- {title}\n{text}", end="" if text.endswith("\n") else "\n")


if __name__ == "__main__":
  cli.run(main, buckets=True)
