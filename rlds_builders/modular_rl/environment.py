"""gymnasium's walker2d, hopper and humanoid with some of their limbs, on MuJoCo alone.

Reward, noise of the start and the limits of what counts as standing are gymnasium's (v5). Ours, because a torso with
other limbs stands at another height: it starts as far above the floor as gymnasium's does, and the limits on its height
shrink with that height; where there is no leg at all, no position counts as fallen. The velocities are not clipped, and
the humanoid's tiny contact cost is left out.
"""

import dataclasses
import importlib.resources
import importlib.resources.abc
from xml.etree import ElementTree

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _mujoco, _wrappers
from rlds_builders.modular_rl import morphologies

# isort: split
import mujoco

HORIZON = 1000  # control steps
_VIDEO_SIDE = 128  # pixels


@dataclasses.dataclass(frozen=True)
class Body:
  """One of gymnasium's tasks; lengths in metres, angles in radians.

  Attributes:
    file: of gymnasium's assets.
    frame_skip: physics steps per control step.
    height: of the torso at the start, all limbs on; healthy_height: where it may be, all limbs on.
    healthy_angle: how far the torso may lean, where the body is planar.
    forward, healthy, control: weights of the reward's parts.
    noise: half the width of the uniform noise of the starting positions and velocities.
  """

  file: str
  frame_skip: int
  height: float
  healthy_height: tuple[float, float]
  healthy_angle: float
  forward: float
  healthy: float
  control: float
  noise: float

  @property
  def planar(self) -> bool:
    """Root joints x, z, angle; otherwise a free joint."""
    return bool(np.isfinite(self.healthy_angle))


BODIES = {
  "walker2d": Body("walker2d_v5.xml", 4, 1.25, (0.8, 2.0), 1.0, 1.0, 1.0, 1e-3, 5e-3),
  "hopper": Body("hopper.xml", 4, 1.25, (0.7, np.inf), 0.2, 1.0, 1.0, 1e-3, 5e-3),
  "humanoid": Body("humanoid.xml", 5, 1.4, (1.0, 2.0), np.inf, 1.25, 5.0, 0.1, 1e-2),
}


def asset(base: str) -> importlib.resources.abc.Traversable:
  """gymnasium's file of the body with all its limbs."""
  return importlib.resources.files("gymnasium") / "envs" / "mujoco" / "assets" / BODIES[base].file


def compile_morphology(base: str, limbs: frozenset[str]) -> mujoco.MjModel:
  """gymnasium's model of `base` without the limbs that are not in `limbs`."""
  root = ElementTree.fromstring(asset(base).read_text())
  for section in ("tendon", "keyframe", "contact"):  # they name limbs and joints that may be gone
    for element in root.findall(section):
      root.remove(element)
  kept = {morphologies.TORSO, *limbs}
  for parent in list(root.find("worldbody").iter("body")):
    for body in parent.findall("body"):
      if body.get("name") not in kept:
        parent.remove(body)
  joints = {joint.get("name") for joint in root.find("worldbody").iter("joint")}
  for motor in root.findall("actuator/motor"):
    if motor.get("joint") not in joints:
      root.find("actuator").remove(motor)
  return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


def standing_height(model: mujoco.MjModel) -> float:
  """From the lowest point to the torso's origin, all joints at rest, in metres."""
  data = mujoco.MjData(model)
  mujoco.mj_kinematics(model, data)
  moving = model.geom_bodyid > 0
  size, z_axis = model.geom_size[moving], data.geom_xmat[moving, 8]
  length = np.where(model.geom_type[moving] == mujoco.mjtGeom.mjGEOM_CAPSULE, size[:, 1], 0)  # otherwise spheres
  lowest = (data.geom_xpos[moving, 2] - np.abs(z_axis) * length - size[:, 0]).min()
  return float(data.body(morphologies.TORSO).xpos[2] - lowest)


