"""Levels in which something is to be reached: a box, boxes in order, or the right one of many."""

import math

import numpy as np

from rlds_builders.labyrinth import rooms
from rlds_builders.worlds.first_person import (
  Ball,
  Box,
  Entity,
  Goal,
  MeshEnt,
  TextFrame,
  World,
  envs,
)

COLOURS = ("red", "green", "blue", "yellow", "purple")


class Reach(World):
  """Touch the red box.

  The reward is MiniWorld's own, 1 - 0.2 * step / limit. Where a subclass derives from a level of
  MiniWorld its rooms are that level's.

  Attributes:
    box: The red box.
  """

  box: Box

  def judge(self) -> tuple[float, bool]:
    self.success = bool(self.near(self.box))
    return (self._reward() if self.success else 0.0), self.success

  def goals(self) -> list[Goal]:
    return [self.touch(self.box)]


class OneRoom(Reach, envs.OneRoom):
  """A square room of 10 metres."""

  size = 10
  limit = 150


class Hallway(Reach, envs.Hallway):
  """A hallway of 12 metres."""

  length = 12
  limit = 120


class WallGap(Reach, envs.WallGap):
  """Two rooms with a gap in the wall between them."""

  limit = 200


class TMaze(Reach, envs.TMaze):
  """A T-shaped hallway; the box is at one of two ends."""

  goal_pos = None
  limit = 180


class YMaze(Reach, envs.YMaze):
  """A Y-shaped hallway; the box is at one of two ends."""

  goal_pos = None
  limit = 200


class FourRooms(Reach, envs.FourRooms):
  """Four rooms in a square, with doorways between neighbours."""

  limit = 250


class Maze(Reach, envs.Maze):
  """A perfect maze of cells of 3 metres."""

  room_size = 3
  gap_size = 0.25

  def __init__(self, side: int):
    self.num_rows = side
    self.num_cols = side
    self.limit = 150 * (side - 1)
    super().__init__()


class Sidewalk(Reach, envs.Sidewalk):
  """A pavement to the box; the street beside it ends the episode."""

  limit = 120

  def judge(self) -> tuple[float, bool]:
    if self.street.point_inside(self.agent.pos):
      return 0.0, True

    return super().judge()

  def barriers(self) -> list[np.ndarray]:
    # The kerb, which is no wall.
    return [np.array([[0.0, 0.0], [0.0, 12.0]])]


class Rooms(Reach):
  """Nine rooms with doorways, each with textures of its own."""

  limit = 400

  def _gen_world(self) -> None:
    rooms.grid(self, rows=3, columns=3, size=4.0, door=1.8, more_doors=2, alike=False)
    self.box = self.place_entity(Box("red"))
    self.place_agent()


class Obstacles(Reach):
  """One room full of barrels, cones and chairs."""

  limit = 200

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=12, min_z=0, max_z=12)
    self.box = self.place_entity(Box("red"))

    # With a gap of 1 m the agent can pass between them.
    for index in range(14):
      name, height = (("barrel", 1.0), ("cone", 0.9), ("office_chair", 1.1))[index % 3]
      self.place_apart(MeshEnt(name, height), 1.0)
    self.place_apart(self.agent, 0.3)


class Alcoves(Reach):
  """A hall with eight alcoves, one of which has the box.

  One sees into an alcove only from in front of it.
  """

  limit = 300

  def _gen_world(self) -> None:
    hall = self.add_rect_room(min_x=0, max_x=16, min_z=0, max_z=4)

    # Four on each side of the hall.
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
  """Six rooms and a box that stays, to be found four times from different starts, for 1 each.

  Attributes:
    found: How often the box was found.
  """

  limit = 450
  times = 4

  def _gen_world(self) -> None:
    rooms.grid(self, rows=2, columns=3, size=4.0, door=1.8, more_doors=1, alike=False)
    self.box = self.place_entity(Box("red"))
    self.found = 0
    self.place_agent()

  def judge(self) -> tuple[float, bool]:
    if not self.near(self.box):
      return 0.0, False

    self.found += 1
    self.success = self.found == self.times

    # Starts elsewhere, and not next to the box again.
    while not self.success and self.near(self.box):
      self.entities.remove(self.agent)
      self.place_agent()

    return 1.0, self.success


