"""Draws rooms with coloured boxes, balls and keys in MiniWorld.

It runs in a process of its own (drawing_process). The visible part of a thing are the pixels that
change when it is taken away.
"""

import math
from collections.abc import Iterator

import numpy as np

from rlds_builders.scenes import contents
from rlds_builders.worlds.first_person import Entity, FrameBuffer, World, gl
from rlds_builders.worlds.playroom_world import COLOURS, KINDS, SIDE

# Samples of each pixel, for smooth edges.
_SAMPLES = 4

# Metres from the camera to a thing.
_NEAREST = 1.8
_FARTHEST = 4.2

# Angle to either side of the image's middle within which things are not cut by the border.
_VIEW = math.radians(29)

# Metres, at least, between the circles of two things, and between a thing and a wall.
_GAP = 0.25

# A pixel that differs by less, of 255, looks the same.
_MIN_DIFFERENCE = 12

# Share of a thing's pixels that must not be hidden.
_MIN_VISIBLE_SHARE = 0.75

# Share of the image that a thing's visible part must cover: 49 of 64x64 pixels.
_MIN_AREA = 0.012

# Angle between a key and the image's plane, at most.
_KEY_TURN = math.radians(40)

# Attempts at placing one thing, and at placing the things of one draw of names.
_PLACE_ATTEMPTS = 30
_SCENE_ATTEMPTS = 20


class Room(World):
  """The playroom with a few things before the camera.

  Args:
    side: Pixels of the square images.

  Attributes:
    names: (colour, kind) of the things that the next reset() places.
    things: Those that were placed, with their names.
  """

  names: list[tuple[str, str]]
  things: dict[Entity, tuple[str, str]]

  def __init__(self, side: int):
    super().__init__()
    self.obs_fb = FrameBuffer(side, side, _SAMPLES)
    # Without normalised normals, what is scaled (balls and keys) is lit three times as much, and
    # purple turns pink.
    gl.glEnable(gl.GL_NORMALIZE)

    camera = {"cam_height": 1.5, "cam_pitch": -20, "cam_fov_y": 60}
    for name, value in camera.items():
      self.params.set(name, value)

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=SIDE, min_z=0, max_z=SIDE)
    self.things = {}
    self.place_entity(self.agent)
    for colour, kind in self.names:
      self._put(colour, kind)

  def _put(self, colour: str, kind: str) -> None:
    """Places a thing at random before the camera, unless there is no room for it."""
    entity = KINDS[kind](colour)
    for _ in range(_PLACE_ATTEMPTS):
      distance = self.np_random.uniform(_NEAREST, _FARTHEST)
      # The nearer a thing is, the wider the angle that half of it covers.
      half_width = math.asin(entity.radius / distance)
      angle = self.agent.dir + self.np_random.uniform(-1, 1) * (_VIEW - half_width)
      # MiniWorld's z axis points to the viewer, hence the minus.
      offset = distance * np.array([math.cos(angle), 0, -math.sin(angle)])
      position = self.agent.pos + offset
      if self.intersect(entity, position, entity.radius + _GAP):
        continue

      # A key is flat: nobody could tell it from its edge, so it shows one of its two sides. Boxes
      # and balls may turn as they like. The numbers are drawn for all kinds alike.
      side = math.pi * self.np_random.integers(2)
      turned = angle + side + self.np_random.uniform(-1, 1) * _KEY_TURN
      self.place_entity(entity, pos=position, dir=turned if kind == "key" else None)
      self.things[entity] = (colour, kind)
      return

  def show(self, things: list[Entity]) -> np.ndarray:
    """Renders these things only, as int32 [side, side, 3] so that images can be subtracted."""
    self.entities = [self.agent, *things]
    return self.render_obs().astype(np.int32)


def _draw_names(random: np.random.Generator) -> list[tuple[str, str]]:
  """Draws the names of one to four things.

  In half of those with several, the second one is given the kind or the colour of the first.
  """
  count = int(random.choice([1, 2, 3, 4], p=[0.34, 0.26, 0.22, 0.18]))
  names = []
  for _ in range(count):
    colour = str(random.choice(COLOURS))
    kind = str(random.choice(tuple(KINDS)))
    names.append((colour, kind))

  if count > 1 and random.random() < 0.5:
    (colour, kind), (other_colour, other_kind) = names[:2]
    names[1] = (other_colour, kind) if random.random() < 0.6 else (colour, other_kind)
  return names


def draw(stream: str, split: str, side: int, count: int) -> Iterator[contents.Scene]:
  """Yields rooms of one to four things, each of which is visible as a whole or nearly so.

  Args:
    stream: Name of the random stream.
    split: "train" or "validation".
    side: Pixels of the square images.
    count: Number of rooms.
  """
  room = Room(side)
  for index in range(count):
    random = contents.generator(stream, split, index)
    scene = None
    while scene is None:
      # Four keys hardly ever fit: after some attempts other names are drawn.
      room.names = _draw_names(random)
      seeds = random.integers(1 << 31, size=_SCENE_ATTEMPTS).tolist()
      scene = next(filter(None, (_scene(room, seed) for seed in seeds)), None)
    yield scene


def _scene(room: Room, seed: int) -> contents.Scene | None:
  """Draws one room; returns None where a thing is missing or not plain to see."""
  room.reset(seed=seed)
  if len(room.things) < len(room.names):
    return None

  entities = list(room.things)
  empty = room.show([])
  image = room.show(entities)

  things = []
  for entity in entities:
    others = [other for other in entities if other is not entity]
    whole = _differ(room.show([entity]), empty)
    visible = _differ(image, room.show(others))
    if not _plain(whole, visible):
      return None
    things.append(_thing(entity, visible, room))

  return contents.Scene(image.astype(np.uint8), tuple(things))


def _differ(image: np.ndarray, without: np.ndarray) -> np.ndarray:
  """Returns bool [side, side]: the pixels in which two images look different."""
  return np.abs(image - without).max(axis=-1) > _MIN_DIFFERENCE


def _plain(whole: np.ndarray, visible: np.ndarray) -> bool:
  """Returns True for a thing that is large enough, not cut by the border, and hardly hidden.

  Args:
    whole: bool [side, side], the thing's pixels where it is alone.
    visible: bool [side, side], its pixels among the others.
  """
  border = whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any()
  is_large = visible.mean() >= _MIN_AREA
  is_visible = (visible & whole).sum() >= _MIN_VISIBLE_SHARE * whole.sum()
  return bool(not border and is_large and is_visible)


def _thing(entity: Entity, visible: np.ndarray, room: Room) -> contents.Thing:
  rows = np.flatnonzero(visible.any(axis=1))
  columns = np.flatnonzero(visible.any(axis=0))
  colour, kind = room.things[entity]

  # x and z: the floor's plane.
  offset = (entity.pos - room.agent.pos)[[0, 2]]
  return contents.Thing(
    colour,
    kind,
    left=int(columns[0]),
    right=int(columns[-1]) + 1,
    top=int(rows[0]),
    bottom=int(rows[-1]) + 1,
    distance=float(np.hypot(*offset)),
  )
