"""The control suite: planned rewards are the suite's own, episodes depend on their seed.

Experts reach the goal.
"""

import numpy as np
import pytest

from gato_jax.env import loop
from rlds_builders import control_suite

# This module chooses the GL library before MuJoCo is imported.
from rlds_builders.worlds.mujoco_rendering import mujoco

# isort: split
from rlds_builders.planners import rollouts
from rlds_builders.worlds.suite import environment as control_environment
from rlds_builders.worlds.suite import expert
from rlds_builders.worlds.suite.experts import planning_model
from rlds_builders.worlds.suite.experts import rewards as suite_rewards

_TASKS = control_suite.DOMAIN.tasks
# A few seconds an episode; scores.json has all.
_QUICK = (
  "ball_in_cup-catch",
  "cartpole-balance",
  "cartpole-swingup",
  "pendulum-swingup",
  "point_mass-easy",
  "point_mass-hard",
  "reacher-easy",
)


def _play(environment, act, seed, steps):
  environment.seed(seed)
  timesteps = [environment.reset()]
  timesteps += [environment.step(act(timesteps[-1])) for _ in range(steps)]
  return timesteps


def _to_goal(physics, task):
  """Sets a state with reward in those tasks whose reward is 0 almost everywhere."""
  named = physics.named

  if task == "finger-spin":
    named.data.qvel["hinge"] = -17
  elif task.startswith("finger-turn"):
    named.model.site_pos["target"] = named.data.site_xpos["tip"]
  elif task.startswith("reacher"):
    named.model.geom_pos["target"] = named.data.geom_xpos["finger"] + [0.01, 0, 0]
  elif task == "manipulator-bring_ball":
    named.model.body_pos["target_ball"] = named.data.site_xpos["ball"] + [0.01, 0, 0]
  elif task == "ball_in_cup-catch":
    named.data.qpos[["ball_x", "ball_z"]] += (
      named.data.site_xpos["target"] - named.data.xpos["ball"]
    )[[0, 2]]
  elif task == "cheetah-run":
    named.data.qvel["rootx"] = 5
  elif task.startswith(("acrobot", "cartpole", "hopper", "pendulum", "point_mass")):
    physics.data.qpos[:] = physics.model.qpos0

  physics.forward()


@pytest.mark.parametrize("task", _TASKS)
def test_planned_rewards_and_states_are_the_suites(task):
  environment = control_suite.DOMAIN.make_environment(task)
  environment.seed(2)
  environment.reset()
  physics = environment.physics
  _to_goal(physics, task)
  planning = planning_model.PlanningModel(physics.model.ptr, task)
  start = rollouts.full_state(planning.model, physics.data.ptr)
  actions = (
    np.random.default_rng(1)
    .uniform(-1, 1, (30, *environment.action_spec().shape))
    .astype(np.float32)
  )
  rewards, positions = [], []
  for action in actions:
    rewards.append(environment.step(action).reward)
    positions.append(physics.data.qpos.copy())

  assert max(rewards) > 0  # else equality would say nothing

  data = mujoco.MjData(planning.model)
  planned = rollouts.simulate(
    planning.model, data, start, actions[None].astype(float), environment.substeps
  )

  np.testing.assert_allclose(planned.qpos[0], positions, atol=1e-5)
  np.testing.assert_allclose(suite_rewards.REWARDS[task](planned)[0], rewards, atol=1e-4)


@pytest.mark.parametrize("task", _TASKS)
def test_an_episode_depends_on_its_seed_only(task):
  one, two = control_environment.make(task), control_environment.make(task)
  actor = loop.RandomExpert(one.action_spec(), "test")

  def play(environment, seed):
    actor.reset(seed)
    return _play(environment, actor.act, seed, 5)

  play(two, 8)  # what was played before must not matter

  for a, b in zip(play(one, 7), play(two, 7), strict=True):
    for key, spec in one.observation_spec().items():
      spec.validate(a.observation[key])
      np.testing.assert_array_equal(a.observation[key], b.observation[key])

  assert any(
    np.any(a != b)
    for a, b in zip(
      one.reset().observation.values(), play(one, 9)[0].observation.values(), strict=True
    )
  )


def test_a_planner_repeats_itself_after_reset():
  environment = control_environment.make("reacher-easy")
  actor = expert.make(environment, "reacher-easy")
  runs = []
  for _ in range(2):
    actor.reset(5)
    runs.append([t.observation["position"] for t in _play(environment, actor.act, 5, 30)])

  np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("task", _QUICK)
def test_experts_hold_the_goal_once_there(task):
  environment = control_environment.make(task)
  actor = expert.make(environment, task)
  (episode,) = loop.run_episodes([environment], loop.PerSlot([actor]), [0])
  assert episode.length == 1000
  assert episode.episode_return > 700


def test_the_video_frame_is_a_picture():
  environment = control_environment.make("cartpole-balance")
  environment.seed(0)
  environment.reset()
  frame = environment.render()
  environment.close()
  assert frame.shape == (128, 128, 3) and frame.dtype == np.uint8 and frame.std() > 1
