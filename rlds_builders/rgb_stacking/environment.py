"""RGB stacking as the library's environment: two cameras and proprioception; red is to be stacked on blue."""

import dm_env
import numpy as np
from dm_env import specs
from scipy.spatial import transform

from rlds_builders import _mujoco, _wrappers
from rlds_builders.rgb_stacking import assembly, rewards

HORIZON = 400
CAMERAS = {"front_left": "base/basket_front_left", "front_right": "base/basket_front_right"}
_SIZE = 128  # pixels, height and width of every picture
_GRIPPER = 255.0  # the sensor's unit: 0 open, 255 closed
_NO_ACTION = np.zeros(0)


class RgbStacking(_wrappers.Environment):
  """400 steps of 50 ms; "triplet1" to "triplet5" have the paper's test objects, "train" three others every episode.

  Args:
    task: one of DOMAIN.tasks.
    reward: "shaped", in [0, 1] a step (rewards.shaped), or "sparse": 1 while red stands on blue (rewards.stacked).
    cameras: without them the observation lacks the pictures and a step costs half.
  """

  def __init__(self, task: str, reward: str = "shaped", cameras: bool = True):
    self._task = task
    self._reward = {"shaped": rewards.shaped, "sparse": lambda scene: float(rewards.stacked(scene))}[reward]
    self._cameras = CAMERAS if cameras else {}
    self._random = np.random.default_rng(0)
    self.objects: tuple[str, ...] = ()
    self._step = HORIZON

  @property
  def physics(self):
    """dm_control's physics of the episode, for experts; another object after a reset of "train"."""
    return self._cell.physics

  @property
  def robot(self):
    """dm-robotics' robot: arm, gripper and their effectors."""
    return self._cell.task.robots[0]

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    names = assembly.triplet(self._task, self._random)
    built = names != self.objects
    if built:
      self.close()
      self.objects, self._cell = names, assembly.build(names)
    self._cell.random_state.seed(int(self._random.integers(2**32)))
    self._cell.reset()
    if built:  # the first reset compiles the model that stays
      self.scene = rewards.Scene(self._cell.physics, self._cell.task)
      self._pictures = _mujoco.Pictures("rgb_stacking", self._cell.physics.model.ptr, _SIZE)
    else:  # a fresh controller: it starts its search at its last solution, so it would remember the episode before
      self.robot.arm_effector.after_compile(self._cell.task.root_entity.mjcf_model, self.physics)
    self._step = 0
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._step >= HORIZON:
      return self.reset()
    action = np.clip(np.asarray(action, np.float64), -1, 1)
    self.robot.arm_effector.set_control(self.physics, action[:4] * assembly.MAX_VELOCITY)
    self.robot.gripper_effector.set_control(self.physics, action[4:] * _GRIPPER)
    self._cell.step(_NO_ACTION)
    self._step += 1
    make = dm_env.truncation if self._step == HORIZON else dm_env.transition
    return make(self._reward(self.scene), self._observe())

  def episode_info(self) -> dict[str, object]:
    """success: red stands on blue now and touches neither basket nor robot. objects: names of red, green, blue."""
    return {"success": rewards.stacked(self.scene), "objects": list(self.objects)}

  def observation_spec(self) -> dict[str, specs.Array]:
    pictures = {name: specs.BoundedArray((_SIZE, _SIZE, 3), np.uint8, 0, 255, name) for name in self._cameras}
    return {
      **pictures,
      "gripper_angle": specs.BoundedArray((1,), np.float32, 0.0, 1.0, "gripper_angle"),
      "gripper_grasp": specs.BoundedArray((1,), np.int32, 1, 3, "gripper_grasp"),
      "gripper_velocity": specs.BoundedArray((1,), np.float32, -1.0, 1.0, "gripper_velocity"),
      "joint_angles": specs.Array((7,), np.float32, "joint_angles"),
      "joint_velocities": specs.Array((7,), np.float32, "joint_velocities"),
      "pinch_pose": specs.BoundedArray((7,), np.float32, -1.0, 1.0, "pinch_pose"),
    }

  def action_spec(self) -> specs.BoundedArray:
    """Velocity in x, y, z (1 is 7 cm/s) and about z (1 is 1 rad/s); gripper, closing above 0 and opening below."""
    return specs.BoundedArray((5,), np.float32, -1.0, 1.0, name="action")

  def control_timestep(self) -> float:
    return assembly.CONTROL_TIMESTEP

  def _observe(self) -> dict[str, np.ndarray]:
    scene = self.scene
    closed = np.array([scene.gripper_angle / _GRIPPER], np.float32)
    velocity = np.zeros_like(closed) if self._step == 0 else closed - self._closed
    self._closed = closed
    joints = self.physics.bind(self.robot.arm.joints)
    pictures = {name: self._pictures.take(self.physics.data.ptr, camera) for name, camera in self._cameras.items()}
    return {
      **pictures,
      "gripper_angle": closed,
      "gripper_grasp": np.array([scene.grasp], np.int32),
      "gripper_velocity": velocity,
      "joint_angles": np.asarray(joints.qpos, np.float32),
      "joint_velocities": np.asarray(joints.qvel, np.float32),
      "pinch_pose": np.clip(np.concatenate([scene.pinch, _quaternion(scene.pinch_rotation)]), -1, 1).astype(np.float32),
    }

  def render(self) -> np.ndarray:
    return self._pictures.take(self.physics.data.ptr, "main_camera")

  def close(self) -> None:
    if self.objects:
      self._pictures.close()
      self._cell.close()
      self.objects = ()


def _quaternion(rotation: np.ndarray) -> np.ndarray:
  """[3, 3] -> [w, x, y, z] with the largest of the four positive: one sign for one orientation."""
  quaternion = transform.Rotation.from_matrix(rotation).as_quat(scalar_first=True)
  return quaternion * np.sign(quaternion[np.argmax(np.abs(quaternion))])


def make(task: str) -> RgbStacking:
  """The environment of a task of DOMAIN.tasks, with cameras and shaped reward."""
  return RgbStacking(task)


def make_without_cameras(task: str) -> RgbStacking:
  """The same for measuring experts: what happens does not depend on the pictures, which take half of the time."""
  return RgbStacking(task, cameras=False)
