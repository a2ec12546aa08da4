"""Questions about rooms, made from their contents; each has exactly one right answer."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import Question
from rlds_builders.files import user_files
from rlds_builders.scenes import contents, sampling
from rlds_builders.scenes.sampling import Candidate


def read(task: str, split: str, side: int) -> Iterator[Question]:
  """Reads questions of a split.

  Args:
    task: "scenes" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: "files" without files.
    GatoError: The split is unknown, the side is no multiple of 16, or rooms cannot be drawn here.
  """
  if task == "files":
    yield from user_files.questions("vqa_v2", split, side)
    return

  scenes = contents.rooms("questions", split, side)
  yield from sampling.ask(scenes, candidates, split=split, stream="rooms")


def candidates(scene: contents.Scene[contents.Thing]) -> list[Candidate]:
  """Returns every question that can be asked about a room."""
  questions = sampling.colours_kinds_counts(scene)

  # Only things whose name says which one is meant.
  named = [thing for thing in scene.things if scene.named(thing.name)]
  for thing in named:
    questions += _neighbours(scene, thing)

  for a, b in itertools.permutations(named, 2):
    x, y = a.name, b.name
    if contents.left_of(a, b):
      questions.append(Candidate("order", f"is the {x} left of the {y}?", "yes"))
      questions.append(Candidate("order", f"is the {x} right of the {y}?", "no"))
      questions.append(Candidate("order", f"is the {y} left of the {x}?", "no"))
      questions.append(Candidate("order", f"is the {y} right of the {x}?", "yes"))
    if contents.nearer(a, b):
      questions.append(Candidate("depth", f"which is nearer, the {x} or the {y}?", x))
      questions.append(Candidate("depth", f"which is nearer, the {y} or the {x}?", x))
  return questions


def _neighbours(
  scene: contents.Scene[contents.Thing], thing: contents.Thing
) -> Iterator[Candidate]:
  """Yields what is left or right of a thing, where that is exactly one other thing."""
  others = [other for other in scene.things if other is not thing]
  left = [other for other in others if contents.left_of(other, thing)]
  right = [other for other in others if contents.left_of(thing, other)]

  # A thing that overlaps with this one might count as either.
  if len(left) + len(right) < len(others):
    return

  for side, things in (("left", left), ("right", right)):
    if len(things) == 1:
      yield Candidate("relation", f"what is {side} of the {thing.name}?", things[0].name)
