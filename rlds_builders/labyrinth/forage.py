"""Levels in which things are to be collected: all, the good ones, in order, or to stay alive."""

from rlds_builders.labyrinth import rooms
from rlds_builders.worlds.first_person import Ball, Box, Entity, Goal, Key, MeshEnt, World

APPLE = 0.7  # metres, the diameter


class Collect(World):
  """Things vanish when they are touched, for a reward of 1 for a good one, -1 for a bad one.

  An episode ends when all good ones are gone, which is a success if no bad one was touched.

  Attributes:
    good: Good things that are left.
    bad: Bad things that are left.
  """

  good: list[Entity]
  bad: list[Entity]
  _spoiled: bool  # True when a bad thing was touched

  def judge(self) -> tuple[float, bool]:
    reward = 0.0
    for entities, value in ((self.good, 1.0), (self.bad, -1.0)):
      # A list of its own, since entities are removed while it is read.
      for entity in [entity for entity in entities if self.near(entity)]:
        entities.remove(entity)
        self.entities.remove(entity)
        reward += value
        self._spoiled = self._spoiled or value < 0

    self.success = not self.good and not self._spoiled
    return reward, not self.good

  def goals(self) -> list[Goal]:
    return [self.touch(entity) for entity in self.good]

  def avoided(self) -> list[Entity]:
    return self.bad

  def scatter(self, good: list[Entity], bad: list[Entity]) -> None:
    """Places the things and the agent anywhere, and begins to count."""
    self.good = [self.place_apart(entity, 0.3) for entity in good]
    self.bad = [self.place_apart(entity, 0.6) for entity in bad]
    self._spoiled = False
    self.place_apart(self.agent, 0.4)


class Forage(Collect):
  """Green apples to collect, and red ones to leave where they are, in one room."""

  def __init__(self, good: int, bad: int):
    self._good = good
    self._bad = bad
    self.limit = 250
    super().__init__()

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=11, min_z=0, max_z=11)
    self.scatter(
      good=[Ball("green", APPLE) for _ in range(self._good)],
      bad=[Ball("red", APPLE) for _ in range(self._bad)],
    )


class ForageShapes(Collect):
  """Ducks are good, potions are bad."""

  limit = 250

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=11, min_z=0, max_z=11)
    self.scatter(
      good=[MeshEnt("duckie", 0.6, static=False) for _ in range(5)],
      bad=[MeshEnt("potion", 0.8, static=False) for _ in range(4)],
    )


class ExploreRooms(Collect):
  """Four apples hidden in the rooms of a house."""

  limit = 450

  def _gen_world(self) -> None:
    rows = rooms.grid(self, rows=2, columns=3, size=4.0, door=1.8, more_doors=1, alike=False)

    # Rooms are numbered row by row, three a row.
    indices = self.np_random.choice(6, 4, replace=False)
    self.good = [
      self.place_entity(Ball("green", APPLE), room=rows[index // 3][index % 3]) for index in indices
    ]
    self.bad = []
    self._spoiled = False
    self.place_agent()


class ApplesInOrder(Collect):
  """Green apples first, the golden one last; taking it early ends the episode with -1.

  Stands for the paper's order_of_apples_forage_simple: "collect apples in the right order".
  """

  limit = 250

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=11, min_z=0, max_z=11)
    self.scatter(
      good=[Ball("green", APPLE) for _ in range(4)],
      bad=[Ball("yellow", APPLE)],
    )

  def judge(self) -> tuple[float, bool]:
    reward, _ = super().judge()
    self.success = False

    if not self.good and not self._spoiled:
      if self.bad:
        # The golden apple becomes good when the green ones are gone.
        self.good, self.bad = self.bad, []
      else:
        self.success = True

    return reward, self.success or self._spoiled


class CollectHealth(World):
  """Health falls from 100 by 2 a step; a medkit restores it, and appears again elsewhere.

  The reward is 1 for each step alive.
  """

  limit = 300

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=12, min_z=0, max_z=12)
    self._kits = [self.place_entity(MeshEnt("medkit", 0.5, static=False)) for _ in range(8)]
    self.place_agent()
    self._health = 100

  def judge(self) -> tuple[float, bool]:
    self._health -= 2
    for kit in [kit for kit in self._kits if self.near(kit)]:
      self.entities.remove(kit)
      self.place_entity(kit)
      self._health = 100

    is_alive = self._health > 0
    self.success = is_alive and self.step_count >= self.limit
    return float(is_alive), not is_alive

  def goals(self) -> list[Goal]:
    return [self.touch(kit) for kit in self._kits]


class PickupObjects(World):
  """MiniWorld's PickupObjects: five balls, boxes and keys to be picked up, for 1 each."""

  limit = 300
  moves = 4

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=10, min_z=0, max_z=10)

    self._remaining: list[Entity] = []
    for _ in range(5):
      colour = ("red", "green", "blue", "yellow", "purple")[self.np_random.integers(5)]
      kind = self.np_random.integers(3)
      entity = (Ball(colour, 0.8), Box(colour, 0.7), Key(colour))[kind]
      self._remaining.append(self.place_entity(entity))

    self.place_agent()

  def judge(self) -> tuple[float, bool]:
    if self.agent.carrying is None:
      return 0.0, False

    # What was picked up vanishes from the hand.
    self._remaining.remove(self.agent.carrying)
    self.agent.carrying = None
    self.success = not self._remaining
    return 1.0, self.success

  def goals(self) -> list[Goal]:
    return [self.fetch(entity) for entity in self._remaining]
