"""MiniWorld without a display (import this first): worlds that share one screen, and their side of dm_env."""

import dataclasses
import functools
import math
import os
from typing import Any

import dm_env
import numpy as np
import pyglet
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders import _wrappers
from rlds_builders._walking import DROP, FORWARD, LEFT, PICK_UP, RIGHT, STRIDE, TURN, Goal

os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa renders in the caller's thread: a picture is too small to share
pyglet.options["headless"] = True
pyglet.options["shadow_window"] = False  # it would be opened on import
_CANNOT_RENDER = "miniworld: cannot render ({}); run: sudo apt-get install libegl1 libegl-mesa0 libgl1 libglu1-mesa"
try:
  from miniworld import envs  # noqa: F401
  from miniworld.entity import COLORS, Box, Entity, Key, MeshEnt, TextFrame  # noqa: F401  for the domains' levels
  from miniworld.math import intersect_circle_segs
  from miniworld.miniworld import MiniWorldEnv, Room
  from miniworld.opengl import FrameBuffer, Texture
  from miniworld.params import DEFAULT_PARAMS
  from pyglet import gl
except ImportError as error:  # how pyglet reports a missing library
  raise GatoError(_CANNOT_RENDER.format(error)) from error

HEIGHT, WIDTH = 64, 80  # pixels of the observation: 20 patches
_LARGE = 4  # times as many of render(), a side
_SAMPLES = 4  # a pixel
SECONDS = 0.125  # of a step, by our own choice: MiniWorld has no time
_TOUCH = 1.1 * STRIDE  # metres between two circles that touch, by MiniWorld's near()
_ARM = 0.35  # metres from the agent's circle to the circle of an object that it can pick up
_GRASP = math.radians(30)  # to either side
_WALLS = ("brick_wall", "cinder_blocks", "concrete", "stucco", "wood", "marble", "rock", "wood_planks", "cardboard")
_FLOORS = ("floor_tiles_bw", "asphalt", "grass", "wood", "concrete_tiles", "concrete")
_CEILINGS = ("concrete_tiles", "ceiling_tiles", "drywall")


def _params() -> Any:
  """What is drawn each episode: the light and, of a texture, the variant. Movement is exact and colours are true."""
  params = DEFAULT_PARAMS.no_random()
  params.set("light_pos", [0, 2.5, 0], [-40, 2.5, -40], [40, 5, 40])
  params.set("light_color", [0.7] * 3, [0.6] * 3, [0.8] * 3)
  params.set("light_ambient", [0.45] * 3, [0.4] * 3, [0.5] * 3)
  params.set("forward_step", STRIDE)
  params.set("turn_step", math.degrees(TURN))
  params.set("cam_height", 1.2)
  params.set("cam_pitch", -12)
  params.set("cam_fov_y", 70)
  return params


def _load_texture(path: str) -> Any:
  """Texture.load() in a hundredth of the time: pyglet's way from RGB to RGBA is a regular expression."""
  picture = Image.open(path).convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
  pixels = picture.tobytes()
  texture = pyglet.image.ImageData(*picture.size, "RGBA", pixels).get_texture()
  gl.glEnable(texture.target)
  gl.glBindTexture(texture.target, texture.id)
  gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGB, *picture.size, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels)
  gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
  gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
  gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
  gl.glBindTexture(gl.GL_TEXTURE_2D, 0)
  return texture


Texture.load = staticmethod(_load_texture)


@dataclasses.dataclass(frozen=True)
class _Screen:
  """An OpenGL context and what is drawn into."""

  window: Any
  small: FrameBuffer
  large: FrameBuffer


@functools.cache
def _screen() -> _Screen:
  """One for all worlds of the process: MiniWorld's own is one each."""
  try:
    window = pyglet.window.Window(width=1, height=1, visible=False)
  except (pyglet.window.WindowException, ImportError, AttributeError, RuntimeError) as e:
    raise GatoError(_CANNOT_RENDER.format(e)) from e
  gl.glEnable(gl.GL_DEPTH_TEST)
  gl.glEnable(gl.GL_CULL_FACE)
  return _Screen(window, FrameBuffer(WIDTH, HEIGHT, _SAMPLES), FrameBuffer(_LARGE * WIDTH, _LARGE * HEIGHT, _SAMPLES))


class Ball(Entity):
  """A ball of 180 faces: MiniWorld's has 5,000, which halves the speed of a level for the same picture."""

  def __init__(self, color: str, size: float):
    super().__init__()
    self.color, self.height, self.radius = color, size, size / 2

  def render(self) -> None:
    gl.glDisable(gl.GL_TEXTURE_2D)
    gl.glColor3f(*COLORS[self.color])
    gl.glPushMatrix()
    gl.glTranslatef(self.pos[0], self.pos[1] + self.radius, self.pos[2])
    gl.glScalef(self.radius, self.radius, self.radius)
    gl.glCallList(_sphere())
    gl.glPopMatrix()


