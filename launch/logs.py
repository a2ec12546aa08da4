"""The end of what a job printed: python -m launch logs --name=NAME --lines=50"""

from absl import flags

from experiments import cli
from launch import jobs, settings

_NAME = flags.DEFINE_string("name", None, "Of the job.", required=True)
_ON = flags.DEFINE_string("on", "", "Of its backend, where several have a job of that name.")
_LINES = flags.DEFINE_integer("lines", 20, "Of each process.", lower_bound=1)


def main() -> None:
  record = jobs.find(_NAME.value, _ON.value)
  print(settings.of_record(record).logs(record.handle, _LINES.value), end="")


if __name__ == "__main__":
  cli.run_without_config(main)
