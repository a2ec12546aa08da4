"""gymnasium's walker2d, hopper and humanoid with some of their limbs, on MuJoCo alone.

Reward, noise of the start and the limits of standing are gymnasium's (v5). Other choices are ours,
because a torso with other limbs stands at another height: it starts as far above the floor as
gymnasium's does, and the limits on its height shrink with that height; without any leg no position
counts as fallen. Velocities are not clipped, and the humanoid's tiny contact cost is left out.
"""

import dataclasses
import importlib.resources
import importlib.resources.abc
from xml.etree import ElementTree

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers
from rlds_builders.modular_rl import morphologies
from rlds_builders.worlds import mujoco_rendering

# isort: split
import mujoco

HORIZON = 1000  # control steps
_VIDEO_SIDE = 128  # pixels


@dataclasses.dataclass(frozen=True)
class Body:
  """Parameters of one of gymnasium's tasks; lengths in metres, angles in radians.

  Attributes:
    file: Name of the XML file among gymnasium's assets.
    frame_skip: Physics steps per control step.
    height: Height of the torso at the start, with all limbs.
    healthy_height: Lowest and highest height of a standing torso, with all limbs.
    healthy_angle: Largest lean of a standing torso if the body is planar, else infinity.
    forward: Weight of the forward speed in the reward.
    healthy: Reward of a step in which the body stands.
    control: Weight of the squared actions in the reward.
    noise: Half the width of the uniform noise of the starting positions and velocities.
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
    """True when the root has the joints x, z and angle, False when it has a free joint."""
    return bool(np.isfinite(self.healthy_angle))


BODIES = {
  "walker2d": Body(
    file="walker2d_v5.xml",
    frame_skip=4,
    height=1.25,
    healthy_height=(0.8, 2.0),
    healthy_angle=1.0,
    forward=1.0,
    healthy=1.0,
    control=1e-3,
    noise=5e-3,
  ),
  "hopper": Body(
    file="hopper.xml",
    frame_skip=4,
    height=1.25,
    healthy_height=(0.7, np.inf),
    healthy_angle=0.2,
    forward=1.0,
    healthy=1.0,
    control=1e-3,
    noise=5e-3,
  ),
  "humanoid": Body(
    file="humanoid.xml",
    frame_skip=5,
    height=1.4,
    healthy_height=(1.0, 2.0),
    healthy_angle=np.inf,
    forward=1.25,
    healthy=5.0,
    control=0.1,
    noise=1e-2,
  ),
}


def asset(base: str) -> importlib.resources.abc.Traversable:
  """Returns gymnasium's XML file of the body with all its limbs."""
  return importlib.resources.files("gymnasium") / "envs" / "mujoco" / "assets" / BODIES[base].file


def compile_morphology(base: str, limbs: frozenset[str]) -> mujoco.MjModel:
  """Returns gymnasium's model of `base` with no other limbs than `limbs`."""
  root = ElementTree.fromstring(asset(base).read_text())

  # These sections name limbs and joints that may be removed.
  for section in ("tendon", "keyframe", "contact"):
    for element in root.findall(section):
      root.remove(element)

  world, actuators = root.find("worldbody"), root.find("actuator")
  assert world is not None and actuators is not None

  kept = {morphologies.TORSO, *limbs}
  for parent in list(world.iter("body")):
    for body in parent.findall("body"):
      if body.get("name") not in kept:
        parent.remove(body)

  joints = {joint.get("name") for joint in world.iter("joint")}
  for motor in actuators.findall("motor"):
    if motor.get("joint") not in joints:
      actuators.remove(motor)

  return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


def standing_height(model: mujoco.MjModel) -> float:
  """Returns the metres from the lowest point to the torso's origin, with all joints at rest."""
  data = mujoco.MjData(model)
  mujoco.mj_kinematics(model, data)

  # Body 0 is the world, whose geom is the floor.
  moving = model.geom_bodyid > 0
  size = model.geom_size[moving]
  z_axis = data.geom_xmat[moving, 8]

  # A capsule is a sphere of radius size[0], drawn out by size[1] to both sides of its z axis; all
  # other geoms are spheres.
  is_capsule = model.geom_type[moving] == mujoco.mjtGeom.mjGEOM_CAPSULE
  half_length = np.where(is_capsule, size[:, 1], 0)
  lowest = (data.geom_xpos[moving, 2] - np.abs(z_axis) * half_length - size[:, 0]).min()

  return float(data.body(morphologies.TORSO).xpos[2] - lowest)