@functools.cache
def _sphere() -> int:
  """The display list of a sphere of radius 1."""
  drawing, quadric = gl.glGenLists(1), gl.gluNewQuadric()
  gl.glNewList(drawing, gl.GL_COMPILE)
  gl.gluSphere(quadric, 1.0, 18, 10)
  gl.glEndList()
  gl.gluDeleteQuadric(quadric)
  return drawing


class World(MiniWorldEnv):
  """One task: MiniWorld's rooms, entities and movement, judged after every step.

  Subclasses give _gen_world(), MiniWorld's hook, judge() and goals().

  Attributes:
    limit: steps of an episode.
    moves: how many of the actions above the agent has.
    instruction: None where the task is always the same.
    success: whether the task has been done.
  """

  limit = 250
  moves = 3
  instruction: str | None = None

  def __init__(self):
    # Not MiniWorldEnv's: it opens a window and an 800x600 frame buffer for every world.
    screen = _screen()
    self.shadow_window, self.obs_fb, self.vis_fb = screen.window, screen.small, screen.large
    self.shadow_window.switch_to()  # others may have drawn in this thread, MuJoCo for example
    self.params, self.domain_rand, self.max_episode_steps = _params(), True, self.limit
    self._drawing = gl.glGenLists(1)  # MiniWorld's is number 1 for every world

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
    self.success = False
    self._theme: dict[str, str] = {}
    self.shadow_window.switch_to()  # for textures; MiniWorld does it before it draws
    return super().reset(seed=seed, options=options)

  def add_room(self, **kwargs: Any) -> Room:
    """Every room of an episode is papered alike, unless a level says `redecorate`."""
    if not self._theme:
      self.redecorate()
    return super().add_room(**{**kwargs, **self._theme})

  def redecorate(self) -> None:
    """Draws the textures of the rooms that are added from now on."""
    choices = {"wall_tex": _WALLS, "floor_tex": _FLOORS, "ceil_tex": _CEILINGS}
    self._theme = {part: names[self.np_random.integers(len(names))] for part, names in choices.items()}

  def place_apart(self, entity: Entity, gap: float, **where: Any) -> Entity:
    """place_entity() with at least `gap` metres to everything that was placed before, walls aside."""
    others = list(self.entities)
    for other in others:
      other.radius += gap
    self.place_entity(entity, **where)
    for other in others:
      other.radius -= gap
    return entity

  def move(self, action: int) -> tuple[float, bool]:
    """Acts and judges; returns the reward and whether the task is over."""
    agent = self.agent
    self.step_count += 1
    if action == FORWARD:
      ahead = agent.pos + STRIDE * agent.dir_vec
      if not self.intersect(agent, ahead, agent.radius):
        agent.pos = ahead
    elif action in (LEFT, RIGHT):
      agent.dir += TURN if action == LEFT else -TURN
    elif action == PICK_UP:
      self._pick_up()
    elif action == DROP:
      self._drop()
    return self.judge()

  def judge(self) -> tuple[float, bool]:
    """The reward of the step that was made, and whether the episode is over; sets `success`."""
    raise NotImplementedError

  def goals(self) -> list[Goal]:
    """Where an expert goes next: any of them. Privileged."""
    raise NotImplementedError

  def avoided(self) -> list[Entity]:
    """What an expert must not touch. Privileged."""
    return []

  def obstacles(self) -> list[tuple[float, float, float]]:
    """Circles (x, z, radius) that an expert keeps its body out of, its goal aside. Privileged."""
    avoided, found = self.avoided(), []
    for entity in self.entities:
      if entity is not self.agent and entity.radius > 0:
        found.append((entity.pos[0], entity.pos[2], entity.radius + (_TOUCH + 0.05 if entity in avoided else 0)))
    return found

  def barriers(self) -> list[np.ndarray]:
    """Segments float [2, 2], (x, z) of both ends, that an expert does not cross though they are no walls."""
    return []

  def touch(self, entity: Entity) -> Goal:
    """The goal of touching an entity, by MiniWorld's near()."""
    return Goal(entity.pos[[0, 2]], entity.radius + self.agent.radius + _TOUCH)

  def fetch(self, entity: Entity) -> Goal:
    """The goal of picking an entity up."""
    return Goal(entity.pos[[0, 2]], entity.radius + self.agent.radius + _ARM, PICK_UP)

  def _pick_up(self) -> None:
    """Takes the nearest movable object within the arm's reach into the hand, where it is in nobody's way."""
    agent, within = self.agent, []
    for entity in self.entities:
      offset = entity.pos - agent.pos
      gap = float(np.hypot(offset[0], offset[2])) - entity.radius - agent.radius
      ahead = math.atan2(offset @ agent.right_vec, offset @ agent.dir_vec)
      if entity is not agent and not entity.is_static and gap < _ARM and abs(ahead) < _GRASP:
        within.append((gap, len(within), entity))
    if within and agent.carrying is None:
      agent.carrying = min(within)[2]
      self.entities.remove(agent.carrying)

  def drop_distance(self, entity: Entity) -> float:
    """Metres from the agent's middle to where an entity lands that it drops."""
    return self.agent.radius + entity.radius + 0.15

  def _drop(self) -> None:
    """Puts down what is carried, ahead of the agent, where there is room for it."""
    entity, agent = self.agent.carrying, self.agent
    if entity is None:
      return
    way = self.drop_distance(entity) * agent.dir_vec
    place, between = agent.pos + way, agent.pos + way / 2
    through_wall = intersect_circle_segs(between, entity.radius, self.wall_segs)
    if not through_wall and not self.intersect(entity, place, entity.radius):
      entity.pos, entity.dir, agent.carrying = place, agent.dir, None
      self.entities.append(entity)

  def _render_static(self) -> None:
    gl.glNewList(self._drawing, gl.GL_COMPILE)
    for name, value in (
      (gl.GL_POSITION, (*self.light_pos, 0)),  # far away
      (gl.GL_AMBIENT, (*self.light_ambient, 1)),
      (gl.GL_DIFFUSE, (*self.light_color, 1)),
    ):
      gl.glLightfv(gl.GL_LIGHT0, name, (gl.GLfloat * 4)(*value))
    for name in (gl.GL_LIGHTING, gl.GL_LIGHT0, gl.GL_COLOR_MATERIAL, gl.GL_TEXTURE_2D):
      gl.glEnable(name)
    gl.glShadeModel(gl.GL_SMOOTH)
    gl.glColorMaterial(gl.GL_FRONT_AND_BACK, gl.GL_AMBIENT_AND_DIFFUSE)
    for room in self.rooms:
      room._render()
    for entity in self.entities:
      if entity.is_static:
        entity.render()
    gl.glEndList()

  def _render_world(self, frame_buffer: FrameBuffer, render_agent: bool) -> np.ndarray:
    gl.glCallList(self._drawing)
    for entity in self.entities:
      if not entity.is_static and (render_agent or entity is not self.agent):
        entity.render()
    carried = self.agent.carrying
    if carried is not None:  # in the lower part of the picture
      carried.pos = self.agent.pos + (0.6 + carried.radius) * self.agent.dir_vec + [0, 0.55 - carried.height / 2, 0]
      carried.dir = self.agent.dir
      carried.render()
    return frame_buffer.resolve()

  def close(self) -> None:
    if self._drawing:
      self.shadow_window.switch_to()
      gl.glDeleteLists(self._drawing, 1)
      self._drawing = 0


