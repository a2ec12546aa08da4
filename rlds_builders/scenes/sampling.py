"""Chooses the questions about an image: all kinds, and all answers of a kind, equally often."""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gato_jax.documents import Question
from rlds_builders.scenes import contents

PER_PICTURE = 2


class Candidate(NamedTuple):
  """A question about a scene that has exactly one answer.

  Attributes:
    kind: Kind of the question, e.g. "colour".
    question: Its text.
    answer: Its answer.
  """

  kind: str
  question: str
  answer: str


class Asker:
  """Chooses among candidates those whose kind, and then whose answer, was chosen least so far.

  Ties are broken by the order of the candidates.
  """

  def __init__(self):
    self._kind_counts: collections.Counter[str] = collections.Counter()
    self._answer_counts: collections.Counter[tuple[str, str]] = collections.Counter()

  def choose(self, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns at most PER_PICTURE candidates of different kinds.

    Args:
      candidates: In random order.
    """
    remaining = list(candidates)
    chosen: list[Candidate] = []
    while remaining and len(chosen) < PER_PICTURE:
      best = min(remaining, key=self._counts)
      chosen.append(best)
      self._kind_counts[best.kind] += 1
      self._answer_counts[best.kind, best.answer] += 1
      remaining = [candidate for candidate in remaining if candidate.kind != best.kind]
    return chosen

  def _counts(self, candidate: Candidate) -> tuple[int, int]:
    kind_count = self._kind_counts[candidate.kind]
    return kind_count, self._answer_counts[candidate.kind, candidate.answer]


def ask(
  scenes: Iterable[contents.Scene[contents.T]],
  candidates: Callable[[contents.Scene[contents.T]], list[Candidate]],
  split: str,
  stream: str,
) -> Iterator[Question]:
  """Yields questions about scenes, each with its one answer.

  Args:
    scenes: Drawn scenes of a split.
    candidates: Returns every question that can be asked about a scene.
    split: "train" or "validation".
    stream: Name of the random stream that breaks ties.
  """
  asker = Asker()
  for index, scene in enumerate(scenes):
    options = candidates(scene)
    random = contents.generator(f"{stream} questions", split, index)
    random.shuffle(options)

    for chosen in asker.choose(options):
      yield Question(scene.image, chosen.question, answers=(chosen.answer,))


def colours_kinds_counts(scene: contents.Scene) -> list[Candidate]:
  """Returns the candidates that every scene has: colours, kinds and counts.

  E.g. "what colour is the ball?", "what is the red thing?", "how many boxes are there?". Things
  are counted only where there are several: otherwise every second answer would be "1".
  """
  things = scene.things
  candidates = []

  # dict.fromkeys instead of a set: the order must be the same every time.
  for kind in dict.fromkeys(thing.kind for thing in things):
    matches = [thing for thing in things if thing.kind == kind]
    count = str(len(matches))
    candidates.append(Candidate("count", f"how many {plural(kind)} are there?", count))
    if len(matches) == 1:
      candidates.append(Candidate("colour", f"what colour is the {kind}?", matches[0].colour))

  for colour in dict.fromkeys(thing.colour for thing in things):
    matches = [thing for thing in things if thing.colour == colour]
    count = str(len(matches))
    candidates.append(Candidate("count", f"how many {colour} things are there?", count))
    if len(matches) == 1:
      candidates.append(Candidate("kind", f"what is the {colour} thing?", matches[0].kind))

  candidates.append(Candidate("count", "how many things are there?", str(len(things))))
  if len(things) > 1:
    return candidates
  return [candidate for candidate in candidates if candidate.kind != "count"]


def plural(kind: str) -> str:
  """Returns the plural of a kind of thing."""
  return {"box": "boxes", "ball": "balls", "key": "keys"}[kind]
