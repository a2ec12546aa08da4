"""Levels in which something is to be reached: a box, boxes in order, the right one among several, one behind a door."""

import math

import numpy as np

from rlds_builders._miniworld import Ball, Box, Entity, Goal, MeshEnt, TextFrame, World, envs
from rlds_builders.labyrinth import rooms

COLOURS = ("red", "green", "blue", "yellow", "purple")


class Reach(World):
  """Touch the red box; the reward is MiniWorld's own, 1 - 0.2 * step / limit. The rooms are MiniWorld's too."""

  box: Box

  def judge(self) -> tuple[float, bool]:
    self.success = bool(self.near(self.box))
    return (self._reward() if self.success else 0.0), self.success

  def goals(self) -> list[Goal]:
    return [self.touch(self.box)]


class OneRoom(Reach, envs.OneRoom):
  size, limit = 10, 150


class Hallway(Reach, envs.Hallway):
  length, limit = 12, 120


class WallGap(Reach, envs.WallGap):
  limit = 200


class TMaze(Reach, envs.TMaze):
  goal_pos, limit = None, 180


class YMaze(Reach, envs.YMaze):
  goal_pos, limit = None, 200


class FourRooms(Reach, envs.FourRooms):
  limit = 250


class Maze(Reach, envs.Maze):
  """A perfect maze of cells of 3 metres."""

  room_size, gap_size = 3, 0.25

  def __init__(self, side: int):
    self.num_rows = self.num_cols = side
    self.limit = 150 * (side - 1)
    super().__init__()


class Sidewalk(Reach, envs.Sidewalk):
  """Along a pavement; the street ends the episode."""

  limit = 120

  def judge(self) -> tuple[float, bool]:
    if self.street.point_inside(self.agent.pos):
      return 0.0, True
    return super().judge()

  def barriers(self) -> list[np.ndarray]:
    return [np.array([[0.0, 0.0], [0.0, 12.0]])]


class Rooms(Reach):
  """Nine rooms with doorways, each papered in its own way."""

  limit = 400

  def _gen_world(self) -> None:
    rooms.grid(self, 3, 3, 4.0, 1.8, more_doors=2, alike=False)
    self.box = self.place_entity(Box("red"))
    self.place_agent()


class Obstacles(Reach):
  """One room full of barrels, cones and chairs."""

  limit = 200

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=12, min_z=0, max_z=12)
    self.box = self.place_entity(Box("red"))
    for index in range(14):
      name, height = (("barrel", 1.0), ("cone", 0.9), ("office_chair", 1.1))[index % 3]
      self.place_apart(MeshEnt(name, height), 1.0)  # wide enough to pass
    self.place_apart(self.agent, 0.3)


class Alcoves(Reach):
  """A hall with eight alcoves that one sees into from in front of them only; the box is in one."""

  limit = 300

  def _gen_world(self) -> None:
    hall = self.add_rect_room(min_x=0, max_x=16, min_z=0, max_z=4)
    alcoves = []
    for column in range(4):
      x = 4 * column + 0.5
      for low, high in ((-3.3, -0.3), (4.3, 7.3)):
        alcoves.append(self.add_rect_room(min_x=x, max_x=x + 3, min_z=low, max_z=high))
    for alcove in alcoves:
      self.connect_rooms(hall, alcove, min_x=alcove.min_x + 0.5, max_x=alcove.max_x - 0.5)
    self.box = self.place_entity(Box("red"), room=alcoves[self.np_random.integers(8)])
    self.place_agent(room=hall)


class ReturnToGoal(Reach):
  """Six rooms and a box that stays: once found one starts elsewhere, four times in all. A reward of 1 each."""

  limit = 450
  times = 4

  def _gen_world(self) -> None:
    rooms.grid(self, 2, 3, 4.0, 1.8, more_doors=1, alike=False)
    self.box = self.place_entity(Box("red"))
    self.found = 0
    self.place_agent()

  def judge(self) -> tuple[float, bool]:
    if not self.near(self.box):
      return 0.0, False
    self.found += 1
    self.success = self.found == self.times
    while not self.success and self.near(self.box):
      self.entities.remove(self.agent)
      self.place_agent()
    return 1.0, self.success


class InOrder(World):
  """Touch one thing after the other, for a reward of 1 each; what was touched is gone."""

  queue: list[Entity]

  def judge(self) -> tuple[float, bool]:
    if not self.near(self.queue[0]):
      return 0.0, any(self.near(entity) for entity in self.avoided())
    self.entities.remove(self.queue.pop(0))
    self.success = not self.queue
    return 1.0, self.success

  def goals(self) -> list[Goal]:
    return [self.touch(self.queue[0])]


