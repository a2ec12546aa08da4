"""True state of the cell, and the sparse and shaped reward of stacking red on blue.

Stages and tolerances are those of google-deepmind/rgb_stacking (Lee et al. 2021, Apache 2.0).
"""

import copy
from typing import Any

import numpy as np

from rlds_builders.rgb_stacking import assembly

# Offset of red from blue, in metres: less than this horizontally, more than this vertically.
_ALIGNED = 0.05
_ABOVE = 0.02

_OBJECT_HEIGHT = 0.04  # m, of the cube that all objects are deformations of
_TOUCHING = 1e-8  # m, largest distance of bodies in contact
_GRIPPER_CLOSED = 255.0
_INWARD_GRASP = 2  # the gripper's own flag: both pads touch something while closing
_STAGE_REACHED = 0.01  # value from which on a stage of the shaped reward counts


class Scene:
  """Poses and contacts, read from the physics at the time of each call.

  Poses are in metres in the world's frame.
  """

  def __init__(self, physics: Any, task: Any):
    self._physics = physics
    self._data = physics.data.ptr
    self._gripper = task.robots[0].gripper
    self._site = physics.bind(self._gripper.tool_center_point).element_id

    model = physics.model.ptr
    self._owners = [_owner(model.geom(i).name) for i in range(model.ngeom)]

  def at(self, data: Any) -> "Scene":
    """Returns the scene of the same cell with poses and contacts of another mujoco.MjData.

    The gripper's sensors are still those of the physics.
    """
    scene = copy.copy(self)
    scene._data = data
    return scene

  def geom(self, colour: str) -> int:
    """Returns the id of an object's collision mesh."""
    name = f"rgb_object_{colour}"
    return self._physics.model.name2id(f"{name}/{name}/mesh_{name}_00_collision", "geom")

  def geoms_of(self, owner: str) -> list[int]:
    """Returns the ids of all geoms of "red", "green", "blue", "robot" or "basket"."""
    return [i for i, name in enumerate(self._owners) if name == owner]

  def body(self, colour: str) -> int:
    """Returns the id of an object's body."""
    return int(self._physics.model.geom_bodyid[self.geom(colour)])

  def position(self, colour: str) -> np.ndarray:
    """Returns an object's origin, the middle of the cube that it was deformed from, [3]."""
    return self._data.xpos[self.body(colour)].copy()

  def rotation(self, colour: str) -> np.ndarray:
    """Returns an object's rotation, [3, 3]."""
    return self._data.xmat[self.body(colour)].reshape(3, 3).copy()

  @property
  def pinch(self) -> np.ndarray:
    """The point between the finger tips, [3]."""
    return self._data.site_xpos[self._site].copy()

  @property
  def pinch_rotation(self) -> np.ndarray:
    """The rotation of the gripper, [3, 3]."""
    return self._data.site_xmat[self._site].reshape(3, 3).copy()

  @property
  def gripper_angle(self) -> float:
    """0 open to 255 closed, whole numbers as the real gripper reports."""
    sensor = self._physics.bind(self._gripper.joint_sensor).sensordata
    return float(self._gripper.convert_position(sensor)[0])

  @property
  def grasp(self) -> int:
    """The gripper's flag: 1 nothing grasped, 2 grasped inwards, 3 outwards."""
    return int(self._gripper.grasp_sensor_callable(self._physics))

  def touched_by(self, colour: str) -> set[str]:
    """Returns those of "red", "green", "blue", "robot" and "basket" that an object touches."""
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
  """True when red is above blue and touches it, and neither the basket nor the robot."""
  offset = scene.position("red") - scene.position("blue")
  aligned = np.linalg.norm(offset[:2]) < _ALIGNED and offset[2] > _ABOVE
  touched = scene.touched_by("red")

  return bool(aligned and "blue" in touched and not touched & {"basket", "robot"})


def shaped(scene: Scene) -> float:
  """Returns the shaped reward of a step, in [0, 1].

  The five stages are: reach and grasp red; lift it; hold it above blue; red lies on blue and is
  not held; and the gripper has gone up. The last stage with a value counts, and one fifth for
  each stage before it.
  """
  pinch, red, blue = scene.pinch, scene.position("red"), scene.position("blue")
  held = scene.grasp == _INWARD_GRASP

  # Closing the gripper without red pays half.
  closed = 0.5 * _near(scene.gripper_angle - _GRIPPER_CLOSED, margin=255.0)
  grasped = max(closed, float(held))

  # Grasping counts only near red.
  near_red = _near(red - pinch, margin=0.15, tolerance=0.02)
  reach = near_red * (0.5 + 0.5 * grasped) if near_red > 0.9 else 0.5 * near_red

  # The lift grows from 5.5 cm to 10 cm above the basket, inside the workspace.
  low, high = assembly.BASKET_HEIGHT + 0.055, assembly.BASKET_HEIGHT + 0.1
  inside = np.linalg.norm((red - assembly.WORKSPACE_CENTRE) / (assembly.WORKSPACE_SIZE / 2)) <= 1
  lift = grasped * inside * float(np.clip((red[2] - low) / (high - low), 0, 1))

  above_blue = blue + [0, 0, _OBJECT_HEIGHT]
  hover = _near(above_blue - red, margin=0.2, tolerance=0.01) if red[2] >= 0.1 else 0.0

  offset = red - blue
  is_above = np.linalg.norm(offset[:2]) <= 0.03 and abs(offset[2] - _OBJECT_HEIGHT) <= 0.01
  lies = is_above and not held

  # The gripper should be 10 cm above red, within 1 m horizontally and 3 cm vertically.
  gap = red + [0, 0, 0.1] - pinch
  is_away = np.linalg.norm(gap / [1, 1, 0.03]) <= 1
  left = 1.0 if is_away else _near(gap, margin=0.05)

  stages = [reach, lift, hover, float(lies), lies * left]
  for done, value in reversed(list(enumerate(stages))):
    if value > _STAGE_REACHED or done == 0:
      return float(done + value) / len(stages)

  raise AssertionError("the first stage always counts")


def _near(error: float | np.ndarray, margin: float, tolerance: float = 0.0) -> float:
  """Returns 1 within the tolerance, 0.05 at the margin and less beyond.

  From Hafner and Riedmiller 2011.
  """
  distance = np.linalg.norm(error)
  if distance <= tolerance:
    return 1.0

  return float(1 - np.tanh(np.arctanh(np.sqrt(0.95)) / margin * distance) ** 2)
