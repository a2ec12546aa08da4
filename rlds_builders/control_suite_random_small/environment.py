"""The control suite on bodies redrawn every episode; control_suite_random_large differs only in the intervals.

What is scaled and from where is the paper's (GATO_SPEC section 4). Ours, because it is silent: every value gets a
number of its own (a joint's range one, for both ends), drawn uniformly after a fair choice between the two intervals;
a geom given by its mass has its mass scaled in place of its density; geoms that no joint moves (floor, walls, targets)
stay, because they are the task and not the body.
"""

import pathlib
import tempfile
from typing import Any

import dm_env
import numpy as np

from rlds_builders import _mujoco
from rlds_builders.control_suite import environment as control_suite

# isort: split
import mujoco
from dm_control.mujoco import wrapper

SMALL = ((0.9, 0.95), (1.05, 1.1))
_DIGITS = 4  # of a scale: what the episode's metadata says is exactly what was applied

Intervals = tuple[tuple[float, float], tuple[float, float]]
Variation = dict[str, dict[str, float]]  # kind -> element -> scale


class RandomisedControlSuite(control_suite.ControlSuite):
  """A suite task whose body differs in every episode; the expert must read `physics.model` after reset()."""

  def __init__(self, task: str, intervals: Intervals):
    super().__init__(task)
    self._intervals = intervals
    self._nominal = nominal_spec(self.physics.model.ptr)
    self._random = np.random.default_rng(0)
    self._variation: Variation = {}

  def seed(self, seed: int) -> None:
    super().seed(seed)
    self._random = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    spec = self._nominal.copy()
    self._variation = vary(spec, self._draw)
    # What physics.reload_from_xml_string does, without rounding the model to text and back.
    self.physics._reload_from_model(wrapper.MjModel(spec.compile()))
    self._pictures.close()  # they are of the last episode's model
    self._pictures = _mujoco.Pictures("control_suite", self.physics.model.ptr, control_suite.VIDEO_SIDE)
    return super().reset()

  def _draw(self) -> float:
    low, high = self._intervals[self._random.integers(2)]
    return round(self._random.uniform(low, high), _DIGITS)

  def episode_info(self) -> dict[str, Any]:
    """variation: kind -> element -> scale."""
    return {**super().episode_info(), "variation": self._variation}


def nominal_spec(model: mujoco.MjModel) -> mujoco.MjSpec:
  """The editable form of the model that was compiled last, which must be `model`."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.xml"
    mujoco.mj_saveLastXML(str(path), model)
    spec = mujoco.MjSpec.from_file(str(path))
  # MuJoCo's text loses settotalmass (the cheetah has it), so the densities take up what it did.
  density = model.body_subtreemass[0] / spec.copy().compile().body_subtreemass[0]
  for geom in spec.geoms:
    geom.density *= density
  return spec


def vary(spec: mujoco.MjSpec, draw: Any) -> Variation:
  """Scales the spec's values in place, each by its own draw(); returns kind -> element -> scale."""
  variation: Variation = {}

  def scale(kind: str, element: Any) -> float:
    scales = variation.setdefault(kind, {})
    # A few geoms have no name; their number among the scaled ones tells them apart.
    return scales.setdefault(element.name or str(len(scales)), draw())

  for actuator in spec.actuators:
    actuator.gear = actuator.gear * scale("gear", actuator)
  for joint in spec.joints:
    if np.any(joint.range):
      joint.range = joint.range * scale("range", joint)
    if joint.stiffness:
      joint.stiffness *= scale("stiffness", joint)
    if joint.damping:
      joint.damping *= scale("damping", joint)
  for geom in spec.geoms:
    if not _moves(geom.parent):
      continue
    geom.size = geom.size * scale("size", geom)
    density = scale("density", geom)
    geom.density *= density
    geom.mass *= density  # not a number unless the model gives the mass, which then counts alone
  return variation


def _moves(body: Any) -> bool:
  while body.name != "world":
    if body.joints:
      return True
    body = body.parent
  return False


def make(task: str) -> RandomisedControlSuite:
  """The suite's task, e.g. "reacher-easy", with small variations."""
  return RandomisedControlSuite(task, SMALL)
