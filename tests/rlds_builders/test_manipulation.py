"""Jaco manipulation: the suite's tasks, seeds, success in built states, and the experts.

Usage: python tests/rlds_builders/test_manipulation.py
records tests/rlds_builders/recorded/manipulation.npz anew.
"""

import pathlib

import numpy as np
import pytest

from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.task import check_environment
from rlds_builders import manipulation
from rlds_builders.manipulation import environment as manipulation_environment

# isort: split
from dm_control import manipulation as suite

DOMAIN = manipulation.DOMAIN
_MASTERED = [task for task in DOMAIN.tasks if task not in DOMAIN.held_out]
_RECORDED = pathlib.Path(__file__).parent / "recorded/manipulation.npz"
_RECORDED_STEPS = 60


def _positions(environment, seed, steps):
  """States [steps + 1, nq], float64, of an episode of seeded random actions."""
  environment.seed(seed)
  environment.reset()
  actor = loop.RandomExpert(environment.action_spec(), "test")
  actor.reset(seed)
  states = [environment.physics.data.qpos.copy()]
  for _ in range(steps):
    environment.step(actor.act(None))
    states.append(environment.physics.data.qpos.copy())

  return np.stack(states)


def test_tasks_are_the_suites_with_features():
  names = [name.removesuffix("_features") for name in suite.get_environments_by_tag("features")]
  assert sorted(DOMAIN.tasks) == sorted(names) and len(names) == 13


def test_specs():
  for task in ("reach_site", "reassemble_5_bricks_random_order"):
    environment = manipulation_environment.make(task)
    check_environment(environment_task_spec(DOMAIN, task, environment), environment)
    assert environment.action_spec().shape == (9,) and environment.control_timestep() == 0.04


@pytest.mark.parametrize("task", [task for task in DOMAIN.tasks if "bricks" in task])
def test_velocities_are_left_out_where_a_brick_never_moves(task):
  environment, first = _started(task), "duplo2x4/linear_velocity"
  welded = set()

  for seed in range(3):
    environment.seed(seed)
    environment.reset()
    welded.add(environment.task._brick_frames[0].freejoint is None)

  assert (first in environment.observation_spec()) == (welded != {True})


# The order of reassemble_5 is shuffled in place by the suite: what was played before must not show.
@pytest.mark.parametrize(
  "task", ["lift_brick", "stack_3_bricks_random_order", "reassemble_5_bricks_random_order"]
)
def test_an_episode_depends_on_its_seed_alone(task):
  fresh, used = manipulation_environment.make(task), manipulation_environment.make(task)
  first, other = _positions(fresh, 7, 5), _positions(used, 8, 5)
  np.testing.assert_array_equal(_positions(used, 7, 5), first)
  assert first.shape != other.shape or np.abs(first[0] - other[0]).max() > 1e-3


def _put(environment, entity, position, quaternion=(1, 0, 0, 0)):
  entity.set_pose(environment.physics, position=np.array(position), quaternion=np.array(quaternion))
  environment.physics.forward()


def _started(task):
  environment = manipulation_environment.make(task)
  environment.seed(0)
  environment.reset()
  return environment


def _succeeds(environment):
  environment.step(np.zeros(9, np.float32))
  return environment.episode_info()["success"]


def test_success_is_what_the_built_state_says():
  lift = _started("lift_brick")
  assert not _succeeds(lift)

  _put(lift, lift.task._prop, [0.0, -0.3, 0.4])  # away from the hand; falls 8 mm in a step

  assert _succeeds(lift)

  stack = _started("stack_2_bricks")
  base, top = stack.task._bricks
  position, quaternion = (np.array(x) for x in base.get_pose(stack.physics))
  _put(stack, top, position + [0, 0, 0.0192 + 0.004], quaternion)

  assert not _succeeds(stack)  # on the studs

  _put(stack, top, position + [0, 0, 0.0192], quaternion)

  assert _succeeds(stack)

  place = _started("place_cradle")
  target = np.array(place.physics.bind(place.task._pedestal.target_site).xpos)
  hand = np.array(place.physics.bind(place.task.hand.tool_center_point).xpos)

  assert np.linalg.norm(hand - target) > 0.2
  assert not _succeeds(place)

  _put(place, place.task._prop, target)

  assert _succeeds(place)


def _played(actions=None):
  """Observations and actions of the first steps of stack_2_bricks, seed 3.

  The expert acts, or the given `actions` are played.
  """
  environment = manipulation_environment.make("stack_2_bricks")
  expert = DOMAIN.make_expert(environment, "stack_2_bricks")
  environment.seed(3)
  timestep = environment.reset()
  expert.reset(3)
  played = {"action": []} | {name: [] for name in timestep.observation}

  for step in range(_RECORDED_STEPS):
    action = expert.act(timestep)
    played["action"].append(action)
    if step % 10 == 0:
      for name, value in timestep.observation.items():
        played[name].append(value)
    timestep = environment.step(action if actions is None else actions[step])

  return {name: np.stack(values) for name, values in played.items()}


def test_a_recorded_episode_is_played_again():
  recorded = dict(np.load(_RECORDED))
  for played in (_played(recorded["action"]), _played()):
    assert set(played) == set(recorded)
    for name, values in recorded.items():
      np.testing.assert_allclose(played[name], values, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("task", _MASTERED)
def test_experts_succeed_and_random_actions_do_not(task):
  environment = manipulation_environment.make(task)
  expert = DOMAIN.make_expert(environment, task)
  random = loop.RandomExpert(environment.action_spec(), "test")
  (played,) = loop.run_episodes([environment], loop.PerSlot([expert]), [1])
  (tried,) = loop.run_episodes([environment], loop.PerSlot([random]), [1])

  assert played.length == 250 and played.success and not tried.success
  assert played.episode_return > tried.episode_return + 50


def test_the_video_frame_is_a_picture():
  environment = _started("stack_2_bricks")
  frame = environment.render()
  environment.close()
  assert frame.shape == (128, 128, 3) and frame.dtype == np.uint8 and frame.std() > 10


if __name__ == "__main__":
  np.savez_compressed(_RECORDED, **_played())
