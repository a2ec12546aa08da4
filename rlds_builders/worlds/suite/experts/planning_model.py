"""A copy of an environment's model with sensors that rewards over rollouts need.

The suite's XML files lack these sensors: its tasks read positions from the simulator instead.
"""

import mujoco
import numpy as np
from dm_control import suite

from gato_jax.errors import GatoError

_POSITION = mujoco.mjtSensor.mjSENS_FRAMEPOS
_Z_AXIS = mujoco.mjtSensor.mjSENS_FRAMEZAXIS

# A body's frame, and its inertial frame at the centre of mass.
_BODY = mujoco.mjtObj.mjOBJ_XBODY
_CENTER = mujoco.mjtObj.mjOBJ_BODY
_GEOM = mujoco.mjtObj.mjOBJ_GEOM
_SITE = mujoco.mjtObj.mjOBJ_SITE

# Added sensors (kind, object type, object name) of the suite's domains. Sensors are named
# "<object>.pos" and "<object>.zaxis".
_SENSORS = {
  "acrobot": ((_POSITION, _SITE, "tip"), (_POSITION, _SITE, "target")),
  "fish": ((_POSITION, _GEOM, "mouth"), (_POSITION, _GEOM, "target"), (_Z_AXIS, _BODY, "torso")),
  "hopper": ((_POSITION, _CENTER, "torso"), (_POSITION, _CENTER, "foot")),
  "humanoid": ((_POSITION, _BODY, "head"), (_Z_AXIS, _BODY, "torso")),
  "manipulator": tuple(
    (_POSITION, _SITE, name) for name in ("ball", "target_ball", "grasp", "pinch", "palm_touch")
  ),
  "quadruped": ((_Z_AXIS, _BODY, "torso"),),
  "swimmer": ((_POSITION, _GEOM, "nose"), (_POSITION, _GEOM, "target")),
}
_SUFFIX = {_POSITION: "pos", _Z_AXIS: "zaxis"}

# Fields of a model that tasks or randomised bodies change: everything but names, sensors and what
# the compiler derives for drawing.
_PREFIXES = (
  "actuator_",
  "body_",
  "dof_",
  "eq_",
  "geom_",
  "hfield_",
  "jnt_",
  "pair_",
  "qpos",
  "site_",
  "tendon_",
  "wrap_",
)


class PlanningModel:
  """The environment's model if it has all sensors, otherwise a model of the same physics with more.

  Attributes:
    model: The model to plan on.
  """

  def __init__(self, environment_model: mujoco.MjModel, task: str):
    self._source = environment_model
    domain = task.split("-")[0]

    self._is_copy = domain in _SENSORS
    self.model = _with_sensors(task, _SENSORS[domain]) if self._is_copy else environment_model
    self.refresh()

  def refresh(self) -> None:
    """Copies the parameters that the environment's model has now.

    To be called after every reset, since tasks move their targets.

    Raises:
      GatoError: The environment's model has other shapes than the suite's.
    """
    if not self._is_copy:
      return

    for name in dir(self._source):
      value = getattr(self._source, name) if name.startswith(_PREFIXES) else None
      if not isinstance(value, np.ndarray):
        continue

      copied = getattr(self.model, name)
      if copied.shape != value.shape:
        raise GatoError(
          f"planning model: {name} has shape {value.shape} in the environment, "
          f"{copied.shape} in the suite"
        )
      copied[:] = value

    self.model.opt.gravity[:] = self._source.opt.gravity
    self.model.opt.timestep = self._source.opt.timestep


def _with_sensors(task: str, sensors: tuple) -> mujoco.MjModel:
  """Returns the suite's model of a task, compiled with more sensors."""
  domain, name = task.split("-")
  module = getattr(suite, domain)

  # The suite's modules differ in how they make a model, and in what it depends on.
  if domain == "swimmer":
    xml, assets = module.get_model_and_assets(int(name.removeprefix("swimmer")))
  elif domain == "manipulator":
    xml, assets = module.make_model(use_peg=False, insert=False)
  elif domain == "quadruped":
    xml, assets = module.make_model(floor_size=1), suite.common.ASSETS
  else:
    xml, assets = module.get_model_and_assets()

  spec = mujoco.MjSpec.from_string(xml if isinstance(xml, str) else xml.decode(), include=assets)
  for kind, object_type, object_name in sensors:
    spec.add_sensor(
      name=f"{object_name}.{_SUFFIX[kind]}", type=kind, objtype=object_type, objname=object_name
    )

  return spec.compile()
