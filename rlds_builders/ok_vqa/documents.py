"""Questions about grids, made from what is in them; only what has exactly one right answer is asked."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import Question
from rlds_builders import _files, _questions, _scenes
from rlds_builders._questions import Candidate

CORNERS = {(0, 0): "top left", (3, 0): "top right", (0, 3): "bottom left", (3, 3): "bottom right"}  # column, row
_BESIDE = {(-1, 0): "left of", (1, 0): "right of", (0, -1): "above", (0, 1): "below"}


def read(task: str, split: str, side: int) -> Iterator[Question]:
  """Questions of a split.

  Raises:
    MissingData: "files" without files.
    GatoError: an unknown split, or a side that is no multiple of 16.
  """
  if task == "files":
    yield from _files.questions("ok_vqa", split, side)
    return
  yield from _questions.ask(_scenes.grids("questions", split, side), candidates, split, "grids")


def candidates(scene: _scenes.Scene) -> list[Candidate]:
  """Everything that can be asked about a grid."""
  found = _questions.colours_kinds_counts(scene)
  for thing in scene.things:
    if (thing.column, thing.row) in CORNERS:
      corner = CORNERS[thing.column, thing.row]
      found.append(Candidate("position", f"what is in the {corner} corner?", thing.name))
    if scene.named(thing.name):
      found += _around(scene, thing)
  for a, b in itertools.permutations(scene.things, 2):
    if scene.named(a.name) and scene.named(b.name):
      found += _order(a, b)
  return found


def _around(scene: _scenes.Scene, thing: _scenes.Piece) -> Iterator[Candidate]:
  for other in scene.things:
    where = _BESIDE.get((other.column - thing.column, other.row - thing.row))
    if where:
      yield Candidate("position", f"what is directly {where} the {thing.name}?", other.name)


def _order(a: _scenes.Piece, b: _scenes.Piece) -> Iterator[Candidate]:
  """Columns decide what is left of what, rows what is above what; in the same one neither is."""
  for first, second, word, opposite in ((a.column, b.column, "left of", "right of"), (a.row, b.row, "above", "below")):
    if first != second:
      yield Candidate("order", f"is the {a.name} {word} the {b.name}?", "yes" if first < second else "no")
      yield Candidate("order", f"is the {a.name} {opposite} the {b.name}?", "yes" if first > second else "no")
