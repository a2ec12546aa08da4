"""Questions about grids, made from their contents; each has exactly one right answer."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import Question
from rlds_builders.files import user_files
from rlds_builders.scenes import contents, sampling
from rlds_builders.scenes.sampling import Candidate

# (column, row) -> name of the corner.
CORNERS = {
  (0, 0): "top left",
  (3, 0): "top right",
  (0, 3): "bottom left",
  (3, 3): "bottom right",
}

# (columns, rows) from a cell to its neighbour -> name of the relation.
_BESIDE = {(-1, 0): "left of", (1, 0): "right of", (0, -1): "above", (0, 1): "below"}


def read(task: str, split: str, side: int) -> Iterator[Question]:
  """Reads questions of a split.

  Args:
    task: "grids" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: "files" without files.
    GatoError: The split is unknown, or the side is no multiple of 16.
  """
  if task == "files":
    yield from user_files.questions("ok_vqa", split, side)
    return

  scenes = contents.grids("questions", split, side)
  yield from sampling.ask(scenes, candidates, split=split, stream="grids")


def candidates(scene: contents.Scene[contents.Piece]) -> list[Candidate]:
  """Returns every question that can be asked about a grid."""
  questions = sampling.colours_kinds_counts(scene)

  for piece in scene.things:
    corner = CORNERS.get((piece.column, piece.row))
    if corner:
      questions.append(Candidate("position", f"what is in the {corner} corner?", piece.name))
    # Only pieces whose name says which one is meant.
    if scene.named(piece.name):
      questions += _neighbours(scene, piece)

  for a, b in itertools.permutations(scene.things, 2):
    if scene.named(a.name) and scene.named(b.name):
      questions += _order(a, b)
  return questions


def _neighbours(
  scene: contents.Scene[contents.Piece], piece: contents.Piece
) -> Iterator[Candidate]:
  """Yields what is in the four cells beside a piece."""
  for other in scene.things:
    where = _BESIDE.get((other.column - piece.column, other.row - piece.row))
    if where:
      question = f"what is directly {where} the {piece.name}?"
      yield Candidate("position", question, other.name)


def _order(a: contents.Piece, b: contents.Piece) -> Iterator[Candidate]:
  """Yields questions about the order of two pieces.

  Columns decide "left of", and rows decide "above"; within the same one nothing is asked.
  """
  axes = (
    (a.column, b.column, "left of", "right of"),
    (a.row, b.row, "above", "below"),
  )
  for first, second, relation, opposite in axes:
    if first == second:
      continue

    is_first = "yes" if first < second else "no"
    is_second = "yes" if first > second else "no"
    yield Candidate("order", f"is the {a.name} {relation} the {b.name}?", is_first)
    yield Candidate("order", f"is the {a.name} {opposite} the {b.name}?", is_second)
