"""MiniWorld's tasks as worlds that an agent sees in first person, and their dm_env environment.

Import MiniWorld's names from here, not from miniworld: its import would open a display.
"""

import math
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers
from rlds_builders.worlds import miniworld_screen
from rlds_builders.worlds.miniworld_screen import HEIGHT, WIDTH, Ball, FrameBuffer, gl
from rlds_builders.worlds.walking import DROP, FORWARD, LEFT, PICK_UP, RIGHT, STRIDE, TURN, Goal

# isort: split
# Only now: miniworld_screen has told pyglet that there is no display.
from miniworld import envs
from miniworld.entity import Box, Entity, Key, MeshEnt, TextFrame
from miniworld.math import intersect_circle_segs
from miniworld.miniworld import MiniWorldEnv, Room

# The names that the domains' levels import from here.
__all__ = [
  "Ball",
  "Box",
  "DROP",
  "Entity",
  "Environment",
  "FORWARD",
  "FrameBuffer",
  "Goal",
  "HEIGHT",
  "Key",
  "LEFT",
  "MeshEnt",
  "PICK_UP",
  "RIGHT",
  "Room",
  "SECONDS",
  "TextFrame",
  "WIDTH",
  "World",
  "envs",
  "gl",
]

# Seconds of a step. MiniWorld has no time, so this is our choice.
SECONDS = 0.125

# Metres between two circles that touch, as MiniWorld's near() has it.
_TOUCH = 1.1 * STRIDE

# Metres from the agent's circle to the circle of an object that it can pick up, and the angle to
# either side.
_ARM = 0.35
_GRASP = math.radians(30)

# MiniWorld's textures that a room may have.
_WALLS = (
  "brick_wall",
  "cinder_blocks",
  "concrete",
  "stucco",
  "wood",
  "marble",
  "rock",
  "wood_planks",
  "cardboard",
)
_FLOORS = ("floor_tiles_bw", "asphalt", "grass", "wood", "concrete_tiles", "concrete")
_CEILINGS = ("concrete_tiles", "ceiling_tiles", "drywall")


