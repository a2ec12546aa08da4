"""Captions of rooms, made from their contents; every form is something a person would say."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import CaptionedImage
from rlds_builders.files import user_files
from rlds_builders.scenes import contents, sampling

# Captions of an image, at most.
_CAPTIONS = 3
_NUMBERS = ("no", "one", "two", "three", "four")

# Shares of the image's width: a thing "on the left" ends before the first, one "on the right"
# begins behind the second.
_LEFT, _RIGHT = 0.4, 0.6


def read(task: str, split: str, side: int) -> Iterator[CaptionedImage]:
  """Reads captioned images of a split.

  Args:
    task: "scenes" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: "files" without files.
    GatoError: The split is unknown, the side is no multiple of 16, or rooms cannot be drawn here.
  """
  if task == "files":
    yield from user_files.captioned("conceptual_captions", split, side)
    return

  for index, scene in enumerate(contents.rooms("captions", split, side)):
    # dict.fromkeys drops duplicates and keeps the order.
    forms = list(dict.fromkeys(captions(scene)))
    random = contents.generator("captions forms", split, index)
    order = random.permutation(len(forms))[:_CAPTIONS]
    yield CaptionedImage(scene.image, tuple(forms[i] for i in order))


def captions(scene: contents.Scene[contents.Thing]) -> Iterator[str]:
  """Yields every caption that is true of a room, in a fixed order."""
  # From left to right, by their middles.
  things = sorted(scene.things, key=lambda thing: thing.left + thing.right)
  if len(things) == 1:
    yield from _of_single(things[0], len(scene.image))
    return

  some_alike = len({thing.name for thing in things}) < len(things)
  if not some_alike and len(things) < 4:
    yield _listed([f"a {thing.name}" for thing in things])
  yield _counted([thing.kind for thing in things])
  if some_alike:
    yield _counted([thing.name for thing in things])

  for a, b in itertools.permutations(things, 2):
    # Relations name single things only.
    if a.name == b.name or not (scene.named(a.name) and scene.named(b.name)):
      continue

    if contents.left_of(a, b):
      yield f"a {a.name} left of a {b.name}"
      yield f"a {b.name} right of a {a.name}"
    if contents.in_front_of(a, b):
      yield f"a {a.name} in front of a {b.name}"
      yield f"a {b.name} behind a {a.name}"


def _of_single(thing: contents.Thing, width: int) -> Iterator[str]:
  yield f"a {thing.name}"
  yield f"one {thing.name} in a room"
  yield f"there is a {thing.name}"

  if thing.right <= _LEFT * width:
    yield f"a {thing.name} on the left"
  if thing.left >= _RIGHT * width:
    yield f"a {thing.name} on the right"


def _counted(names: list[str]) -> str:
  """Returns e.g. "two boxes and a key"; the largest number comes first."""
  numbers = {name: names.count(name) for name in names}
  ordered = sorted(numbers, key=lambda name: -numbers[name])
  return _listed([_some(numbers[name], name) for name in ordered])


def _some(number: int, name: str) -> str:
  """Returns e.g. "a red box" or "two red boxes"."""
  if number == 1:
    return f"a {name}"

  *colour, kind = name.split()
  return " ".join([_NUMBERS[number], *colour, sampling.plural(kind)])


def _listed(phrases: list[str]) -> str:
  """Returns e.g. "a, b and c"."""
  *first, last = phrases
  return f"{', '.join(first)} and {last}" if first else last
