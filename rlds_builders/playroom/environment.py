"""A room of coloured boxes, balls and keys, and an instruction in every observation."""

import math
from collections.abc import Callable

import numpy as np

from rlds_builders.worlds import first_person
from rlds_builders.worlds.first_person import DROP, Box, Entity, Goal, World
from rlds_builders.worlds.playroom_world import COLOURS, KINDS, SIDE

NAMES = tuple(f"{colour} {kind}" for colour in COLOURS for kind in KINDS)

# All distances are metres between the circles that things occupy on the floor.
BESIDE = 0.6  # Things that are next to each other are at most this far apart.
_PASS = 1.6  # The agent can pass between two things without touching one.
_CARRY = 2.8  # An object is at least this far from where it is to be carried.

_GO, _TOUCH, _TAKE, _PUT = (
  ("go to", "walk to", "find"),
  ("touch", "visit"),
  ("pick up", "take", "lift"),
  ("put", "place"),
)


class Playroom(World):
  """One kind of instruction.

  The reward is 1 - 0.2 * step / limit in the step that carries it out, and 0 before.

  Attributes:
    limit: Steps after which the episode is truncated.
    moves: Number of actions.
    instruction: Text of the observation, e.g. "pick up the red box".
  """

  limit = 200
  moves = 5
  instruction = ""

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=SIDE, min_z=0, max_z=SIDE)
    self.furnish()
    self.place_apart(self.agent, 0.5)

  def furnish(self) -> None:
    """Places the things of an episode and chooses its instruction."""
    raise NotImplementedError

  def say(self, verbs: tuple[str, ...], rest: str) -> None:
    """Sets the instruction: one of several verbs that mean the same, and the rest."""
    self.instruction = f"{self.pick(verbs)} {rest}"

  def pick(self, choices: tuple[str, ...]) -> str:
    """Returns one of the choices, drawn from the episode's stream."""
    return choices[self.np_random.integers(len(choices))]

  def pick_names(self, count: int) -> list[str]:
    """Returns the names of different things, e.g. "red box"."""
    return [NAMES[index] for index in self.np_random.choice(len(NAMES), count, replace=False)]

  def put(self, *names: str, gap: float = _PASS) -> list[Entity]:
    """Places things anywhere in the room, at least `gap` apart, and returns them."""
    return [self.place_apart(_thing(name), gap) for name in names]


def _thing(name: str) -> Entity:
  colour, kind = name.split()
  return KINDS[kind](colour)


class GoTo(Playroom):
  """Touch the named thing; touching another one ends the episode.

  Attributes:
    turns: Groups of things to touch, one group after the other, each in any order.
    untouched: Things that count and were not touched yet.
  """

  turns: list[list[Entity]]
  untouched: list[Entity]

  def furnish(self) -> None:
    names = self.pick_names(5)
    self.untouched = self.put(*names)

    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {names[0]}")

  def judge(self) -> tuple[float, bool]:
    # A list of its own, since the loop removes from `untouched`.
    reached = [entity for entity in self.untouched if self.reached(entity)]
    for entity in reached:
      if entity not in self.turns[0]:
        return 0.0, True

      self.turns[0].remove(entity)
      self.untouched.remove(entity)

    self.turns = [turn for turn in self.turns if turn]
    self.success = not self.turns

    reward = self._reward() if self.success else 0.0
    return reward, self.success

  def reached(self, entity: Entity) -> bool:
    return bool(self.near(entity))

  def goals(self) -> list[Goal]:
    return [self.touch(entity) for entity in self.turns[0]]

  def avoided(self) -> list[Entity]:
    return [entity for entity in self.untouched if entity not in self.turns[0]]


class GoToInOrder(GoTo):
  """Touch two things, one after the other."""

  def furnish(self) -> None:
    names = self.pick_names(4)
    self.untouched = self.put(*names)

    self.turns = [[self.untouched[0]], [self.untouched[1]]]
    self.say(_GO, f"the {names[0]}, then the {names[1]}")