class Morphology(_wrappers.Environment):
  """Runs forward on the limbs it has; 1000 steps, or until it falls.

  Attributes:
    body: gymnasium's numbers. model, data: MuJoCo's, for experts.
    start: the torso's height at the start. healthy_height: where it may be; everywhere without legs.
    healthy_angle: how far a planar torso may lean.
  """

  def __init__(self, base: str, limbs: frozenset[str]):
    self.body = body = BODIES[base]
    self.model = compile_morphology(base, limbs)
    self.data = mujoco.MjData(self.model)
    clearance = body.height - standing_height(compile_morphology(base, frozenset(morphologies.TREES[base])))
    self.start = standing_height(self.model) + clearance
    if any("thigh" in limb for limb in limbs):
      low, high = body.healthy_height
      self.healthy_height = (low * self.start / body.height, high * self.start / body.height)
      self.healthy_angle = body.healthy_angle
    else:
      self.healthy_height, self.healthy_angle = (-np.inf, np.inf), np.inf
    self._random = np.random.default_rng(0)
    self._step = HORIZON
    self._pictures = _mujoco.Pictures("modular_rl", self.model, _VIDEO_SIDE)

  @property
  def substeps(self) -> int:
    """Physics steps per control step."""
    return self.body.frame_skip

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    mujoco.mj_resetData(self.model, self.data)
    noise = self.body.noise
    self.data.qpos[1 if self.body.planar else 2] = self.start
    self.data.qpos += self._random.uniform(-noise, noise, self.model.nq)
    self.data.qvel += self._random.uniform(-noise, noise, self.model.nv)
    mujoco.mj_forward(self.model, self.data)
    self._step = 0
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._step >= HORIZON:
      return self.reset()
    before = self._forward_position()
    self.data.ctrl[:] = action
    mujoco.mj_step(self.model, self.data, self.substeps)
    speed = (self._forward_position() - before) / self.control_timestep()
    healthy = bool(self.healthy(self.data.qpos))
    body = self.body
    reward = body.forward * speed + body.healthy * healthy - body.control * np.square(self.data.ctrl).sum()
    self._step += 1
    if not healthy:
      self._step = HORIZON
      return dm_env.termination(float(reward), self._observe())
    if self._step >= HORIZON:
      return dm_env.truncation(float(reward), self._observe())
    return dm_env.transition(float(reward), self._observe())

  def healthy(self, qpos: np.ndarray) -> np.ndarray:
    """Whether positions [..., nq] count as standing, bool [...]."""
    height = qpos[..., 1 if self.body.planar else 2]
    low, high = self.healthy_height
    upright = np.abs(qpos[..., 2]) < self.healthy_angle if self.body.planar else True
    return (low < height) & (height < high) & upright

  def _forward_position(self) -> float:
    if self.body.planar:
      return float(self.data.qpos[0])
    mujoco.mj_kinematics(self.model, self.data)
    mujoco.mj_comPos(self.model, self.data)
    return float(self.data.subtree_com[self.model.body(morphologies.TORSO).id, 0])

  def _observe(self) -> dict[str, np.ndarray]:
    where = 1 if self.body.planar else 2  # the floor looks the same everywhere
    return {"position": self.data.qpos[where:].astype(np.float32), "velocity": self.data.qvel.astype(np.float32)}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {key: specs.Array(value.shape, np.float32, key) for key, value in self._observe().items()}

  def action_spec(self) -> specs.BoundedArray:
    low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
    return specs.BoundedArray(low.shape, np.float32, low, high, name="action")

  def control_timestep(self) -> float:
    return float(self.model.opt.timestep * self.substeps)

  def render(self) -> np.ndarray:
    return self._pictures.take(self.data, "track")

  def close(self) -> None:
    self._pictures.close()


def make(task: str) -> Morphology:
  """The morphology of a task, e.g. "walker2d-foot-leg_left"."""
  return Morphology(*morphologies.actuated()[task])
