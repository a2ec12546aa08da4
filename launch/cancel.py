"""Ends a job; training saves a checkpoint first: python -m launch cancel --name=NAME    (submit it again to go on)"""

from absl import flags

from experiments import cli
from launch import jobs, settings

_NAME = flags.DEFINE_string("name", None, "Of the job.", required=True)
_ON = flags.DEFINE_string("on", "", "Of its backend, where several have a job of that name.")


def main() -> None:
  record = jobs.find(_NAME.value, _ON.value)
  settings.of_record(record).cancel(record.handle)
  print(f"{record.job.name}: told to end; python -m launch status --name={record.job.name}")


if __name__ == "__main__":
  cli.run_without_config(main)
