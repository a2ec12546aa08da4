"""No verb hangs after its error: neither by TensorFlow's threads nor by others."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from gato_jax.data import prepared_format

ROOT = pathlib.Path(__file__).resolve().parents[2]
# JAX, which the fixtures import, sets this variable; a person's shell does not.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


@pytest.fixture(scope="module")
def damaged(dummy_tfds, tmp_path_factory):
  """The dummy datasets with a byte changed in about every episode of their prepared form."""
  tfds = tmp_path_factory.mktemp("damaged") / "tfds"
  shutil.copytree(dummy_tfds, tfds)

  for path in tfds.rglob(f"{prepared_format.FOLDER}/data.bin"):
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content), 500):
      content[at] ^= 0xFF
    path.write_bytes(content)

  return tfds


@pytest.mark.slow  # each child compiles
@pytest.mark.parametrize("children", [2, 20])
def test_an_error_of_the_input_ends_the_process(damaged, children):
  """About a third hung in the destructor of a TensorFlow iterator kept by a traceback."""
  command = [sys.executable, "-m", "tests.support.failing_input", str(damaged), str(children)]
  done = subprocess.run(
    command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60 + 50 * children
  )

  assert done.stdout == f"{children} ended, 0 killed\n", done.stdout + done.stderr

  lines = done.stderr.splitlines()

  assert len(lines) == children and all(
    "is damaged; delete the folder and run" in line for line in lines
  ), done.stderr


STUCK = """
import threading
from experiments import cli
from experiments.cli import runner
from gato_jax.errors import GatoError

def main():
  threading.Thread(target=threading.Event().wait).start()  # no daemon: the interpreter waits for it
  raise GatoError("bad input")

runner._ENDING_SECONDS = 1
cli.run_without_config(main)
"""


def test_a_thread_that_never_ends_does_not_keep_a_verb_after_its_error():
  done = subprocess.run(
    [sys.executable, "-c", STUCK],
    cwd=ROOT,
    env=ENVIRONMENT,
    capture_output=True,
    text=True,
    timeout=120,
  )

  assert (done.returncode, done.stderr) == (1, "error: bad input\n")
