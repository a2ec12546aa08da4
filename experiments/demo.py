"""Collects, trains, plays and reports in one command: python -m experiments.demo --minutes=30

The same command continues where it stopped. Each verb runs in a process of its own, since
simulators and TensorFlow do not share one.
"""

import subprocess
import sys
import time

from absl import flags

from experiments import cli

_MINUTES = flags.DEFINE_float(
  "minutes",
  30,
  "Minutes of training. Fewer than 30 give an impression, not a result.",
  lower_bound=0.1,
)
_CONFIG_FILE = flags.DEFINE_string(
  "config_file", "experiments/configs/demo.py", "Path of the config file to run."
)
_VERBS = ("collect", "build", "train", "evaluate", "report")


def main() -> None:
  minutes = f"{_MINUTES.value:g}"
  overrides = [f"--config.train.minutes={minutes}"]
  if _MINUTES.value != 30:
    # A run of another length keeps its checkpoints apart from those of the README's run.
    overrides.append(f"--config.workdir=work/demo-{minutes}min")
    print(
      f"demo: {minutes} minutes of training instead of 30; expect lower scores than the README's"
    )

  for number, verb in enumerate(_VERBS, 1):
    print(f"\n[{number}/{len(_VERBS)}] {verb}", flush=True)
    start = time.monotonic()

    module = f"experiments.{verb}"
    command = [sys.executable, "-m", module, f"--config={_CONFIG_FILE.value}", *overrides]
    status = subprocess.call(command)
    if status:
      print(
        f"demo: {verb} ended with status {status}; run the same command again to continue",
        file=sys.stderr,
      )
      sys.exit(status)

    elapsed = (time.monotonic() - start) / 60
    print(f"[{number}/{len(_VERBS)}] {verb}: {elapsed:.1f} minutes", flush=True)


if __name__ == "__main__":
  cli.run_without_config(main)
