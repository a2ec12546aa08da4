"""What the true state of the cell says: poses, contacts, and the sparse and shaped reward of stacking red on blue.

Stages and tolerances are those of google-deepmind/rgb_stacking (Lee et al. 2021, Apache 2.0).
"""

import copy
from typing import Any

import numpy as np

from rlds_builders.rgb_stacking import assembly

_ALIGNED = 0.05  # m, horizontally
_ABOVE = 0.02  # m
_OBJECT_HEIGHT = 0.04  # m, of the cube that all objects are deformations of
_TOUCHING = 1e-8  # m
_CLOSED = 255.0
_INWARD_GRASP = 2  # the gripper's own flag: both pads touch something while closing
_STAGE_REACHED = 0.01


class Scene:
  """Poses in metres in the world's frame, and who touches whom, read from the physics at the time of asking."""

  def __init__(self, physics, task):
    self._physics, self._data = physics, physics.data.ptr
    self._gripper = task.robots[0].gripper
    self._site = physics.bind(self._gripper.tool_center_point).element_id
    model = physics.model.ptr
    self._owners = [_owner(model.geom(i).name) for i in range(model.ngeom)]

  def at(self, data: Any) -> "Scene":
    """The same cell in another mujoco.MjData: poses and contacts are those of `data`, the gripper's sensors are not."""
    scene = copy.copy(self)
    scene._data = data
    return scene

  def geom(self, colour: str) -> int:
    """Id of an object's collision mesh."""
    name = f"rgb_object_{colour}"
    return self._physics.model.name2id(f"{name}/{name}/mesh_{name}_00_collision", "geom")

  def geoms_of(self, owner: str) -> list[int]:
    """Ids of all geoms of "red", "green", "blue", "robot" or "basket"."""
    return [i for i, name in enumerate(self._owners) if name == owner]

  def body(self, colour: str) -> int:
    """Id of an object's body."""
    return int(self._physics.model.geom_bodyid[self.geom(colour)])

  def position(self, colour: str) -> np.ndarray:
    """[3], an object's origin, the middle of the cube it was deformed from."""
    return self._data.xpos[self.body(colour)].copy()

  def rotation(self, colour: str) -> np.ndarray:
    """[3, 3]"""
    return self._data.xmat[self.body(colour)].reshape(3, 3).copy()

  @property
  def pinch(self) -> np.ndarray:
    """[3], the point between the finger tips."""
    return self._data.site_xpos[self._site].copy()

  @property
  def pinch_rotation(self) -> np.ndarray:
    """[3, 3]"""
    return self._data.site_xmat[self._site].reshape(3, 3).copy()

  @property
  def gripper_angle(self) -> float:
    """0 open to 255 closed, whole numbers as the real gripper reports."""
    return float(self._gripper.convert_position(self._physics.bind(self._gripper.joint_sensor).sensordata)[0])

  @property
  def grasp(self) -> int:
    """The gripper's flag: 1 nothing grasped, 2 grasped inwards, 3 outwards."""
    return int(self._gripper.grasp_sensor_callable(self._physics))

  def touched_by(self, colour: str) -> set[str]:
    """Of "red", "green", "blue", "robot", "basket" those in contact with an object."""
    contact = self._data.contact
    pairs = contact.geom[contact.dist <= _TOUCHING]
    owners = [(self._owners[a], self._owners[b]) for a, b in pairs]
    return {b if a == colour else a for a, b in owners if colour in (a, b)}


def _owner(geom: str) -> str:
  for colour in assembly.COLOURS:
    if geom.startswith(f"rgb_object_{colour}/"):
      return colour
  return "robot" if geom.startswith("robot0/") else "basket"


def stacked(scene: Scene) -> bool:
  """Red is above blue and touches it, and neither the basket nor the robot."""
  offset = scene.position("red") - scene.position("blue")
  aligned = np.linalg.norm(offset[:2]) < _ALIGNED and offset[2] > _ABOVE
  touched = scene.touched_by("red")
  return bool(aligned and "blue" in touched and not touched & {"basket", "robot"})


def shaped(scene: Scene) -> float:
  """In [0, 1]: the last stage that pays counts, and one fifth for each stage before it.

  Stages: reach and grasp red; lift it; hold it above blue; red lies on blue, not held; and the gripper has gone up.
  """
  pinch, red, blue = scene.pinch, scene.position("red"), scene.position("blue")
  held = scene.grasp == _INWARD_GRASP
  grasped = max(0.5 * _near(scene.gripper_angle - _CLOSED, 255.0), float(held))
  reached = _near(red - pinch, 0.15, 0.02)
  reach = reached * (0.5 + 0.5 * grasped) if reached > 0.9 else 0.5 * reached
  low, high = assembly.BASKET_HEIGHT + 0.055, assembly.BASKET_HEIGHT + 0.1
  inside = np.linalg.norm((red - assembly.WORKSPACE_CENTRE) / (assembly.WORKSPACE_SIZE / 2)) <= 1
  lift = grasped * inside * float(np.clip((red[2] - low) / (high - low), 0, 1))
  above = blue + [0, 0, _OBJECT_HEIGHT]
  hover = _near(above - red, 0.2, 0.01) if red[2] >= 0.1 else 0.0
  offset = red - blue
  lies = np.linalg.norm(offset[:2]) <= 0.03 and abs(offset[2] - _OBJECT_HEIGHT) <= 0.01 and not held
  gap = red + [0, 0, 0.1] - pinch
  left = 1.0 if np.linalg.norm(gap / [1, 1, 0.03]) <= 1 else _near(gap, 0.05)
  stages = [reach, lift, hover, float(lies), lies * left]
  for done, value in reversed(list(enumerate(stages))):
    if value > _STAGE_REACHED or done == 0:
      return float(done + value) / len(stages)
  raise AssertionError("the first stage always counts")


def _near(error: float | np.ndarray, margin: float, tolerance: float = 0.0) -> float:
  """1 within the tolerance, falling to 0.05 at the margin and towards 0 beyond (Hafner and Riedmiller 2011)."""
  distance = np.linalg.norm(error)
  return 1.0 if distance <= tolerance else float(1 - np.tanh(np.arctanh(np.sqrt(0.95)) / margin * distance) ** 2)
