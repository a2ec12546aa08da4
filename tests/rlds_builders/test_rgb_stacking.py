"""RGB stacking: steps, seeds, both rewards in built states, images, and the scripted expert.

Usage: python tests/rlds_builders/test_rgb_stacking.py
records tests/rlds_builders/recorded/rgb_stacking.npz anew.
"""

import pathlib

import numpy as np
import pytest

from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.task import check_environment
from rlds_builders import rgb_stacking
from rlds_builders.rgb_stacking import assembly, rewards
from rlds_builders.rgb_stacking import environment as stacking_environment
from rlds_builders.rgb_stacking.experts import grasping

DOMAIN = rgb_stacking.DOMAIN
_CAMERAS = stacking_environment.CAMERAS
_RECORDED = pathlib.Path(__file__).parent / "recorded/rgb_stacking.npz"
_RECORDED_STEPS = 20
_IDLE = np.array([0, 0, 0, 0, -1], np.float32)  # stands still, gripper open
_LYING = (0.5**0.5, 0, 0.5**0.5, 0)  # b6, a high block, on its side


def _started(task="triplet4", seed=0, **options):
  environment = stacking_environment.RgbStacking(task, cameras=False, **options)
  environment.seed(seed)
  return environment, environment.reset()


def _put(environment, colour, position, quaternion=(1, 0, 0, 0)):
  """Teleports an object, at rest."""
  (prop,) = [p for p in environment._cell.task.props if p.name == f"rgb_object_{colour}"]
  prop.set_pose(environment.physics, np.array(position), np.array(quaternion, float))
  environment.physics.data.qvel[:] = 0
  environment.physics.forward()


def _thumbnail(picture):
  """Means [32, 32, 3] of 4x4 pixels, which hide differences between graphics drivers."""
  return picture.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3)).astype(np.uint8)


def _played(environment, actions=None):
  """Actions, numbers and first images of the first steps of triplet1, seed 3.

  The expert acts, or the given `actions` are played.
  """
  expert = DOMAIN.make_expert(environment, "triplet1")
  environment.seed(3)
  timestep = environment.reset()
  expert.reset(3)
  data = environment.physics.data.ptr
  played = {
    name: _thumbnail(environment._renderer.take(data, camera)) for name, camera in _CAMERAS.items()
  }
  names = [*timestep.observation, "action"]
  rows = {name: [] for name in names}

  for step in range(_RECORDED_STEPS):
    action = expert.act(timestep)
    for name, value in {**timestep.observation, "action": action}.items():
      rows[name].append(value)
    timestep = environment.step(action if actions is None else actions[step])

  return played | {name: np.stack(values) for name, values in rows.items()}


@pytest.mark.slow  # a whole episode, twice
def test_a_recorded_episode_is_played_again():
  recorded = dict(np.load(_RECORDED))
  environment = stacking_environment.make_without_cameras("triplet1")

  for played in (_played(environment, recorded["action"]), _played(environment)):
    assert set(played) == set(recorded)
    for name, values in recorded.items():
      if name in _CAMERAS:
        assert np.abs(played[name].astype(int) - values).mean() < 3, name
      else:
        np.testing.assert_allclose(played[name], values, atol=2e-3, err_msg=name)


def test_what_a_step_holds():
  environment = stacking_environment.make("triplet1")
  check_environment(environment_task_spec(DOMAIN, "triplet1", environment), environment)
  pictures = [s for s in environment.observation_spec().values() if s.dtype == np.uint8]

  assert [s.shape for s in pictures] == [(128, 128, 3)] * 2

  action = environment.action_spec()

  assert action.shape == (5,) and np.all(action.minimum == -1) and np.all(action.maximum == 1)
  assert environment.control_timestep() == 0.05 and stacking_environment.HORIZON == 400

  observation = environment.reset().observation
  for name in _CAMERAS:
    assert observation[name].std() > 10

  # Red is in the picture: pixels that are far redder than green or blue.
  red = observation["front_left"].astype(int)

  assert ((red[..., 0] - red[..., 1:].max(axis=-1)) > 80).sum() > 20
  assert environment.render().std() > 10

  environment.close()


def test_test_triplets_are_the_papers_and_training_triplets_are_drawn():
  random = np.random.default_rng(0)
  test = [assembly.triplet(task, random) for task in DOMAIN.tasks[1:]]
  names = ["r3 s0 b2", "r5 g2 b3", "r6 g3 b5", "s0 g5 b6", "r2 g6 s0"]
  assert test == [tuple(triplet.split()) for triplet in names]
  drawn = [assembly.triplet("train", random) for _ in range(200)]
  assert len(set(drawn)) > 150 and not set(np.ravel(test)) & set(np.ravel(drawn))


