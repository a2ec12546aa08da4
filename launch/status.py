"""How a job stands: python -m launch status --name=NAME    (exit status 1 where it failed, was cancelled or is gone)"""

import sys

from absl import flags

from experiments import cli
from launch import jobs, settings

_NAME = flags.DEFINE_string("name", None, "Of the job.", required=True)
_ON = flags.DEFINE_string("on", "", "Of its backend, where several have a job of that name.")


def main() -> None:
  record = jobs.find(_NAME.value, _ON.value)
  state = settings.of_record(record).state(record.handle) if record.handle else jobs.State.UNKNOWN
  print(f"{record.job.name}: {state} on {record.backend} ({record.handle or 'was not sent to its end'})")
  print(f"  experiments.{record.job.verb} --config={record.job.config} {' '.join(record.job.overrides)}".rstrip())
  print(f"  submitted {record.submitted} from revision {record.revision or 'unknown'}")
  sys.exit(state in (jobs.State.FAILED, jobs.State.CANCELLED, jobs.State.UNKNOWN))


if __name__ == "__main__":
  cli.run_without_config(main)
