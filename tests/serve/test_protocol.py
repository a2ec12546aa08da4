"""Messages between client and server: what is sent arrives, and nothing else is read."""

import pathlib
import re

import hypothesis
import numpy as np
import pytest
from dm_env import specs as dm_specs
from hypothesis import strategies as st
from messages import ARRAYS, REQUESTS, VALUES

from gato_jax.serve import protocol
from gato_jax.task import TaskSpec

ROOT = pathlib.Path(__file__).resolve().parents[2]


@hypothesis.settings(max_examples=500, deadline=None)
@hypothesis.given(st.binary(max_size=200) | (VALUES | ARRAYS | REQUESTS).map(protocol.encode))
def test_bytes_are_a_message_or_refused(data):
  try:
    message = protocol.decode(data)
    protocol.take_steps(message)
  except protocol.RequestRefused as e:
    assert e.reason == "malformed" and "\n" not in str(e)
  else:
    assert isinstance(message["type"], str)


def test_nothing_is_pickled():
  for path in (ROOT / "gato_jax/serve").glob("*.py"):
    assert not re.search(
      r"import .*(pickle|marshal|shelve|dill)|np\.load|allow_pickle|\beval\(", path.read_text()
    ), path


def test_a_message_is_what_was_sent():
  arrays = [np.arange(6, dtype=d).reshape(2, 3) for d in sorted(protocol.DTYPES)] + [
    np.float32(3),
    np.zeros((0, 2)),
  ]
  message = {"type": "actions", "actions": [[i, a] for i, a in enumerate(arrays)]}
  back = protocol.decode(protocol.encode(message))["actions"]

  for (_, ours), theirs in zip(back, arrays, strict=True):
    assert (
      ours.dtype == theirs.dtype and ours.shape == theirs.shape and np.array_equal(ours, theirs)
    )

  for wrong in (np.array(["a"]), np.array([None]), np.zeros(2, bool), object()):
    with pytest.raises(TypeError, match="cannot send"):
      protocol.encode({"type": "act", "steps": wrong})


def test_a_message_of_the_largest_observation_fits_and_not_much_more():
  spec = TaskSpec(
    "d.t",
    {
      "a" * 50: dm_specs.BoundedArray((64, 80, 3), np.uint8, 0, 255),
      "b": dm_specs.Array((17,), np.float32),
      "text": dm_specs.StringArray(()),
    },
    dm_specs.BoundedArray((6,), np.float32, -1, 1),
    {"text": 12},
  )
  observation = {
    "a" * 50: np.zeros((64, 80, 3), np.uint8),
    "b": np.zeros(17, np.float64),
    "text": "\U0001f916" * 192,
  }
  sessions = 40
  message = {"type": "act", "steps": [[2**60 + i, observation] for i in range(sessions)]}
  size = len(protocol.encode(message))

  assert size <= protocol.message_bytes([spec] * sessions) < 1.1 * size