class Morphology(wrappers.Environment):
  """Runs forward on the limbs it has, for 1000 steps or until it falls.

  Attributes:
    body: Gymnasium's parameters.
    model: MuJoCo's model, for experts.
    data: MuJoCo's data, for experts.
    start: Height of the torso at the start.
    healthy_height: Lowest and highest height of a standing torso; no limits without legs.
    healthy_angle: Largest lean of a standing planar torso.
  """

  def __init__(self, base: str, limbs: frozenset[str]):
    body = BODIES[base]
    self.body = body
    self.model = compile_morphology(base, limbs)
    self.data = mujoco.MjData(self.model)

    # gymnasium's body starts this far above the floor.
    whole = compile_morphology(base, frozenset(morphologies.TREES[base]))
    clearance = body.height - standing_height(whole)
    self.start = standing_height(self.model) + clearance

    if any("thigh" in limb for limb in limbs):
      low, high = body.healthy_height
      self.healthy_height = (low * self.start / body.height, high * self.start / body.height)
      self.healthy_angle = body.healthy_angle
    else:
      self.healthy_height = (-np.inf, np.inf)
      self.healthy_angle = np.inf

    self._random = np.random.default_rng(0)
    self._renderer = mujoco_rendering.Renderer("modular_rl", self.model, _VIDEO_SIDE)

    # At the horizon step() resets, as it does after the last step.
    self._step = HORIZON

  @property
  def substeps(self) -> int:
    """Physics steps per control step."""
    return self.body.frame_skip

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def reset(self) -> dm_env.TimeStep:
    mujoco.mj_resetData(self.model, self.data)

    noise = self.body.noise
    self.data.qpos[self._height_index] = self.start
    self.data.qpos += self._random.uniform(-noise, noise, self.model.nq)
    self.data.qvel += self._random.uniform(-noise, noise, self.model.nv)
    mujoco.mj_forward(self.model, self.data)

    self._step = 0
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._step >= HORIZON:
      return self.reset()

    previous = self._forward_position()
    self.data.ctrl[:] = action
    mujoco.mj_step(self.model, self.data, self.substeps)
    self._step += 1

    body = self.body
    speed = (self._forward_position() - previous) / self.control_timestep()
    is_healthy = bool(self.healthy(self.data.qpos))
    control_cost = body.control * np.square(self.data.ctrl).sum()
    reward = float(body.forward * speed + body.healthy * is_healthy - control_cost)

    if not is_healthy:
      self._step = HORIZON
      return dm_env.termination(reward, self._observe())
    if self._step >= HORIZON:
      return dm_env.truncation(reward, self._observe())

    return dm_env.transition(reward, self._observe())

  def healthy(self, qpos: np.ndarray) -> np.ndarray:
    """True for positions [..., nq] of a standing body, bool [...]."""
    height = qpos[..., self._height_index]
    low, high = self.healthy_height
    upright = np.abs(qpos[..., 2]) < self.healthy_angle if self.body.planar else True

    return (low < height) & (height < high) & upright

  @property
  def _height_index(self) -> int:
    # Positions begin with x, z, angle of a planar body, else with x, y, z.
    return 1 if self.body.planar else 2

  def _forward_position(self) -> float:
    if self.body.planar:
      return float(self.data.qpos[0])

    # As in gymnasium, the humanoid's centre of mass counts. mj_step() leaves it at the state before
    # its last physics step.
    mujoco.mj_kinematics(self.model, self.data)
    mujoco.mj_comPos(self.model, self.data)
    return float(self.data.subtree_com[self.model.body(morphologies.TORSO).id, 0])

  def _observe(self) -> dict[str, np.ndarray]:
    # Without the position on the floor, which looks the same everywhere.
    return {
      "position": self.data.qpos[self._height_index :].astype(np.float32),
      "velocity": self.data.qvel.astype(np.float32),
    }

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      key: specs.Array(value.shape, np.float32, key) for key, value in self._observe().items()
    }

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of the joint torques, one for each joint of the limbs."""
    low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
    return specs.BoundedArray(low.shape, np.float32, minimum=low, maximum=high, name="action")

  def control_timestep(self) -> float:
    return float(self.model.opt.timestep * self.substeps)

  def render(self) -> np.ndarray:
    return self._renderer.take(self.data, "track")

  def close(self) -> None:
    self._renderer.close()


def make(task: str) -> Morphology:
  """Returns the environment of a morphology, e.g. "walker2d-foot-leg_left"."""
  base, limbs = morphologies.actuated()[task]
  return Morphology(base, limbs)