class World(MiniWorldEnv):
  """One task: MiniWorld's rooms, entities and movement, judged after every step.

  Subclasses must implement `_gen_world()`, which is MiniWorld's hook, `judge()` and `goals()`.

  Attributes:
    limit: Steps of an episode, at most.
    moves: Number of actions that the agent has, of those that walking.py lists.
    instruction: Text of the task; None where the task is always the same.
    success: True when the task has been done.
  """

  limit = 250
  moves = 3
  instruction: str | None = None

  def __init__(self):
    # MiniWorldEnv's own __init__ is not called: it opens a window and an 800x600 frame buffer for
    # every world.
    screen = miniworld_screen.screen()
    self.shadow_window = screen.window
    self.obs_fb = screen.small
    self.vis_fb = screen.large

    # Others may have drawn in this thread, MuJoCo for example.
    self.shadow_window.switch_to()

    self.params = miniworld_screen.parameters()
    self.domain_rand = True
    self.max_episode_steps = self.limit

    # MiniWorld's display list has number 1 in every world.
    self._display_list = gl.glGenLists(1)

  def reset(
    self, *, seed: int | None = None, options: Any = None
  ) -> tuple[np.ndarray, dict[str, Any]]:
    self.success = False
    self._theme: dict[str, str] = {}

    # For textures, which are loaded now. MiniWorld switches only before it draws.
    self.shadow_window.switch_to()
    return super().reset(seed=seed, options=options)

  def add_room(self, **kwargs: Any) -> Room:
    """Adds a room; all rooms of an episode look alike unless a level calls `redecorate`."""
    if not self._theme:
      self.redecorate()
    return super().add_room(**{**kwargs, **self._theme})

  def redecorate(self) -> None:
    """Draws the textures of the rooms that are added from now on."""
    choices = {"wall_tex": _WALLS, "floor_tex": _FLOORS, "ceil_tex": _CEILINGS}
    for part, names in choices.items():
      self._theme[part] = names[self.np_random.integers(len(names))]

  def place_apart(self, entity: Entity, gap: float, **where: Any) -> Entity:
    """Places an entity at least `gap` metres from all that was placed before, except walls.

    Args:
      entity: The entity.
      gap: Metres between the circles.
      **where: As of place_entity().
    """
    # MiniWorld keeps circles from overlapping, so the others are larger meanwhile.
    others = list(self.entities)
    for other in others:
      other.radius += gap

    self.place_entity(entity, **where)

    for other in others:
      other.radius -= gap
    return entity

  def move(self, action: int) -> tuple[float, bool]:
    """Acts and judges.

    Returns:
      The reward, and True when the task is over.
    """
    agent = self.agent
    self.step_count += 1

    if action == FORWARD:
      ahead = agent.pos + STRIDE * agent.dir_vec
      if not self.intersect(agent, ahead, agent.radius):
        agent.pos = ahead
    elif action == LEFT:
      agent.dir += TURN
    elif action == RIGHT:
      agent.dir -= TURN
    elif action == PICK_UP:
      self._pick_up()
    elif action == DROP:
      self._drop()

    return self.judge()

  def judge(self) -> tuple[float, bool]:
    """Judges the step that was made, and must set `success`.

    Returns:
      The reward, and True when the episode is over.
    """
    raise NotImplementedError

  def goals(self) -> list[Goal]:
    """Returns where an expert may go next. Privileged."""
    raise NotImplementedError

  def avoided(self) -> list[Entity]:
    """Returns the entities that an expert must not touch. Privileged."""
    return []

  def obstacles(self) -> list[tuple[float, float, float]]:
    """Returns circles (x, z, radius) that an expert keeps its body out of. Privileged.

    The goal is among them; walking.Walker leaves it out.
    """
    avoided = self.avoided()
    circles = []
    for entity in self.entities:
      if entity is self.agent or entity.radius <= 0:
        continue

      # Touching begins before the circles meet.
      margin = _TOUCH + 0.05 if entity in avoided else 0
      circles.append((entity.pos[0], entity.pos[2], entity.radius + margin))
    return circles

  def barriers(self) -> list[np.ndarray]:
    """Returns segments, float [2, 2] with (x, z) of both ends, that an expert must not cross.

    They are no walls.
    """
    return []

  def touch(self, entity: Entity) -> Goal:
    """Returns the goal of touching an entity, as MiniWorld's near() has it."""
    return Goal(entity.pos[[0, 2]], entity.radius + self.agent.radius + _TOUCH)

  def fetch(self, entity: Entity) -> Goal:
    """Returns the goal of picking an entity up."""
    return Goal(entity.pos[[0, 2]], entity.radius + self.agent.radius + _ARM, action=PICK_UP)

  def _pick_up(self) -> None:
    """Takes the nearest movable object within reach, which is out of everybody's way then."""
    agent = self.agent
    candidates: list[Any] = []
    for entity in self.entities:
      offset = entity.pos - agent.pos
      gap = float(np.hypot(offset[0], offset[2])) - entity.radius - agent.radius
      # 0 straight ahead; positive to the right.
      angle = math.atan2(offset @ agent.right_vec, offset @ agent.dir_vec)
      in_reach = gap < _ARM and abs(angle) < _GRASP
      if entity is not agent and not entity.is_static and in_reach:
        # The index breaks ties, since entities cannot be compared.
        candidates.append((gap, len(candidates), entity))

    if candidates and agent.carrying is None:
      _, _, agent.carrying = min(candidates)
      self.entities.remove(agent.carrying)

  def drop_distance(self, entity: Entity) -> float:
    """Returns the metres from the agent's middle to where an entity lands that it drops."""
    return self.agent.radius + entity.radius + 0.15

  def _drop(self) -> None:
    """Puts down what is carried ahead of the agent, if there is room for it."""
    agent = self.agent
    entity = agent.carrying
    if entity is None:
      return

    # It must not be put through a thin wall, so its middle between here and there counts too.
    way = self.drop_distance(entity) * agent.dir_vec
    position = agent.pos + way
    between = agent.pos + way / 2
    through_wall = intersect_circle_segs(between, entity.radius, self.wall_segs)

    if not through_wall and not self.intersect(entity, position, entity.radius):
      entity.pos = position
      entity.dir = agent.dir
      agent.carrying = None
      self.entities.append(entity)

  def _render_static(self) -> None:
    """Compiles what does not move into the display list: MiniWorld's hook."""
    gl.glNewList(self._display_list, gl.GL_COMPILE)

    light = (
      # A fourth coordinate of 0 puts the light infinitely far away.
      (gl.GL_POSITION, (*self.light_pos, 0)),
      (gl.GL_AMBIENT, (*self.light_ambient, 1)),
      (gl.GL_DIFFUSE, (*self.light_color, 1)),
    )
    for name, value in light:
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
    """Renders into a frame buffer and returns uint8 [H, W, 3]: MiniWorld's hook."""
    gl.glCallList(self._display_list)
    for entity in self.entities:
      if not entity.is_static and (render_agent or entity is not self.agent):
        entity.render()

    carried = self.agent.carrying
    if carried is not None:
      # It is held in the lower part of the image.
      ahead = (0.6 + carried.radius) * self.agent.dir_vec
      carried.pos = self.agent.pos + ahead + [0, 0.55 - carried.height / 2, 0]
      carried.dir = self.agent.dir
      carried.render()

    return frame_buffer.resolve()

  def close(self) -> None:
    if self._display_list:
      self.shadow_window.switch_to()
      gl.glDeleteLists(self._display_list, 1)
      self._display_list = 0


class Environment(wrappers.Environment):
  """A world as a dm_env environment.

  It shows an image of what the agent sees, and the instruction where there is one.

  Args:
    world: The world, which this environment closes.

  Attributes:
    world: The world, for experts.
  """

  def __init__(self, world: World):
    self.world = world
    self._seed = 0
    self._needs_reset = True

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    image, _ = self.world.reset(seed=self._seed)
    # Without a new seed the next episode is another one.
    self._seed += 1
    self._needs_reset = False
    return dm_env.restart(self._observe(image))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    reward, ended = self.world.move(int(action))
    self._needs_reset = ended or self.world.step_count >= self.world.limit
    observation = self._observe(self.world.render_obs())

    if ended:
      return dm_env.termination(reward, observation)
    if self._needs_reset:
      return dm_env.truncation(reward, observation)
    return dm_env.transition(reward, observation)

  def _observe(self, image: np.ndarray) -> dict[str, np.ndarray]:
    if self.world.instruction is None:
      return {"image": image}
    return {"image": image, "instruction": np.asarray(self.world.instruction)}

  def observation_spec(self) -> dict[str, specs.Array]:
    spec: dict[str, specs.Array] = {
      "image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")
    }
    if self.world.instruction is not None:
      spec["instruction"] = specs.StringArray((), name="instruction")
    return spec

  def action_spec(self) -> specs.DiscreteArray:
    """0 turn left, 1 turn right, 2 forward; where the task has them, 3 pick up, 4 drop."""
    return specs.DiscreteArray(self.world.moves, np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    return {"success": self.world.success}

  def render(self) -> np.ndarray:
    """Returns what the agent sees, four times as high and as wide."""
    return self.world.render_obs(self.world.vis_fb)

  def control_timestep(self) -> float:
    return SECONDS

  def close(self) -> None:
    self.world.close()
