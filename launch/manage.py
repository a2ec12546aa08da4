"""Commands for jobs that were submitted: status, logs, cancel, list, describe, open and keep.

`python -m launch COMMAND --name=NAME` runs `python -m launch.manage COMMAND --name=NAME`.
"""

import dataclasses
import inspect
import json
import subprocess
import sys
import time
from typing import Any

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from launch import cost, jobs, settings, watch
from launch.backends.tpu_vm import TpuVm
from launch.jobs import JobState


def run_status() -> None:
  """Shows how a job stands: python -m launch status --name=NAME

  The exit status is 1 where it failed, was cancelled or is gone.
  """
  record = jobs.find(flags.FLAGS.name, flags.FLAGS.on)
  job = record.job

  # A record has no handle where the submission did not come to its end.
  state = JobState.UNKNOWN
  others: dict[str, JobState] = {}
  if record.handle:
    backend = settings.of_record(record)
    state = backend.state(record.handle)
    others = backend.others(record.handle)

  handle = record.handle or "was not sent to its end"
  command = f"experiments.{job.verb} --config={job.config} {' '.join(job.overrides)}".rstrip()
  print(f"{job.name}: {state} on {record.backend} ({handle})")
  print(f"  {command}")
  for name, other in others.items():
    print(f"  {name}: {other}")
  print(f"  submitted {record.submitted} from revision {record.revision or 'unknown'}")
  sys.exit(state in (JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN))


def run_logs() -> None:
  """Shows the end of what a job printed: python -m launch logs --name=NAME --lines=50

  With --follow (-f) it goes on until the job is over or Ctrl-C.
  """
  record = jobs.find(flags.FLAGS.name, flags.FLAGS.on)
  backend = settings.of_record(record)
  if not flags.FLAGS.follow:
    print(backend.logs(record.handle, flags.FLAGS.lines), end="")
    return

  for line in watch.log_lines(backend, record.handle, flags.FLAGS.every):
    print(line, flush=True)


def run_describe() -> None:
  """Shows all that is recorded of a job: python -m launch describe --name=NAME"""
  record = jobs.find(flags.FLAGS.name, flags.FLAGS.on)
  print(json.dumps(_described(record), indent=1))


def run_open() -> None:
  """Shows a job's curves in TensorBoard: python -m launch open --name=NAME

  It reads the job's workdir, on this machine or in its bucket, until Ctrl-C.
  """
  record = jobs.find(flags.FLAGS.name, flags.FLAGS.on)
  logdir = str(cost.workdir(record) / "tensorboard")
  command = ["tensorboard.main", f"--logdir={logdir}", f"--port={flags.FLAGS.port}"]

  print(f"{record.job.name}: {logdir}, Ctrl-C ends it", flush=True)
  done = subprocess.run([sys.executable, "-m", *command, "--load_fast=false"])
  sys.exit(done.returncode)


def run_cancel() -> None:
  """Ends a job; training saves a checkpoint first: python -m launch cancel --name=NAME

  Submit it again to continue.
  """
  record = jobs.find(flags.FLAGS.name, flags.FLAGS.on)
  settings.of_record(record).cancel(record.handle)
  print(f"{record.job.name}: told to end; python -m launch status --name={record.job.name}")


def run_list() -> None:
  """Lists all jobs that were submitted from this checkout: python -m launch list"""
  records = jobs.records()
  if flags.FLAGS.json:
    print(json.dumps([_described(record) for record in records], indent=1))
    return
  if not records:
    print("no job was submitted from here")
    return

  rows = [("name", "backend", "state", "submitted", "step", "chip-hours", "what")]
  for record in records:
    job = record.job
    submitted = record.submitted.removesuffix("+00:00")
    state = _listed_state(record)
    spent = cost.of_record(record)
    what = f"{job.verb} {job.config}"
    rows.append((job.name, record.backend, state, submitted, *spent.cells(), what))

  # The last column is not padded: lines end with their text.
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
  for *cells, last in rows:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    print("  ".join([*padded, last]))


def run_keep() -> None:
  """Watches a TPU VM job until it is over: python -m launch keep --name=NAME

  Machines that were taken away (--spot) are asked for again, those of a job that is over are
  deleted. The command may be stopped and started again.
  """
  record = jobs.find(flags.FLAGS.name, TpuVm.name)
  name = record.job.name
  backend = settings.of_record(record)
  assert isinstance(backend, TpuVm)

  previous = None
  while True:
    try:
      state = backend.keep(record.job)
    except GatoError as e:
      # No quota or no network at the moment: it is reported, and tried again.
      print(f"{name}: {e}", file=sys.stderr, flush=True)
    else:
      if state != previous:
        print(f"{name}: {state}", flush=True)
      if state.over and state != JobState.UNKNOWN:
        return
      previous = state

    time.sleep(flags.FLAGS.every)


def define_flags(command: str) -> None:
  """Defines the flags of one command, so that it refuses those of the others."""
  if command != "list":
    flags.DEFINE_string("name", None, "Of the job.", required=True)
  if command in ("status", "logs", "cancel", "describe", "open"):
    flags.DEFINE_string("on", "", "Of its backend, where several have a job of that name.")
  if command == "logs":
    flags.DEFINE_integer("lines", 20, "Of each process.", lower_bound=1)
    flags.DEFINE_bool("follow", False, "Goes on until the job is over.", short_name="f")
  if command == "open":
    flags.DEFINE_integer("port", 6006, "Port of TensorBoard.", 0, 65535)
  if command in ("keep", "logs"):
    seconds = 60 if command == "keep" else 5
    flags.DEFINE_integer("every", seconds, "Seconds between two looks.", lower_bound=1)
  if command == "list":
    flags.DEFINE_bool("json", False, "Prints all that is recorded, and the states, as JSON.")


def _described(record: jobs.Record) -> dict[str, Any]:
  """Returns a record with its state, JSON-able."""
  return {
    "name": record.job.name,
    "state": str(_listed_state(record)),
    "workdir": str(cost.workdir(record)),
    "spent": dataclasses.asdict(cost.of_record(record)),
    **dataclasses.asdict(record),
  }


def _listed_state(record: jobs.Record) -> JobState:
  """Returns UNKNOWN, with the reason on stderr, where the backend cannot be asked."""
  if not record.handle:
    return JobState.UNKNOWN

  try:
    return settings.of_record(record).state(record.handle)
  except GatoError as e:
    print(f"{record.job.name}: {e}", file=sys.stderr)
    return JobState.UNKNOWN


if __name__ == "__main__":
  _command = sys.argv.pop(1)
  _run = globals()[f"run_{_command}"]
  define_flags(_command)

  # absl's --help prints the docstring of the main module.
  __doc__ = inspect.cleandoc(_run.__doc__)
  cli.run_without_config(_run)
