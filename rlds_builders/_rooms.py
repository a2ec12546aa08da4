"""Draws rooms with coloured boxes, balls and keys in the playroom's MiniWorld: runs in a process of its own (_drawn).

What can be seen of a thing are the pixels that change when it is taken away.
"""

import math
from collections.abc import Iterator

import numpy as np

from rlds_builders import _scenes
from rlds_builders._miniworld import Entity, FrameBuffer, gl
from rlds_builders.playroom.environment import COLOURS, KINDS, SIDE, Playroom

_SAMPLES = 4  # a pixel
_NEAREST, _FARTHEST = 1.8, 4.2  # metres from the camera to a thing
_VIEW = math.radians(29)  # to either side of the picture's middle, where things are whole
_GAP = 0.25  # metres, at least, between the circles of two things, and of a thing and a wall
_CHANGED = 12  # of 255: a pixel that differs by less looks the same
_SEEN = 0.75  # of a thing's pixels that must not be hidden
_SMALLEST = 0.012  # of the picture, what can be seen of a thing: 49 of 64x64 pixels
_KEY_TURN = math.radians(40)  # of a key from the picture's plane
_TRIES, _TRIES_OF_NAMES = 30, 20


class Room(Playroom):
  """Things before the camera.

  Attributes:
    names: (colour, kind) of the things that the next reset() places. things: those that it found a place for.
  """

  names: list[tuple[str, str]]
  things: dict[Entity, tuple[str, str]]

  def __init__(self, side: int):
    super().__init__()
    self.obs_fb = FrameBuffer(side, side, _SAMPLES)
    gl.glEnable(gl.GL_NORMALIZE)  # else what is scaled, balls and keys, is lit three times as much: purple turns pink
    for name, value in (("cam_height", 1.5), ("cam_pitch", -20), ("cam_fov_y", 60)):
      self.params.set(name, value)

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=SIDE, min_z=0, max_z=SIDE)
    self.things = {}
    self.place_entity(self.agent)
    for name in self.names:
      self._put(*name)

  def _put(self, colour: str, kind: str) -> None:
    """Somewhere before the camera, unless there is no room."""
    entity = KINDS[kind](colour)
    for _ in range(_TRIES):
      away = self.np_random.uniform(_NEAREST, _FARTHEST)
      angle = self.agent.dir + self.np_random.uniform(-1, 1) * (_VIEW - math.asin(entity.radius / away))
      place = self.agent.pos + away * np.array([math.cos(angle), 0, -math.sin(angle)])
      if not self.intersect(entity, place, entity.radius + _GAP):
        # A key is flat: seen from its edge nobody could tell what it is. Boxes and balls may turn as they like.
        turned = angle + math.pi * self.np_random.integers(2) + self.np_random.uniform(-1, 1) * _KEY_TURN
        self.things[self.place_entity(entity, pos=place, dir=turned if kind == "key" else None)] = (colour, kind)
        return

  def show(self, things: list[Entity]) -> np.ndarray:
    """The picture int32 [side, side, 3] of these things."""
    self.entities = [self.agent, *things]
    return self.render_obs().astype(np.int32)


def _draw_names(random: np.random.Generator) -> list[tuple[str, str]]:
  """One to four things; of several, half of the time two are surely of a kind or of a colour."""
  count = int(random.choice([1, 2, 3, 4], p=[0.34, 0.26, 0.22, 0.18]))
  names = [(str(random.choice(COLOURS)), str(random.choice(tuple(KINDS)))) for _ in range(count)]
  if count > 1 and random.random() < 0.5:
    (colour, kind), (other_colour, other_kind) = names[:2]
    names[1] = (other_colour, kind) if random.random() < 0.6 else (colour, other_kind)
  return names


def draw(stream: str, split: str, side: int, count: int) -> Iterator[_scenes.Scene]:
  """Pictures of one to four things of which each can be seen whole, or nearly so, and every one is told."""
  room = Room(side)
  for index in range(count):
    random = _scenes.generator(stream, split, index)
    scene = None
    while scene is None:
      room.names = _draw_names(random)  # four keys hardly ever fit: after some tries others are drawn
      seeds = random.integers(1 << 31, size=_TRIES_OF_NAMES).tolist()
      scene = next(filter(None, (_scene(room, seed) for seed in seeds)), None)
    yield scene


def _scene(room: Room, seed: int) -> _scenes.Scene | None:
  room.reset(seed=seed)
  if len(room.things) < len(room.names):
    return None
  things = list(room.things)
  empty, picture = room.show([]), room.show(things)
  found = []
  for entity in things:
    whole = _differ(room.show([entity]), empty)
    seen = _differ(picture, room.show([other for other in things if other is not entity]))
    if not _plain(whole, seen):
      return None
    found.append(_thing(entity, seen, room))
  return _scenes.Scene(picture.astype(np.uint8), tuple(found))


def _differ(picture: np.ndarray, without: np.ndarray) -> np.ndarray:
  return np.abs(picture - without).max(axis=-1) > _CHANGED


def _plain(whole: np.ndarray, seen: np.ndarray) -> bool:
  """Large enough, not cut by the border, not hidden by others."""
  border = whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any()
  return bool(not border and seen.mean() >= _SMALLEST and (seen & whole).sum() >= _SEEN * whole.sum())


def _thing(entity: Entity, seen: np.ndarray, room: Room) -> _scenes.Thing:
  rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
  colour, kind = room.things[entity]
  offset = (entity.pos - room.agent.pos)[[0, 2]]
  return _scenes.Thing(
    colour,
    kind,
    left=int(columns[0]),
    right=int(columns[-1]) + 1,
    top=int(rows[0]),
    bottom=int(rows[-1]) + 1,
    distance=float(np.hypot(*offset)),
  )
