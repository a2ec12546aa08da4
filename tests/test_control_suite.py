"""The control suite: planned rewards are the suite's own, episodes depend on their seed, experts reach the goal."""

import numpy as np
import pytest

from gato_jax import environment_loop
from rlds_builders import control_suite
from rlds_builders.control_suite import environment as control_environment
from rlds_builders.control_suite import expert
from rlds_builders.planners import sampling

_TASKS = control_suite.DOMAIN.tasks


def _play(environment, act, seed, steps):
  environment.seed(seed)
  timesteps = [environment.reset()]
  timesteps += [environment.step(act(timesteps[-1])) for _ in range(steps)]
  return timesteps


@pytest.mark.parametrize("task", _TASKS)
def test_planned_rewards_and_states_are_the_suites(task):
  environment = control_suite.DOMAIN.make_environment(task)
  physics, model = environment.physics, environment.physics.model.ptr
  actor = expert.make(environment, task)
  random = np.random.default_rng(1)
  # The expert goes first, so that the rewards compared are not all zero; then random actions.
  actor.reset(0)
  timestep = _play(environment, actor.act, 2, 150)[-1]
  start = sampling.full_state(model, physics.data.ptr)
  actions = np.stack(
    [actor.act(timestep)] * 10 + [random.uniform(-1, 1, environment.action_spec().shape) for _ in range(30)]
  ).astype(np.float32)
  rewards, positions = [], []
  for action in actions:
    rewards.append(environment.step(action).reward)
    positions.append(physics.data.qpos.copy())
  assert max(rewards) > 0  # else equality would say nothing
  planned = sampling.simulate(model, physics.copy().data.ptr, start, actions[None].astype(float), environment.substeps)
  np.testing.assert_allclose(planned.qpos[0], positions, atol=1e-6)
  np.testing.assert_allclose(expert.REWARDS[task](planned)[0], rewards, atol=1e-5)


@pytest.mark.parametrize("task", _TASKS)
def test_an_episode_depends_on_its_seed_only(task):
  one, two = control_environment.make(task), control_environment.make(task)
  actor = environment_loop.RandomExpert(one.action_spec())

  def play(environment, seed):
    actor.reset(seed)
    return _play(environment, actor.act, seed, 5)

  play(two, 8)  # what was played before must not matter
  for a, b in zip(play(one, 7), play(two, 7), strict=True):
    for key, spec in one.observation_spec().items():
      spec.validate(a.observation[key])
      np.testing.assert_array_equal(a.observation[key], b.observation[key])
  assert any(
    np.any(a != b) for a, b in zip(one.reset().observation.values(), play(one, 9)[0].observation.values(), strict=True)
  )


def test_a_planner_repeats_itself_after_reset():
  environment = control_environment.make("reacher-easy")
  actor = expert.make(environment, "reacher-easy")
  runs = []
  for _ in range(2):
    actor.reset(5)
    runs.append([t.observation["position"] for t in _play(environment, actor.act, 5, 30)])
  np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("task", _TASKS)
def test_experts_hold_the_goal_once_there(task):
  environment = control_environment.make(task)
  actor = expert.make(environment, task)
  (episode,) = environment_loop.run_episodes([environment], environment_loop.PerSlot([actor]), [0])
  assert episode.length == 1000
  assert episode.episode_return > 700


def test_the_video_frame_is_a_picture():
  environment = control_environment.make("cartpole-balance")
  environment.seed(0)
  environment.reset()
  frame = environment.render()
  environment.close()
  assert frame.shape == (128, 128, 3) and frame.dtype == np.uint8 and frame.std() > 1