# Slow: two environments more, which take a quarter of a minute to make.
@pytest.mark.parametrize("task", ["triplet4", pytest.param("train", marks=pytest.mark.slow)])
def test_an_episode_depends_on_its_seed_alone(task):
  fresh, _ = _started(task, 7)
  used, _ = _started(task, 8)
  other = used.physics.data.qpos.copy()
  for _ in range(3):
    used.step(np.array([1, -1, 0.5, 1, 1], np.float32))
  used.seed(7)
  used.reset()

  assert used.objects == fresh.objects and used.episode_info()["objects"] == list(fresh.objects)
  assert np.abs(other - fresh.physics.data.qpos).max() > 1e-3

  for _ in range(3):
    np.testing.assert_array_equal(fresh.physics.data.qpos, used.physics.data.qpos)
    for environment in (fresh, used):
      environment.step(np.array([-1, 0.5, -1, 0.3, 1], np.float32))


def test_actions_move_the_gripper_as_far_as_they_say():
  environment, timestep = _started()
  start = timestep.observation["pinch_pose"][:3]
  for _ in range(20):
    timestep = environment.step(np.array([0.5, 0, 0, 0, 1], np.float32))
  moved = timestep.observation["pinch_pose"][:3] - start

  assert (
    moved[0] == pytest.approx(20 * 0.05 * 0.5 * 0.07, abs=0.01) and np.abs(moved[1:]).max() < 0.01
  )
  assert timestep.observation["gripper_angle"][0] > 0.8


@pytest.mark.slow  # a whole episode
def test_an_episode_ends_at_its_horizon(monkeypatch):
  monkeypatch.setattr(stacking_environment, "HORIZON", 3)
  environment, _ = _started()
  steps = [environment.step(_IDLE) for _ in range(3)]
  assert [s.last() for s in steps] == [False, False, True] and steps[-1].discount == 1
  assert environment.step(_IDLE).first()


def test_rewards_of_a_built_stack():
  environment, _ = _started(reward="sparse")  # red is the cube s0
  _put(environment, "green", [0.52, 0.08, 0.0748])
  _put(environment, "blue", [0.62, -0.05, 0.0658], _LYING)
  _put(environment, "red", [0.56, -0.05, 0.0748])

  assert (
    environment.step(_IDLE).reward == 0 and not environment.episode_info()["success"]
  )  # beside it

  reaching = rewards.shaped(environment.scene)
  blue = environment.scene.position("blue")
  _put(environment, "red", blue + [0, 0, 0.041])
  for _ in range(3):
    timestep = environment.step(_IDLE)

  assert timestep.reward == 1 and environment.episode_info()["success"]
  assert reaching < 0.2 < 0.6 < rewards.shaped(environment.scene) <= 1

  _put(environment, "red", blue + [0, 0, 0.09])

  assert not rewards.stacked(environment.scene)  # in the air


def test_a_grasp_is_on_red_and_across_its_faces():
  environment, _ = _started()
  _put(environment, "green", [0.52, 0.08, 0.0748])
  _put(environment, "blue", [0.67, 0.08, 0.0748])
  _put(environment, "red", [0.6, -0.05, 0.0748])
  target = grasping.grasp(environment)

  assert np.linalg.norm(target.position[:2] - [0.6, -0.05]) < 0.01
  assert (
    min(abs(np.sin(target.yaw)), abs(np.cos(target.yaw))) < 0.1
  )  # s0 is a cube and stands square


@pytest.mark.slow
@pytest.mark.parametrize("task", ["triplet4", "train"])
def test_expert_stacks_and_random_actions_do_not(task):
  environment = stacking_environment.make_without_cameras(task)
  expert = DOMAIN.make_expert(environment, task)
  random = loop.RandomExpert(environment.action_spec(), "test")
  (played,) = loop.run_episodes([environment], loop.PerSlot([expert]), [1])
  (tried,) = loop.run_episodes([environment], loop.PerSlot([random]), [1])

  assert played.length == tried.length == 400
  assert played.success and not tried.success
  assert played.episode_return > tried.episode_return + 100


if __name__ == "__main__":
  np.savez_compressed(_RECORDED, **_played(stacking_environment.make_without_cameras("triplet1")))
