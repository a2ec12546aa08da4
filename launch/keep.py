"""Watches a TPU VM job until it is over: python -m launch keep --name=NAME    (may be stopped and started again)

Machines that were taken away (--spot) are asked for again, those of a job that is over are deleted.
"""

import sys
import time

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from launch import jobs, settings
from launch.backends.tpu_vm import TpuVm

_NAME = flags.DEFINE_string("name", None, "Of the job.", required=True)
_EVERY = flags.DEFINE_integer("every", 60, "Seconds between two looks.", lower_bound=1)


def main() -> None:
  record = jobs.find(_NAME.value, TpuVm.name)
  backend, before = settings.of_record(record), None
  while True:
    try:
      state = backend.keep(record.job)
    except GatoError as e:  # no quota or no network just now: said, and tried again
      print(f"{record.job.name}: {e}", file=sys.stderr, flush=True)
    else:
      if state != before:
        print(f"{record.job.name}: {state}", flush=True)
      if state.over and state != jobs.State.UNKNOWN:
        return
      before = state
    time.sleep(_EVERY.value)


if __name__ == "__main__":
  cli.run_without_config(main)
