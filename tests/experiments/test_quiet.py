"""TensorFlow's startup messages stay out of a verb's output; other messages do not."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(source: str, **variables: str) -> subprocess.CompletedProcess:
  """Runs Python without TensorFlow's variables, which JAX sets when other tests import it."""
  env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
  env |= variables
  return subprocess.run(
    [sys.executable, "-c", source], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
  )


_OTHERS = [pytest.param(verb, marks=pytest.mark.slow) for verb in ("build", "measure", "interpret")]


@pytest.mark.parametrize("verb", ["train", *_OTHERS])
def test_a_verb_with_tensorflow_is_imported_without_a_word(verb):
  source = "import tensorflow as tf; tf.range(3) + 1; tf.data.Dataset.range(3)"
  done = run(f"import sys; import experiments.{verb}; {source}")
  assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow  # imports TensorFlow anew, 20 seconds
def test_a_machine_with_cuda_and_no_gpu_is_no_error():
  # With this level, as JAX sets it for TPUs, TensorFlow reports the missing GPU as an error.
  done = run("from experiments import cli; import gato_jax.data.records", TF_CPP_MIN_LOG_LEVEL="1")
  assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow  # imports four verbs anew, 12 seconds
def test_the_others_are_silent_as_well():
  done = run(
    "import sys; "
    + "; ".join(f"import experiments.{verb}" for verb in ("cli", "describe", "report", "study"))
  )
  assert (done.returncode, done.stderr) == (0, "")


def test_errors_and_warnings_of_others_are_shown():
  lines = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795907563.240388   30726 cudart_stub.cc:31] Could not find cuda drivers on your machine.",
    "W0000 00:00:1795907563.240388   30726 cpu.cc:31] Slow.",
    "E0000 00:00:1795907563.240388   30726 cuda_platform.cc:52] failed call to cuInit: UNKNOWN",
    "E0000 00:00:1795907563.240388   30726 cuda_dnn.cc:31] Unable to register cuDNN factory.",
    "ImportWarning: an old package",
  ]
  source = "import os; from experiments import quiet\nwith quiet.without_greetings():\n"
  done = run(
    source
    + "".join(f"  os.write(2, {(line + chr(10)).encode()!r})\n" for line in lines)
    + "  1 / 0\n"
  )
  shown = done.stderr.splitlines()

  assert shown[:2] == lines[4:] and shown[-1] == "ZeroDivisionError: division by zero"
