"""Captions of rooms, made from what is in them; every form is something a person would say of the picture."""

import itertools
from collections.abc import Iterator

from gato_jax.documents import Captioned
from rlds_builders import _files, _questions, _scenes

_CAPTIONS = 3  # of a picture, at most
_NUMBERS = ("no", "one", "two", "three", "four")
_LEFT, _RIGHT = 0.4, 0.6  # of the picture's width: a thing that ends before, begins behind


def read(task: str, split: str, side: int) -> Iterator[Captioned]:
  """Captioned pictures of a split.

  Raises:
    MissingData: "files" without files.
    GatoError: an unknown split, a side that is no multiple of 16, or rooms that cannot be drawn here.
  """
  if task == "files":
    yield from _files.captioned("conceptual_captions", split, side)
    return
  for index, scene in enumerate(_scenes.rooms("captions", split, side)):
    forms = list(dict.fromkeys(captions(scene)))
    order = _scenes.generator("captions forms", split, index).permutation(len(forms))
    yield Captioned(scene.picture, tuple(forms[i] for i in order[:_CAPTIONS]))


def captions(scene: _scenes.Scene) -> Iterator[str]:
  """Everything that can be said of a room, in a fixed order."""
  things = sorted(scene.things, key=lambda thing: thing.left + thing.right)
  if len(things) == 1:
    yield from _of_one(things[0], len(scene.picture))
    return
  alike = len({thing.name for thing in things}) < len(things)
  if not alike and len(things) < 4:
    yield _listed([f"a {thing.name}" for thing in things])
  yield _counted([thing.kind for thing in things])
  if alike:
    yield _counted([thing.name for thing in things])
  for a, b in itertools.permutations(things, 2):
    if a.name == b.name or not (scene.named(a.name) and scene.named(b.name)):
      continue
    if _scenes.left_of(a, b):
      yield f"a {a.name} left of a {b.name}"
      yield f"a {b.name} right of a {a.name}"
    if _scenes.in_front_of(a, b):
      yield f"a {a.name} in front of a {b.name}"
      yield f"a {b.name} behind a {a.name}"


def _of_one(thing: _scenes.Thing, width: int) -> Iterator[str]:
  yield f"a {thing.name}"
  yield f"one {thing.name} in a room"
  yield f"there is a {thing.name}"
  if thing.right <= _LEFT * width:
    yield f"a {thing.name} on the left"
  if thing.left >= _RIGHT * width:
    yield f"a {thing.name} on the right"


def _counted(names: list[str]) -> str:
  """ "two boxes and a key": what is more comes first."""
  numbers = {name: names.count(name) for name in names}
  ordered = sorted(numbers, key=lambda name: -numbers[name])
  return _listed([_some(numbers[name], name) for name in ordered])


def _some(number: int, name: str) -> str:
  if number == 1:
    return f"a {name}"
  *colour, kind = name.split()
  return " ".join([_NUMBERS[number], *colour, _questions.plural(kind)])


def _listed(phrases: list[str]) -> str:
  *first, last = phrases
  return f"{', '.join(first)} and {last}" if first else last
