"""The rule of what attends to what, against loops that say it in other words."""

import numpy as np
import pytest

from gato_jax.model import visibility
from gato_jax.tokens.vocabulary import Kind


def window(rows=2, length=40, seed=0):
  """Returns kinds, segments and prompts with everything that the rule is about."""
  random = np.random.default_rng(seed)
  step = [Kind.TEXT, Kind.PADDING, Kind.SEPARATOR, Kind.ACTION, Kind.ACTION]
  kinds = np.tile(np.resize(np.array(step, np.int32), length), (rows, 1))
  segments = 1 + (random.random((rows, length)) < 0.1).cumsum(axis=1)
  prompts = np.arange(length) < random.integers(0, length, (rows, 1))
  return kinds, np.where(kinds == Kind.PADDING, 0, segments).astype(np.int32), prompts


def slow_mask(kinds, segments, prompts):
  """Says of every pair of positions whether the first attends to the second."""
  rows, length = kinds.shape
  mask = np.zeros((rows, length, length), bool)
  for row in range(rows):
    steps, step = [], 0
    for i in range(length):
      if i and kinds[row, i - 1] == Kind.ACTION and kinds[row, i] != Kind.ACTION:
        step += 1
      steps.append(step)

    for query in range(length):
      for key in range(query):
        is_real = kinds[row, key] != Kind.PADDING
        is_together = segments[row, key] == segments[row, query]
        is_past_action = kinds[row, key] == Kind.ACTION and steps[key] != steps[query]
        is_hidden = prompts is not None and is_past_action and not prompts[row, key]
        mask[row, query, key] = is_real and is_together and not is_hidden
      mask[row, query, query] = True

  return mask


@pytest.mark.parametrize("is_hidden", [False, True])
def test_mask_equals_loops(is_hidden):
  kinds, segments, prompts = window()
  codes = visibility.window_codes(kinds, segments, prompts if is_hidden else None)
  expected = slow_mask(kinds, segments, prompts if is_hidden else None)

  assert codes.shape == (2, 4 if is_hidden else 2, 40)
  np.testing.assert_array_equal(visibility.window_mask(codes), expected)


def test_hidden_actions_are_hidden():
  kinds, segments, prompts = window()
  seen = visibility.window_mask(visibility.window_codes(kinds, segments))
  hidden = visibility.window_mask(visibility.window_codes(kinds, segments, prompts))
  gone = np.asarray(seen & ~hidden)

  assert gone.any() and not np.any(hidden & ~seen)
  rows, _, keys = np.nonzero(gone)
  assert np.all(kinds[rows, keys] == Kind.ACTION) and not np.any(prompts[rows, keys])
