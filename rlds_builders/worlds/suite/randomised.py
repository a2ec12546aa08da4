"""Suite tasks on bodies that are redrawn for every episode.

The paper says which values are scaled and from which intervals (docs/paper.md). It is silent on the
rest, where our choices are: every value gets a scale of its own (a joint's range one for both
ends), drawn uniformly after a fair choice between the two intervals; a geom that is given by its
mass has its mass scaled in place of its density; geoms that no joint moves (floor, walls, targets)
stay, because they are the task and not the body.
"""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from rlds_builders.worlds import mujoco_rendering
from rlds_builders.worlds.suite import environment

# isort: split
import mujoco
from dm_control.mujoco import wrapper

# Decimals of a scale: the episode's metadata has exactly the scale that was applied.
_DIGITS = 4

Intervals = tuple[tuple[float, float], tuple[float, float]]
Variation = dict[str, dict[str, float]]  # kind -> element -> scale


class RandomisedControlSuite(environment.ControlSuite):
  """A suite task whose body differs in every episode.

  Experts must read `physics.model` after reset().
  """

  def __init__(self, task: str, intervals: Intervals):
    """Initialises the environment.

    Args:
      task: The suite's task, "domain-task".
      intervals: The two intervals from which scales are drawn.
    """
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

    # As physics.reload_from_xml_string() does, without rounding the model to text and back.
    self.physics._reload_from_model(wrapper.MjModel(spec.compile()))

    # The renderer belongs to the model of the last episode.
    self._renderer.close()
    self._renderer = mujoco_rendering.Renderer(
      "control_suite", self.physics.model.ptr, environment.VIDEO_SIDE
    )

    return super().reset()

  def _draw(self) -> float:
    low, high = self._intervals[self._random.integers(2)]
    return round(self._random.uniform(low, high), _DIGITS)

  def episode_info(self) -> dict[str, Any]:
    """Returns "variation": kind -> element -> scale."""
    return {**super().episode_info(), "variation": self._variation}


def nominal_spec(model: mujoco.MjModel) -> mujoco.MjSpec:
  """Returns the editable form of `model`, which must be the model that was compiled last."""
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "model.xml"
    mujoco.mj_saveLastXML(str(path), model)
    spec = mujoco.MjSpec.from_file(str(path))

  # MuJoCo's XML loses settotalmass, which the cheetah has: the densities make up for it.
  density = model.body_subtreemass[0] / spec.copy().compile().body_subtreemass[0]
  for geom in spec.geoms:
    geom.density *= density

  return spec


def vary(spec: mujoco.MjSpec, draw: Callable[[], float]) -> Variation:
  """Scales values of a model in place.

  Args:
    spec: The model.
    draw: Returns the scale of one more value.

  Returns:
    The scales, by the kind of value and the name of its element.
  """
  variation: Variation = {}

  def scale(kind: str, element: Any) -> float:
    scales = variation.setdefault(kind, {})
    # A few geoms have no name: these are named by their number among those already scaled.
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
    # NaN unless the model gives the mass, which then takes precedence over the density.
    geom.mass *= density

  return variation


def _moves(body: Any) -> bool:
  """True when the body or one of its ancestors has a joint."""
  while body.name != "world":
    if body.joints:
      return True
    body = body.parent

  return False
