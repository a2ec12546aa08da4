"""The hidden goal: only the group tells it, and the two tasks share none."""

import numpy as np

from gato_jax.env import loop
from rlds_builders import hidden_goal
from rlds_builders.hidden_goal import environment as hidden_goal_environment

DOMAIN = hidden_goal.DOMAIN


def test_the_tasks_share_no_goal_and_have_all_cells():
  goals = hidden_goal_environment.GOALS
  assert (len(goals["known"]), len(goals["new"])) == (65, 16)
  assert sorted([*goals["known"], *goals["new"]]) == list(range(81))


def test_the_group_is_the_goal_and_the_observation_does_not_show_it():
  environment = DOMAIN.make_environment("known")
  seen = {}

  for seed in range(200):
    environment.seed(seed)
    timestep = environment.reset()
    column, row = environment.goal
    assert environment.episode_info() == {"success": False, "group": f"goal {column},{row}"}
    assert timestep.observation.keys() == {"cell"}
    seen.setdefault(tuple(timestep.observation["cell"]), set()).add((column, row))

  # The same first observation comes with different goals.
  assert max(len(goals) for goals in seen.values()) > 3


def test_the_expert_walks_straight_and_stays():
  environment = DOMAIN.make_environment("new")
  expert = loop.PerSlot([DOMAIN.make_expert(environment, "new")])

  for seed in range(30):
    environment.seed(seed)
    distance = np.abs(environment.reset().observation["cell"] - environment.goal).sum()
    (episode,) = loop.run_episodes([environment], expert, [seed])
    # One reward for every step from the first one in the goal's cell on.
    assert episode.episode_return == hidden_goal_environment.HORIZON - distance + 1
    assert episode.success and episode.length == hidden_goal_environment.HORIZON