class Environment(_wrappers.Environment):
  """A world as dm_env: a picture of what the agent sees, and the instruction where there is one.

  Attributes:
    world: for experts.
  """

  def __init__(self, world: World):
    self.world = world
    self._seed = 0
    self._over = True

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    image, _ = self.world.reset(seed=self._seed)
    self._seed += 1
    self._over = False
    return dm_env.restart(self._observe(image))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._over:
      return self.reset()
    reward, ended = self.world.move(int(action))
    self._over = ended or self.world.step_count >= self.world.limit
    observation = self._observe(self.world.render_obs())
    if ended:
      return dm_env.termination(reward, observation)
    if self._over:
      return dm_env.truncation(reward, observation)
    return dm_env.transition(reward, observation)

  def _observe(self, image: np.ndarray) -> dict[str, np.ndarray]:
    if self.world.instruction is None:
      return {"image": image}
    return {"image": image, "instruction": np.asarray(self.world.instruction)}

  def observation_spec(self) -> dict[str, specs.Array]:
    spec = {"image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")}
    if self.world.instruction is not None:
      spec["instruction"] = specs.StringArray((), name="instruction")
    return spec

  def action_spec(self) -> specs.DiscreteArray:
    """0 turn left, 1 turn right, 2 forward; where the task has them, 3 pick up, 4 drop."""
    return specs.DiscreteArray(self.world.moves, np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    return {"success": self.world.success}

  def render(self) -> np.ndarray:
    """What the agent sees, four times as large a side."""
    return self.world.render_obs(self.world.vis_fb)

  def control_timestep(self) -> float:
    return SECONDS

  def close(self) -> None:
    self.world.close()
