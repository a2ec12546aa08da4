"""A room of coloured boxes, balls and keys, and an instruction in every observation."""

import math
from collections.abc import Callable

import numpy as np

from rlds_builders import _miniworld
from rlds_builders._miniworld import DROP, Ball, Box, Entity, Goal, MeshEnt, World

COLOURS = ("red", "green", "blue", "yellow", "purple")
KINDS: dict[str, Callable[[str], Entity]] = {
  "box": lambda colour: Box(colour, 0.65),
  "ball": lambda colour: Ball(colour, 0.7),
  "key": lambda colour: MeshEnt(f"key_{colour}", 0.6, static=False),
}
NAMES = tuple(f"{colour} {kind}" for colour in COLOURS for kind in KINDS)
SIDE = 10  # metres
BESIDE = 0.6  # metres, at most, between the circles of things that are next to each other
_PASS = 1.6  # metres between things where the agent can pass without touching one
_CARRY = 2.8  # metres between what is to be carried and where to
_GO, _TOUCH, _TAKE, _PUT = (
  ("go to", "walk to", "find"),
  ("touch", "visit"),
  ("pick up", "take", "lift"),
  ("put", "place"),
)


class Playroom(World):
  """One kind of instruction. The reward is 1 - 0.2 * step / limit when it is carried out, 0 before."""

  limit, moves = 200, 5
  instruction = ""

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=SIDE, min_z=0, max_z=SIDE)
    self.furnish()
    self.place_apart(self.agent, 0.5)

  def furnish(self) -> None:
    """Places the things and says what is to be done with them."""
    raise NotImplementedError

  def say(self, verbs: tuple[str, ...], rest: str) -> None:
    self.instruction = f"{self.pick(verbs)} {rest}"

  def pick(self, choices: tuple[str, ...]) -> str:
    return choices[self.np_random.integers(len(choices))]

  def pick_names(self, count: int) -> list[str]:
    """Different things, e.g. "red box"."""
    return [NAMES[index] for index in self.np_random.choice(len(NAMES), count, replace=False)]

  def put(self, *names: str, gap: float = _PASS) -> list[Entity]:
    """Places things somewhere in the room."""
    return [self.place_apart(_thing(name), gap) for name in names]


def _thing(name: str) -> Entity:
  colour, kind = name.split()
  return KINDS[kind](colour)


class GoTo(Playroom):
  """Touch what is named; touching another thing ends the episode.

  Attributes:
    turns: groups of things, one group after the other; those of a group in any order.
    untouched: everything that counts and was not touched yet.
  """

  turns: list[list[Entity]]
  untouched: list[Entity]

  def furnish(self) -> None:
    names = self.pick_names(5)
    self.untouched = self.put(*names)
    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {names[0]}")

  def judge(self) -> tuple[float, bool]:
    for entity in [entity for entity in self.untouched if self.reached(entity)]:
      if entity not in self.turns[0]:
        return 0.0, True
      self.turns[0].remove(entity)
      self.untouched.remove(entity)
    self.turns = [turn for turn in self.turns if turn]
    self.success = not self.turns
    return (self._reward() if self.success else 0.0), self.success

  def reached(self, entity: Entity) -> bool:
    return bool(self.near(entity))

  def goals(self) -> list[Goal]:
    return [self.touch(entity) for entity in self.turns[0]]

  def avoided(self) -> list[Entity]:
    return [entity for entity in self.untouched if entity not in self.turns[0]]


class GoToInOrder(GoTo):
  """Two things, one after the other."""

  def furnish(self) -> None:
    names = self.pick_names(4)
    self.untouched = self.put(*names)
    self.turns = [[self.untouched[0]], [self.untouched[1]]]
    self.say(_GO, f"the {names[0]}, then the {names[1]}")


class GoToLargest(GoTo):
  """The largest or the smallest of three boxes."""

  def furnish(self) -> None:
    self.untouched = []
    for size, colour in zip((1.1, 0.7, 0.4), self.np_random.permutation(COLOURS), strict=False):
      self.untouched.append(self.place_apart(Box(colour, size), _PASS))
    extreme = self.np_random.integers(2)
    self.turns = [[self.untouched[(0, -1)[extreme]]]]
    self.say(_GO, f"the {('largest', 'smallest')[extreme]} box")


