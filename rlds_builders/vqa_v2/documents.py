"""Questions about rooms, made from what is in them; only what has exactly one right answer is asked."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import Question
from rlds_builders import _files, _questions, _scenes
from rlds_builders._questions import Candidate


def read(task: str, split: str, side: int) -> Iterator[Question]:
  """Questions of a split.

  Raises:
    MissingData: "files" without files.
    GatoError: an unknown split, a side that is no multiple of 16, or rooms that cannot be drawn here.
  """
  if task == "files":
    yield from _files.questions("vqa_v2", split, side)
    return
  scenes = _scenes.rooms("questions", split, side)
  yield from _questions.ask(scenes, candidates, split, "rooms")


def candidates(scene: _scenes.Scene) -> list[Candidate]:
  """Everything that can be asked about a room."""
  found = _questions.colours_kinds_counts(scene)
  named = [thing for thing in scene.things if scene.named(thing.name)]
  for thing in named:
    found += _what_is(scene, thing)
  for a, b in itertools.permutations(named, 2):
    if _scenes.left_of(a, b):
      found.append(Candidate("order", f"is the {a.name} left of the {b.name}?", "yes"))
      found.append(Candidate("order", f"is the {a.name} right of the {b.name}?", "no"))
      found.append(Candidate("order", f"is the {b.name} left of the {a.name}?", "no"))
      found.append(Candidate("order", f"is the {b.name} right of the {a.name}?", "yes"))
    if _scenes.nearer(a, b):
      found.append(Candidate("depth", f"which is nearer, the {a.name} or the {b.name}?", a.name))
      found.append(Candidate("depth", f"which is nearer, the {b.name} or the {a.name}?", a.name))
  return found


def _what_is(scene: _scenes.Scene, thing: _scenes.Thing) -> Iterator[Candidate]:
  """What is left or right of a thing, where that is exactly one and nothing is half so."""
  others = [other for other in scene.things if other is not thing]
  left = [other for other in others if _scenes.left_of(other, thing)]
  right = [other for other in others if _scenes.left_of(thing, other)]
  if len(left) + len(right) == len(others):
    for side, found in (("left", left), ("right", right)):
      if len(found) == 1:
        yield Candidate("relation", f"what is {side} of the {thing.name}?", found[0].name)
