"""Child processes that read damaged data as training does and end as a verb does.

Usage: python -m tests.support.failing_input TFDS N

Prints how many ended with the verb's line and status 1, and how many had to be killed. Each is
forked after the slow imports and before TensorFlow runs anything.
"""

import os
import pathlib
import sys
import time

from experiments import cli
from gato_jax.data import pipeline
from gato_jax.data.mixture import MixtureConfig
from gato_jax.tokens import codec
from gato_jax.train import prefetch

_PATIENCE = 45.0  # seconds; less than the watchdog of experiments/cli/runner.py


def read(tfds: pathlib.Path) -> None:
  """Ends in the GatoError of a damaged record, raised in a function that TensorFlow calls."""
  mixture = MixtureConfig(
    name="damaged", weights={"dummy.reach": 0.5, "dummy.reach_discrete": 0.5}, sequence_length=128
  )
  inputs = pipeline.Input(mixture, tfds, 8, codec.default_text_codec(), 512)
  with prefetch.prefetch(inputs.batches(0)) as batches:
    for _ in range(100):
      next(batches)


def wait(child: int) -> int | None:
  """Returns the exit status, or None where the child had to be killed."""
  until = time.monotonic() + _PATIENCE

  while time.monotonic() < until:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
      return os.waitstatus_to_exitcode(status)
    time.sleep(0.05)

  os.kill(child, 9)
  os.waitpid(child, 0)
  return None


def main(tfds: pathlib.Path, children: int) -> None:
  statuses = []
  for _ in range(children):
    child = os.fork()
    if not child:
      sys.argv = ["failing_input"]
      cli.run_without_config(lambda: read(tfds))
      return  # to the end of the interpreter, which is where it would hang
    statuses.append(wait(child))

  print(f"{statuses.count(1)} ended, {statuses.count(None)} killed", flush=True)


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
