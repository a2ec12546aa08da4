"""RGB stacking as the library's environment: red is to be stacked on blue."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from scipy.spatial import transform

from rlds_builders.base import wrappers
from rlds_builders.rgb_stacking import assembly, rewards
from rlds_builders.worlds import mujoco_rendering

HORIZON = 400  # steps
CAMERAS = {"front_left": "base/basket_front_left", "front_right": "base/basket_front_right"}

_IMAGE_SIDE = 128  # pixels
_GRIPPER_CLOSED = 255.0  # in the unit of the gripper's sensor; 0 is open
_NO_ACTION = np.zeros(0)


class RgbStacking(wrappers.Environment):
  """A Sawyer arm over a basket with three objects, for 400 steps of 50 ms.

  Observation:

    {
      "front_left": uint8 [128, 128, 3],
      "front_right": uint8 [128, 128, 3],
      "gripper_angle": float32 [1],      # 0 open, 1 closed
      "gripper_grasp": int32 [1],        # 1 nothing, 2 grasped inwards, 3 outwards
      "gripper_velocity": float32 [1],   # change of gripper_angle
      "joint_angles": float32 [7],
      "joint_velocities": float32 [7],
      "pinch_pose": float32 [7],         # position in metres and quaternion (w, x, y, z)
    }

  Attributes:
    objects: Names of the red, green and blue object; () before the first episode.
    scene: True state of the episode, for experts.
  """

  scene: rewards.Scene
  _previous_angle: np.ndarray

  def __init__(self, task: str, reward: str = "shaped", cameras: bool = True):
    """Initialises the environment.

    Args:
      task: One of DOMAIN.tasks. "triplet1" to "triplet5" have the paper's test objects, "train"
        draws three others for every episode.
      reward: "shaped" for rewards.shaped, in [0, 1] a step, or "sparse" for 1 while
        rewards.stacked.
      cameras: False to leave the images out of the observation, which halves the time of a step.
    """
    self._task = task
    self._reward = {
      "shaped": rewards.shaped,
      "sparse": lambda scene: float(rewards.stacked(scene)),
    }[reward]
    self._cameras = CAMERAS if cameras else {}
    self._random = np.random.default_rng(0)

    self.objects: tuple[str, ...] = ()
    self._step = HORIZON  # where step() resets

  @property
  def physics(self) -> Any:
    """dm_control's physics, for experts; another object after a reset of "train"."""
    return self._cell.physics

  @property
  def robot(self) -> Any:
    """dm-robotics' robot: the arm, the gripper and their effectors."""
    return self._cell.task.robots[0]

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    # Building the cell takes seconds: it stays as long as the objects do.
    objects = assembly.triplet(self._task, self._random)
    is_new = objects != self.objects
    if is_new:
      self.close()
      self._cell = assembly.build(objects)
      self.objects = objects

    self._cell.random_state.seed(int(self._random.integers(2**32)))
    self._cell.reset()

    if is_new:
      # Only now: the first reset compiles the model that stays.
      self.scene = rewards.Scene(self._cell.physics, self._cell.task)
      self._renderer = mujoco_rendering.Renderer(
        "rgb_stacking", self._cell.physics.model.ptr, _IMAGE_SIDE
      )
    else:
      # A fresh controller: it starts its search at its last solution, so the old one would make
      # this episode depend on the one before.
      self.robot.arm_effector.after_compile(self._cell.task.root_entity.mjcf_model, self.physics)

    self._step = 0
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._step >= HORIZON:
      return self.reset()

    action = np.clip(np.asarray(action, np.float64), -1, 1)
    self.robot.arm_effector.set_control(self.physics, action[:4] * assembly.MAX_VELOCITY)
    self.robot.gripper_effector.set_control(self.physics, action[4:] * _GRIPPER_CLOSED)
    self._cell.step(_NO_ACTION)
    self._step += 1

    reward = self._reward(self.scene)
    if self._step == HORIZON:
      return dm_env.truncation(reward, self._observe())

    return dm_env.transition(reward, self._observe())

  def episode_info(self) -> dict[str, object]:
    """Returns "success" and "objects".

    Success is True when red stands on blue now and touches neither basket nor robot; objects are
    the names of the red, green and blue object.
    """
    return {"success": rewards.stacked(self.scene), "objects": list(self.objects)}

  def observation_spec(self) -> dict[str, specs.Array]:
    shape = (_IMAGE_SIDE, _IMAGE_SIDE, 3)
    images = {name: specs.BoundedArray(shape, np.uint8, 0, 255, name) for name in self._cameras}

    return {
      **images,
      "gripper_angle": specs.BoundedArray((1,), np.float32, 0.0, 1.0, "gripper_angle"),
      "gripper_grasp": specs.BoundedArray((1,), np.int32, 1, 3, "gripper_grasp"),
      "gripper_velocity": specs.BoundedArray((1,), np.float32, -1.0, 1.0, "gripper_velocity"),
      "joint_angles": specs.Array((7,), np.float32, "joint_angles"),
      "joint_velocities": specs.Array((7,), np.float32, "joint_velocities"),
      "pinch_pose": specs.BoundedArray((7,), np.float32, -1.0, 1.0, "pinch_pose"),
    }

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of velocities and the gripper.

    They are the velocity in x, y, z (1 is 7 cm/s), about z (1 is 1 rad/s), and the gripper, which
    closes above 0 and opens below.
    """
    return specs.BoundedArray((5,), np.float32, -1.0, 1.0, name="action")

  def control_timestep(self) -> float:
    return assembly.CONTROL_TIMESTEP

  def _observe(self) -> dict[str, np.ndarray]:
    scene = self.scene

    angle = np.array([scene.gripper_angle / _GRIPPER_CLOSED], np.float32)
    velocity = np.zeros_like(angle) if self._step == 0 else angle - self._previous_angle
    self._previous_angle = angle

    joints = self.physics.bind(self.robot.arm.joints)
    pinch_pose = np.concatenate([scene.pinch, _quaternion(scene.pinch_rotation)])
    images = {
      name: self._renderer.take(self.physics.data.ptr, camera)
      for name, camera in self._cameras.items()
    }

    return {
      **images,
      "gripper_angle": angle,
      "gripper_grasp": np.array([scene.grasp], np.int32),
      "gripper_velocity": velocity,
      "joint_angles": np.asarray(joints.qpos, np.float32),
      "joint_velocities": np.asarray(joints.qvel, np.float32),
      "pinch_pose": np.clip(pinch_pose, -1, 1).astype(np.float32),
    }

  def render(self) -> np.ndarray:
    return self._renderer.take(self.physics.data.ptr, "main_camera")

  def close(self) -> None:
    if self.objects:
      self._renderer.close()
      self._cell.close()
      self.objects = ()


def _quaternion(rotation: np.ndarray) -> np.ndarray:
  """Returns the quaternion (w, x, y, z) of a rotation [3, 3], the same for the same rotation."""
  # Of the two quaternions of a rotation the one whose largest component is positive.
  quaternion = transform.Rotation.from_matrix(rotation).as_quat(scalar_first=True)
  return quaternion * np.sign(quaternion[np.argmax(np.abs(quaternion))])


def make(task: str) -> RgbStacking:
  """Returns the environment of a task of DOMAIN.tasks, with cameras and shaped reward."""
  return RgbStacking(task)


def make_without_cameras(task: str) -> RgbStacking:
  """Returns the environment of make() without images, for measuring experts in half the time."""
  return RgbStacking(task, cameras=False)