class InOrder(World):
  """Touch one thing after the other, for a reward of 1 each; what was touched vanishes.

  Attributes:
    queue: The things that are left, in order.
  """

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
  """Rooms in a row with a box at the end.

  A door opens when it is touched after the key of its colour.
  """

  def __init__(self, doors: int):
    self._doors = doors
    self.limit = 150 + 100 * doors
    super().__init__()

  def _gen_world(self) -> None:
    grid = rooms.grid(self, rows=1, columns=self._doors + 1, size=5.0, door=1.6, alike=False)
    row = grid[0]

    self.queue = []
    colours = self.np_random.choice(COLOURS[1:], self._doors, replace=False)
    for i, colour in enumerate(colours):
      room, next_room = row[i], row[i + 1]

      # The door is a box that fills the doorway; the key keeps away from it.
      doorway = np.array([(room.max_x + next_room.min_x) / 2, 0.0, room.mid_z])
      door = self.place_entity(Box(colour, np.array([0.4, 2.2, 1.6])), pos=doorway, dir=0.0)
      key = self.place_entity(big_key(colour), room=room, max_x=room.max_x - 1.5)
      self.queue += [key, door]

    self.queue.append(self.place_entity(Box("red"), room=row[-1]))
    self.place_agent(room=row[0], max_x=row[0].max_x - 1.5)


def big_key(colour: str) -> MeshEnt:
  """Returns a key that can be seen from across a room."""
  return MeshEnt(f"key_{colour}", 0.6, static=False)


class Choice(World):
  """Touch the right object for a reward of 1; a wrong one ends the episode without a reward.

  Attributes:
    right: The right object.
    wrong: The wrong objects.
  """

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

    common, odd = self.np_random.choice(COLOURS, 2, replace=False)
    make_object = (Box, lambda colour: Ball(colour, 0.9))[self.np_random.integers(2)]
    self.right = self.place_apart(make_object(odd), 0.6)
    self.wrong = [self.place_apart(make_object(common), 0.6) for _ in range(3)]

    self.place_apart(self.agent, 0.4)


class MatchSample(Choice):
  """A ball in the first room shows the colour of the box to touch in the second room."""

  limit = 200

  def _gen_world(self) -> None:
    first = self.add_rect_room(min_x=0, max_x=5, min_z=0, max_z=5)
    second = self.add_rect_room(min_x=5.3, max_x=13.3, min_z=-1.5, max_z=6.5)
    self.connect_rooms(first, second, min_z=1.5, max_z=3.5)

    # The sample is on one side of the doorway.
    colours = self.np_random.choice(COLOURS, 3, replace=False)
    sample_z = (0.7, 4.3)[self.np_random.integers(2)]
    self.place_entity(Ball(colours[0], 1.0), pos=np.array([4.2, 0.0, sample_z]))

    # The boxes stand along the far wall, in random order.
    order = self.np_random.permutation(3)
    boxes = [
      self.place_entity(Box(colour), pos=np.array([12.3, 0.0, -0.2 + 2.7 * index]))
      for colour, index in zip(colours, order, strict=True)
    ]
    self.right, self.wrong = boxes[0], boxes[1:]

    self.place_agent(room=first, max_x=2.5, dir=self.np_random.uniform(-0.5, 0.5))


class Sign(Choice):
  """A letter on the wall, R, G or B, names the box to touch.

  After Liu et al. 2020 and MiniWorld's Sign.
  """

  limit = 150

  def _gen_world(self) -> None:
    room = self.add_rect_room(min_x=0, max_x=9, min_z=0, max_z=9)

    boxes = []
    for index, colour in enumerate(self.np_random.permutation(COLOURS[:3])):
      boxes.append(self.place_entity(Box(colour), pos=np.array([7.5, 0.0, 1.5 + 3.0 * index])))
    right = self.np_random.integers(3)
    self.right, self.wrong = boxes[right], boxes[:right] + boxes[right + 1 :]

    letter = self.right.color[0].upper()
    self.entities.append(TextFrame(pos=[9.0, 1.7, 4.5], dir=math.pi, str=letter, height=2.0))
    self.place_agent(room=room, max_x=3.0, dir=self.np_random.uniform(-0.5, 0.5))
