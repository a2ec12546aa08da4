"""Repeated actions are counted by token, and still stretches by whole actions."""

import numpy as np
import pytest
from dm_env import specs

from gato_jax.env import repeats


def count(spec, actions):
  counter = repeats.RepeatCounter(spec)
  for action in actions:
    counter.add(np.asarray(action, spec.dtype))
  return counter


def test_continuous_actions_repeat_where_their_bins_do():
  spec = specs.BoundedArray((2,), np.float32, [-1, 0], [1, 10])
  one_bin = 2 / 1024
  counter = count(spec, [[0.0, 5.0], [0.4 * one_bin, 5.0], [1.5 * one_bin, 5.0], [1.0, 10.0]])
  # Of three pairs of two tokens: both equal, the second equal, none equal.
  assert counter.rate == pytest.approx(3 / 6)
  assert counter.longest == 2


def test_discrete_actions_and_their_longest_run():
  spec = specs.DiscreteArray(4)
  counter = count(spec, [1, 1, 2, 2, 2, 1])
  assert counter.rate == pytest.approx(3 / 5)
  assert counter.longest == 3


def test_one_step_has_no_rate():
  counter = count(specs.DiscreteArray(4), [3])
  assert counter.rate is None and counter.longest == 1
