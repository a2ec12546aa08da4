"""Meta-World with hidden goals: only the group tells the goal, and new goals are never known ones."""

import numpy as np
import pytest

from gato_jax.env import loop
from rlds_builders import meta_world, meta_world_hidden_goal

DOMAIN = meta_world_hidden_goal.DOMAIN


def episodes(task, seeds):
  """Returns, for each seed, the first frame, the goal of the simulator, and the group."""
  environment = DOMAIN.make_environment(task)
  found = []
  for seed in seeds:
    environment.seed(seed)
    timestep = environment.reset()
    found.append(
      (timestep.observation["frame"], environment.state[-3:], environment.episode_info()["group"])
    )
  environment.close()
  return found


@pytest.mark.parametrize("task", ["reach-v3", "push-v3"])
def test_a_group_is_one_goal_and_no_observation_shows_it(task):
  by_group = {}
  for frame, goal, group in episodes(task, range(150)):
    assert frame.shape == (18,)
    by_group.setdefault(group, []).append((frame, goal))

  assert 50 < len(by_group) <= 64
  for members in by_group.values():
    goals = np.array([goal for _, goal in members])
    np.testing.assert_array_equal(goals, goals[:1].repeat(len(goals), axis=0))

  # Two goals, and the object at different places with the same one.
  (first, *_), (second, *_) = list(by_group.values())[:2]
  assert not np.array_equal(first[1], second[1])
  several = next(members for members in by_group.values() if len(members) > 1)
  assert not np.array_equal(several[0][0], several[1][0])


@pytest.mark.parametrize("task", ["reach-v3", "push-v3"])
def test_new_goals_are_not_among_the_known_ones(task):
  known, new = (
    {group: tuple(goal) for _, goal, group in episodes(name, range(200))}
    for name in (task, f"{task}-new")
  )

  assert len(new) == 16 and not known.keys() & new.keys()
  assert not set(known.values()) & set(new.values())


def test_an_episode_depends_on_its_seed_alone():
  (once,), (_, _, again) = episodes("reach-v3", [7]), episodes("reach-v3", [3, 5, 7])

  np.testing.assert_array_equal(once[0], again[0])
  assert once[2] == again[2]


def test_goals_lie_where_the_tasks_own_lie():
  environment = meta_world.DOMAIN.make_environment("reach-v3")
  box = environment.gym._random_reset_space
  goals = np.array([goal for _, goal, _ in episodes("reach-v3", range(150))])
  environment.close()

  assert np.all(goals >= box.low[-3:]) and np.all(goals <= box.high[-3:])
  assert np.all(np.ptp(goals, axis=0) > 0.8 * (box.high - box.low)[-3:])


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_the_expert_succeeds(task):
  environment = DOMAIN.make_environment(task)
  expert = loop.PerSlot([DOMAIN.make_expert(environment, task)])
  played = list(loop.run_episodes([environment], expert, range(6)))

  assert np.mean([episode.success for episode in played]) >= 5 / 6
  environment.close()