class BoxesInOrder(InOrder):
  """Red, then green, then blue, always; a wrong one ends the episode."""

  limit = 200

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=10, min_z=0, max_z=10)
    self.queue = [self.place_apart(Box(colour), 0.6) for colour in COLOURS[:3]]
    self.place_apart(self.agent, 0.4)

  def avoided(self) -> list[Entity]:
    return self.queue[1:]


class KeysDoors(InOrder):
  """Rooms in a row with a box at the end; a door of a colour opens to who has touched the key of that colour."""

  def __init__(self, doors: int):
    self._count = doors
    self.limit = 150 + 100 * doors
    super().__init__()

  def _gen_world(self) -> None:
    row = rooms.grid(self, 1, self._count + 1, 5.0, 1.6, alike=False)[0]
    self.queue = []
    for index, colour in enumerate(self.np_random.choice(COLOURS[1:], self._count, replace=False)):
      middle = np.array([(row[index].max_x + row[index + 1].min_x) / 2, 0.0, row[index].mid_z])
      door = self.place_entity(Box(colour, np.array([0.4, 2.2, 1.6])), pos=middle, dir=0.0)
      self.queue += [self.place_entity(big_key(colour), room=row[index], max_x=row[index].max_x - 1.5), door]
    self.queue.append(self.place_entity(Box("red"), room=row[-1]))
    self.place_agent(room=row[0], max_x=row[0].max_x - 1.5)


def big_key(colour: str) -> MeshEnt:
  """A key that can be seen from across a room."""
  return MeshEnt(f"key_{colour}", 0.6, static=False)


class Choice(World):
  """Touch the right object: 1; a wrong one ends the episode without a reward."""

  right: Entity
  wrong: list[Entity]

  def judge(self) -> tuple[float, bool]:
    if self.near(self.right):
      self.success = True
      return 1.0, True
    return 0.0, any(self.near(entity) for entity in self.wrong)

  def goals(self) -> list[Goal]:
    return [self.touch(self.right)]

  def avoided(self) -> list[Entity]:
    return self.wrong


class OddOneOut(Choice):
  """Four objects, three of one colour."""

  limit = 150

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=9, min_z=0, max_z=9)
    many, one = self.np_random.choice(COLOURS, 2, replace=False)
    kind = (Box, lambda colour: Ball(colour, 0.9))[self.np_random.integers(2)]
    self.right = self.place_apart(kind(one), 0.6)
    self.wrong = [self.place_apart(kind(many), 0.6) for _ in range(3)]
    self.place_apart(self.agent, 0.4)


class MatchSample(Choice):
  """A ball in the first room shows the colour of the box to touch, in the second room."""

  limit = 200

  def _gen_world(self) -> None:
    first = self.add_rect_room(min_x=0, max_x=5, min_z=0, max_z=5)
    second = self.add_rect_room(min_x=5.3, max_x=13.3, min_z=-1.5, max_z=6.5)
    self.connect_rooms(first, second, min_z=1.5, max_z=3.5)
    colours = self.np_random.choice(COLOURS, 3, replace=False)
    self.place_entity(Ball(colours[0], 1.0), pos=np.array([4.2, 0.0, (0.7, 4.3)[self.np_random.integers(2)]]))
    places = self.np_random.permutation(3)
    boxes = [
      self.place_entity(Box(colour), pos=np.array([12.3, 0.0, -0.2 + 2.7 * place]))
      for colour, place in zip(colours, places, strict=True)
    ]
    self.right, self.wrong = boxes[0], boxes[1:]
    self.place_agent(room=first, max_x=2.5, dir=self.np_random.uniform(-0.5, 0.5))


class Sign(Choice):
  """A letter on the wall, R, G or B, says which box to touch (after Liu et al. 2020 and MiniWorld's Sign)."""

  limit = 150

  def _gen_world(self) -> None:
    room = self.add_rect_room(min_x=0, max_x=9, min_z=0, max_z=9)
    colours = self.np_random.permutation(COLOURS[:3])
    boxes = []
    for place, colour in enumerate(colours):
      boxes.append(self.place_entity(Box(colour), pos=np.array([7.5, 0.0, 1.5 + 3.0 * place])))
    right = self.np_random.integers(3)
    self.right, self.wrong = boxes[right], boxes[:right] + boxes[right + 1 :]
    text = TextFrame(pos=[9.0, 1.7, 4.5], dir=math.pi, str=self.right.color[0].upper(), height=2.0)
    self.entities.append(text)
    self.place_agent(room=room, max_x=3.0, dir=self.np_random.uniform(-0.5, 0.5))