class GoToNot(GoTo):
  """The one of two boxes, balls or keys that has not a certain colour."""

  def furnish(self) -> None:
    kind, another = self.np_random.choice(tuple(KINDS), 2, replace=False)
    colour, right, third = self.np_random.choice(COLOURS, 3, replace=False)
    self.untouched = self.put(f"{right} {kind}", f"{colour} {kind}", f"{colour} {another}", f"{third} {another}")
    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {kind} that is not {colour}")


class GoToBeside(GoTo):
  """One of two alike, each next to another thing."""

  def furnish(self) -> None:
    name, *anchors = self.pick_names(3)
    self.untouched = []
    for anchor in self.put(*anchors, gap=2.2):
      self.untouched.append(self._beside(anchor, _thing(name)))
    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {name} next to the {anchors[0]}")

  def _beside(self, anchor: Entity, entity: Entity) -> Entity:
    while True:
      angle = self.np_random.uniform(-math.pi, math.pi)
      place = anchor.pos + (anchor.radius + entity.radius + 0.2) * np.array([math.cos(angle), 0.0, math.sin(angle)])
      if not self.intersect(entity, place, entity.radius + 0.1):
        return self.place_entity(entity, pos=place)


class TouchAll(GoTo):
  """Everything of a colour."""

  def furnish(self) -> None:
    colour, *others = self.np_random.permutation(COLOURS)
    kinds = self.np_random.permutation(tuple(KINDS))[: self.np_random.integers(2, 4)]
    right = self.put(*(f"{colour} {kind}" for kind in kinds))
    self.untouched = right + self.put(*(f"{other} {self.pick(tuple(KINDS))}" for other in others[:3]))
    self.turns = [right]
    self.say(_TOUCH, f"everything that is {colour}")


class PickUp(GoTo):
  """Take what is named into the hand, where it vanishes; taking another thing ends the episode."""

  def furnish(self) -> None:
    super().furnish()
    self.say(_TAKE, self.instruction[self.instruction.index("the ") :])

  def judge(self) -> tuple[float, bool]:
    result = super().judge()
    self.agent.carrying = None
    return result

  def reached(self, entity: Entity) -> bool:
    return self.agent.carrying is entity

  def goals(self) -> list[Goal]:
    return [self.fetch(entity) for entity in self.turns[0]]

  def avoided(self) -> list[Entity]:
    return []


class PickUpInOrder(PickUp, GoToInOrder):
  """Two things, one after the other."""


class PutNextTo(Playroom):
  """Carry one thing to another: done when it lies within 0.6 metres of it."""

  limit = 250

  def furnish(self) -> None:
    names = self.pick_names(5)
    self.target, *_ = self.put(*names[:1])
    (self.carried,) = self.put(names[1], gap=_CARRY)
    self.put(*names[2:])
    self.say(_PUT, f"the {names[1]} next to the {names[0]}")

  def judge(self) -> tuple[float, bool]:
    gap = np.linalg.norm((self.carried.pos - self.target.pos)[[0, 2]]) - self.carried.radius - self.target.radius
    in_hand = self.agent.carrying in (self.carried, self.target)
    self.success = bool(not in_hand and gap < BESIDE)
    return (self._reward() if self.success else 0.0), self.success

  def goals(self) -> list[Goal]:
    if self.agent.carrying is None:
      return [self.fetch(self.carried)]
    beside = self.target.radius + self.carried.radius + self.drop_distance(self.carried)
    return [Goal(self.target.pos[[0, 2]], beside + 0.3, DROP)]


_TASKS: dict[str, Callable[[], Playroom]] = {
  "go_to": GoTo,
  "go_to_beside": GoToBeside,
  "go_to_in_order": GoToInOrder,
  "go_to_largest": GoToLargest,
  "go_to_not": GoToNot,
  "pick_up": PickUp,
  "pick_up_in_order": PickUpInOrder,
  "put_next_to": PutNextTo,
  "touch_all": TouchAll,
}


def make(task: str) -> _miniworld.Environment:
  """The environment of one kind of instruction, e.g. "put_next_to"."""
  return _miniworld.Environment(_TASKS[task]())
