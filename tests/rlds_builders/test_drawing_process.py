"""Scenes are drawn in a process of their own, which ends with the one that reads them."""

import os
import pathlib
import time

import numpy as np
import pytest

from gato_jax.errors import GatoError
from rlds_builders.scenes.drawing_process import drawn


def three(path: str):
  """Yields images, prints to standard output in between, and counts them in a file."""
  for number in range(1000):
    print("not a picture", flush=True)
    os.write(1, b"nor this")
    with open(path, "w") as file:
      file.write(str(number))
    yield os.getpid(), np.zeros((64, 64, 3), np.uint8)


def slow(path: str):
  yield 1
  time.sleep(5)
  pathlib.Path(path).touch()


def broken(status: int):
  yield 1
  if status:
    os._exit(status)
  raise GatoError("no screen here")


def test_who_draws_waits_and_ends_with_who_reads(tmp_path):
  counted = tmp_path / "count"
  stream = drawn("tests.rlds_builders.test_drawing_process:three", str(counted))
  process, picture = next(stream)

  assert picture.shape == (64, 64, 3)

  time.sleep(0.5)

  assert int(counted.read_text()) < 50  # the pipe is full

  stream.close()

  with pytest.raises(ProcessLookupError):
    os.kill(process, 0)


def test_who_draws_is_not_waited_for(tmp_path):
  stream = drawn("tests.rlds_builders.test_drawing_process:slow", str(tmp_path / "done"))
  next(stream)
  stream.close()
  assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
  ("status", "words"), [(0, "status 1: no screen here"), (7, "status 7: without a word")]
)
def test_a_process_that_dies_is_one_line_with_its_last_words(status, words):
  stream = drawn("tests.rlds_builders.test_drawing_process:broken", status)
  assert next(stream) == 1
  with pytest.raises(
    GatoError, match=f"tests.rlds_builders.test_drawing_process:broken: .* {words}"
  ) as caught:
    next(stream)
  assert "\n" not in str(caught.value)
