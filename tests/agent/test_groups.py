"""Prompts of an episode's group: what is shown, and who may be shown it."""

import numpy as np
import pytest
from engine_cases import LAYOUTS, SPECS, observe

from gato_jax.agent import ActConfig
from gato_jax.agent.prompts import Prompts
from gato_jax.data import demonstrations
from gato_jax.data.prepared_format import group_id
from gato_jax.errors import GatoError
from gato_jax.tokens import layout

TASK = "a.arm"
STEPS = 7


def episodes(count):
  """Demonstrations whose every observation says which one it is."""
  shown = []

  for number in range(count):
    columns = {
      key: np.stack([observe(TASK, number, step)[key] for step in range(STEPS)])
      for key in SPECS[TASK].observation
    }
    shown.append((columns, np.full((STEPS, 3), number / 8, np.float32)))

  return shown


def prompts(groups, room=1000, **act):
  config = ActConfig(**({"prompt": "start"} | act))
  return Prompts(LAYOUTS[TASK], episodes(len(groups)), room=room, config=config, groups=groups)


def shown(prompt):
  """Numbers of the demonstrations that 40 seeds are shown."""
  one = LAYOUTS[TASK]
  numbers = {}
  for number, (_, action) in enumerate(episodes(8)):
    numbers[tuple(one.encode_actions(action)[0])] = number
  return lambda group: {
    numbers[tuple(prompt.choose(seed, group).tokens[0, one.action.slice])] for seed in range(40)
  }


def test_an_episode_is_shown_its_own_group():
  a, b = group_id("a"), group_id("b")
  groups = [a, b, a, b]

  assert shown(prompts(groups))(a) == {0, 2}
  assert shown(prompts(groups, prompt_group="other"))(a) == {1, 3}
  assert shown(prompts(groups, prompt_group="any"))(a) == {0, 1, 2, 3}

  # An episode without a group is shown any.
  assert shown(prompts(groups))(0) == {0, 1, 2, 3}


def test_a_group_without_demonstrations_is_an_error():
  with pytest.raises(GatoError, match="no demonstration is of this episode's group"):
    prompts([group_id("a")]).choose(0, group_id("b"))
  with pytest.raises(GatoError, match="of another group than this episode's"):
    prompts([group_id("a")], prompt_group="other").choose(0, group_id("a"))


def test_a_spread_prompt_has_the_first_step_the_last_and_those_between():
  one = LAYOUTS[TASK]
  columns, action = episodes(1)[0]
  steps = prompts([0], room=3 * one.length, prompt="spread").choose(0)
  picked = [0, 3, 6]
  expected = one.encode({key: column[picked] for key, column in columns.items()}, action[picked])

  np.testing.assert_array_equal(steps.tokens, expected.tokens)

  np.testing.assert_array_equal(layout.spread_steps(10, 10), np.arange(10))
  np.testing.assert_array_equal(layout.spread_steps(10, 1), [9])


def test_demonstrations_keep_their_groups(tmp_path):
  demonstrations.write(tmp_path, TASK, episodes(3), groups=[5, 6, 5])
  assert demonstrations.read_groups(tmp_path, TASK) == [5, 6, 5]
  assert len(demonstrations.read(tmp_path, TASK)) == 3

  # Files of older versions have none.
  demonstrations.write(tmp_path, "a.old", episodes(2))

  assert demonstrations.read_groups(tmp_path, "a.old") == [0, 0]


def test_no_group_is_the_number_of_no_group():
  assert group_id("") == 0 != group_id("a")