class GoToLargest(GoTo):
  """Touch the largest or the smallest of three boxes."""

  def furnish(self) -> None:
    # The boxes are placed from the largest to the smallest.
    self.untouched = []
    for size, colour in zip((1.1, 0.7, 0.4), self.np_random.permutation(COLOURS), strict=False):
      self.untouched.append(self.place_apart(Box(colour, size), _PASS))

    extreme = self.np_random.integers(2)
    self.turns = [[self.untouched[(0, -1)[extreme]]]]
    self.say(_GO, f"the {('largest', 'smallest')[extreme]} box")


class GoToNot(GoTo):
  """Touch the one of two boxes, balls or keys that does not have a certain colour."""

  def furnish(self) -> None:
    kind, another = self.np_random.choice(tuple(KINDS), 2, replace=False)
    colour, right, third = self.np_random.choice(COLOURS, 3, replace=False)

    # Things of another kind, in the same and in a third colour, so that both words count.
    self.untouched = self.put(
      f"{right} {kind}", f"{colour} {kind}", f"{colour} {another}", f"{third} {another}"
    )

    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {kind} that is not {colour}")


class GoToBeside(GoTo):
  """Touch one of two things that look alike and stand next to different ones."""

  def furnish(self) -> None:
    name, *anchors = self.pick_names(3)

    self.untouched = []
    for anchor in self.put(*anchors, gap=2.2):
      self.untouched.append(self._place_beside(anchor, _thing(name)))

    self.turns = [self.untouched[:1]]
    self.say(_GO, f"the {name} next to the {anchors[0]}")

  def _place_beside(self, anchor: Entity, entity: Entity) -> Entity:
    """Places an entity 0.2 metres beside another one, in a direction where there is room."""
    distance = anchor.radius + entity.radius + 0.2

    while True:
      angle = self.np_random.uniform(-math.pi, math.pi)
      # The floor is the plane of x and z.
      position = anchor.pos + distance * np.array([math.cos(angle), 0.0, math.sin(angle)])
      if not self.intersect(entity, position, entity.radius + 0.1):
        return self.place_entity(entity, pos=position)


class TouchAll(GoTo):
  """Touch everything of a colour."""

  def furnish(self) -> None:
    colour, *others = self.np_random.permutation(COLOURS)
    kinds = self.np_random.permutation(tuple(KINDS))[: self.np_random.integers(2, 4)]
    right = self.put(*(f"{colour} {kind}" for kind in kinds))

    # Three things of other colours must not be touched.
    self.untouched = right + self.put(
      *(f"{other} {self.pick(tuple(KINDS))}" for other in others[:3])
    )

    self.turns = [right]
    self.say(_TOUCH, f"everything that is {colour}")


class PickUp(GoTo):
  """Pick up the named thing, which then vanishes; picking up another one ends the episode."""

  def furnish(self) -> None:
    super().furnish()

    # The things are those of the inherited instruction; only its verb changes.
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
  """Pick up two things, one after the other."""


class PutNextTo(Playroom):
  """Carry one thing to another, until it lies within 0.6 metres of it."""

  limit = 250

  def furnish(self) -> None:
    names = self.pick_names(5)

    self.target, *_ = self.put(*names[:1])
    (self.carried,) = self.put(names[1], gap=_CARRY)
    self.put(*names[2:])

    self.say(_PUT, f"the {names[1]} next to the {names[0]}")

  def judge(self) -> tuple[float, bool]:
    # The height, coordinate 1, does not count.
    offset = (self.carried.pos - self.target.pos)[[0, 2]]
    gap = np.linalg.norm(offset) - self.carried.radius - self.target.radius
    in_hand = self.agent.carrying in (self.carried, self.target)
    self.success = bool(not in_hand and gap < BESIDE)

    reward = self._reward() if self.success else 0.0
    return reward, self.success

  def goals(self) -> list[Goal]:
    if self.agent.carrying is None:
      return [self.fetch(self.carried)]

    # The agent stops where the thing that it drops ends up beside the target.
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


def make(task: str) -> first_person.Environment:
  """Returns the environment of a task, one kind of instruction, e.g. "put_next_to"."""
  return first_person.Environment(_TASKS[task]())
