"""A room of coloured boxes, balls and keys, and an instruction in every observation."""

from collections.abc import Callable
from typing import Any

from rlds_builders import _miniworld
from rlds_builders._miniworld import Ball, Box, Entity, MeshEnt, World

COLOURS = ("red", "green", "blue", "yellow", "purple")
KINDS: dict[str, Callable[[str], Entity]] = {
  "box": lambda colour: Box(colour, 0.65),
  "ball": lambda colour: Ball(colour, 0.7),
  "key": lambda colour: MeshEnt(f"key_{colour}", 0.6, static=False),
}
SIDE = 10  # metres
_PASS = 1.4  # metres between objects: the agent fits through without touching them
_BESIDE = 0.6  # metres between circles of what is next to each other
_GO, _TAKE, _PUT = ("go to", "walk to", "find"), ("pick up", "take", "lift"), ("put", "place")


class Playroom(World):
  """One kind of instruction. The reward is 1 - 0.2 * step / limit when it is carried out, 0 before.

  Touching or taking what was not named ends the episode where the instruction is to go or to take.
  """

  limit, moves = 200, 5
  instruction = ""

  def _gen_world(self) -> None:
    self.add_rect_room(min_x=0, max_x=SIDE, min_z=0, max_z=SIDE)
    self.furnish()
    self.place_apart(self.agent, 0.5)

  def furnish(self) -> None:
    """Places the objects and says what is to be done with them."""
    raise NotImplementedError

  def facts(self) -> dict[str, Any]:
    return {"instruction": self.instruction}

  def draw(self, words: tuple[str, ...]) -> str:
    return words[self.np_random.integers(len(words))]

  def things(self, count: int, gap: float = _PASS) -> tuple[list[Entity], list[str]]:
    """Different things somewhere in the room, and what they are called ("red box")."""
    names = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
    names = [names[index] for index in self.np_random.choice(len(names), count, replace=False)]
    return [self.place_apart(thing(name), gap) for name in names], names

  def done(self) -> tuple[float, bool]:
    self.success = True
    return self._reward(), True


def thing(name: str) -> Entity:
  """A "red box" and the like."""
  colour, kind = name.split()
  return KINDS[kind](colour)


class GoTo(Playroom):
  """Touch one thing after the other; subclasses say which and what else there is."""

  queue: list[Entity]
  others: list[Entity]

  def furnish(self) -> None:
    (first, *self.others), (name, *_) = self.things(5)
    self.queue = [first]
    self.instruction = f"{self.draw(_GO)} the {name}"

  def judge(self) -> tuple[float, bool]:
    if self.near(self.queue[0]):
      self.others.append(self.queue.pop(0))
      return (0.0, False) if self.queue else self.done()
    ...


def make(task: str) -> _miniworld.Environment:
  return _miniworld.Environment(_TASKS[task]())
