"""Which questions are asked about a picture: all kinds equally often, and of a kind all answers, as far as can be."""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gato_jax.documents import Question
from rlds_builders import _scenes

PER_PICTURE = 2


class Candidate(NamedTuple):
  """A question about a scene that has exactly one answer."""

  kind: str
  question: str
  answer: str


class Asker:
  """Chooses among what can be asked; what was asked before decides, chance breaks ties."""

  def __init__(self):
    self._asked: collections.Counter[str] = collections.Counter()
    self._answered: collections.Counter[tuple[str, str]] = collections.Counter()

  def choose(self, candidates: Iterable[Candidate]) -> list[Candidate]:
    """At most PER_PICTURE of different kinds; candidates: in an order of chance."""
    left, chosen = list(candidates), []
    while left and len(chosen) < PER_PICTURE:
      best = min(left, key=lambda c: (self._asked[c.kind], self._answered[c.kind, c.answer]))
      chosen.append(best)
      self._asked[best.kind] += 1
      self._answered[best.kind, best.answer] += 1
      left = [candidate for candidate in left if candidate.kind != best.kind]
    return chosen


def ask(
  scenes: Iterable[_scenes.Scene], candidates: Callable[[_scenes.Scene], list[Candidate]], split: str, stream: str
) -> Iterator[Question]:
  """Questions about scenes, each with its one answer; candidates: everything that can be asked of a scene."""
  asker = Asker()
  for index, scene in enumerate(scenes):
    found = candidates(scene)
    _scenes.generator(f"{stream} questions", split, index).shuffle(found)
    for chosen in asker.choose(found):
      yield Question(scene.picture, chosen.question, (chosen.answer,))


def colours_kinds_counts(scene: _scenes.Scene) -> list[Candidate]:
  """What can be asked of any picture: "what colour is the ball?", "what is the red thing?", "how many boxes ...?".

  Things are counted where there are some: else every second answer would be "1".
  """
  things, found = scene.things, []
  for kind in dict.fromkeys(thing.kind for thing in things):
    of_kind = [thing for thing in things if thing.kind == kind]
    found.append(Candidate("count", f"how many {plural(kind)} are there?", str(len(of_kind))))
    if len(of_kind) == 1:
      found.append(Candidate("colour", f"what colour is the {kind}?", of_kind[0].colour))
  for colour in dict.fromkeys(thing.colour for thing in things):
    of_colour = [thing for thing in things if thing.colour == colour]
    found.append(Candidate("count", f"how many {colour} things are there?", str(len(of_colour))))
    if len(of_colour) == 1:
      found.append(Candidate("kind", f"what is the {colour} thing?", of_colour[0].kind))
  found.append(Candidate("count", "how many things are there?", str(len(things))))
  return found if len(things) > 1 else [candidate for candidate in found if candidate.kind != "count"]


def plural(kind: str) -> str:
  return {"box": "boxes", "ball": "balls", "key": "keys"}[kind]
