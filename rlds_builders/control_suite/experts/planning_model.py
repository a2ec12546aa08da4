"""A copy of an environment's model with the sensors that rewards over rollouts need and the suite's XML lacks."""

import mujoco
import numpy as np
from dm_control import suite

from gato_jax.errors import GatoError

_POSITION, _Z_AXIS = mujoco.mjtSensor.mjSENS_FRAMEPOS, mujoco.mjtSensor.mjSENS_FRAMEZAXIS
_BODY, _CENTER = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_BODY  # a body's frame; its inertial frame
_GEOM, _SITE = mujoco.mjtObj.mjOBJ_GEOM, mujoco.mjtObj.mjOBJ_SITE

# Sensors are called "<object>.pos" and "<object>.zaxis".
_SENSORS = {
  "acrobot": ((_POSITION, _SITE, "tip"), (_POSITION, _SITE, "target")),
  "fish": ((_POSITION, _GEOM, "mouth"), (_POSITION, _GEOM, "target"), (_Z_AXIS, _BODY, "torso")),
  "hopper": ((_POSITION, _CENTER, "torso"), (_POSITION, _CENTER, "foot")),
  "humanoid": ((_POSITION, _BODY, "head"), (_Z_AXIS, _BODY, "torso")),
  "manipulator": tuple((_POSITION, _SITE, n) for n in ("ball", "target_ball", "grasp", "pinch", "palm_touch")),
  "quadruped": ((_Z_AXIS, _BODY, "torso"),),
  "swimmer": ((_POSITION, _GEOM, "nose"), (_POSITION, _GEOM, "target")),
}
_SUFFIX = {_POSITION: "pos", _Z_AXIS: "zaxis"}
# What a task or a randomised variant changes: everything but names, sensors and what compiling derives for drawing.
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
  """The environment's model where it has all sensors, otherwise one of the same physics with more of them.

  Attributes:
    model: what to plan on.
  """

  def __init__(self, environment_model: mujoco.MjModel, task: str):
    self._source = environment_model
    domain = task.split("-")[0]
    self._is_copy = domain in _SENSORS
    self.model = _with_sensors(task, _SENSORS[domain]) if self._is_copy else environment_model
    self.refresh()

  def refresh(self) -> None:
    """Takes over the parameters that the environment's model has now; tasks move their targets at every reset."""
    if not self._is_copy:
      return
    for name in dir(self._source):
      value = getattr(self._source, name) if name.startswith(_PREFIXES) else None
      if isinstance(value, np.ndarray):
        ours = getattr(self.model, name)
        if ours.shape != value.shape:
          raise GatoError(
            f"planning model: {name} has shape {value.shape} in the environment, {ours.shape} in the suite"
          )
        ours[:] = value
    self.model.opt.gravity[:] = self._source.opt.gravity
    self.model.opt.timestep = self._source.opt.timestep


def _with_sensors(task: str, sensors: tuple) -> mujoco.MjModel:
  domain, name = task.split("-")
  module = getattr(suite, domain)
  if domain == "swimmer":
    xml, assets = module.get_model_and_assets(int(name.removeprefix("swimmer")))
  elif domain == "manipulator":
    xml, assets = module.make_model(use_peg=False, insert=False)
  elif domain == "quadruped":
    xml, assets = module.make_model(floor_size=1), suite.common.ASSETS
  else:
    xml, assets = module.get_model_and_assets()
  spec = mujoco.MjSpec.from_string(xml if isinstance(xml, str) else xml.decode(), include=assets)
  for kind, of, object_name in sensors:
    spec.add_sensor(name=f"{object_name}.{_SUFFIX[kind]}", type=kind, objtype=of, objname=object_name)
  return spec.compile()
