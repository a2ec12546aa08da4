"""Pages like those of a picture book: a heading, and things of one kind with what they are called, in place.

A kind is a folder of Tux Paint's stamps or a label of CLDR's emoji. Pages of a split are made of stamps and emoji of
that split, so what is held out there was on no page that trains.
"""

import collections
import functools
import pathlib
import random
import re
from collections.abc import Iterator

import numpy as np

from gato_jax.documents import Page, Part
from rlds_builders import _files, _pictures
from rlds_builders.align import stamps
from rlds_builders.ltip import emoji

ROUNDS = 5  # in each of them, every picture is on one page
MOST_PICTURES = 5  # of a page, and now and then one more
_NO_KIND = {"cartoon"}  # folders that say how a stamp is drawn

Thing = tuple[str, pathlib.Path | bytes]  # what it is called, and its picture


def read(task: str, split: str, side: int = 64) -> Iterator[Page]:
  """Pages made of stamps and emoji, the same every time, or a user's; MissingData where there are none here."""
  if task == "files":
    return _files.pages("m3w", split, side)
  return _pages(_things(split), split, _pictures.Gate(f"m3w.pages, {split}", side))


def _things(split: str) -> dict[str, list[Thing]]:
  """Heading -> things below it; what is alone in its kind stands with others under the kind's first word."""
  of_kind = collections.defaultdict(list)
  for stamp in stamps.find("m3w", split):
    kind = tuple(folder for folder in stamp.kind if folder not in _NO_KIND)
    of_kind[kind].append((stamp.caption, stamp.path))
  for one in emoji.find("m3w", split):
    of_kind[one.kind or ("emoji",)].append((one.name, one.png))
  things = collections.defaultdict(list)
  for kind, members in of_kind.items():
    things[_heading(kind if len(members) > 1 else kind[:1])] += members
  return things


def _heading(kind: tuple[str, ...]) -> str:
  """E.g. "Animals: birds"."""
  first, *others = (re.sub(r"[-_]", " ", word.lstrip("0123456789_")) for word in kind)
  return first[0].upper() + first[1:] + (f": {', '.join(others)}" if others else "")


def _pages(things: dict[str, list[Thing]], split: str, gate: _pictures.Gate) -> Iterator[Page]:
  fitted = functools.cache(gate.fit)
  for number in range(ROUNDS):
    draw = random.Random(f"{split} {number}")
    plan = [(heading, some) for heading, all_of_it in things.items() for some in _groups(all_of_it, draw)]
    draw.shuffle(plan)
    for heading, some in plan:
      found = [(name, fitted(picture, name)) for name, picture in some]
      found = [(name, picture) for name, picture in found if picture is not None]
      if found:
        yield Page(_layout(heading, found, draw))
  gate.finish()


def _groups(things: list[Thing], draw: random.Random) -> Iterator[list[Thing]]:
  order = draw.sample(things, len(things))
  while order:
    count = draw.randint(2, MOST_PICTURES)
    count += len(order) == count + 1  # nothing is left alone
    yield order[:count]
    order = order[count:]


def _layout(heading: str, things: list[tuple[str, np.ndarray]], draw: random.Random) -> tuple[Part, ...]:
  """Names below their pictures, or above them, or all names in one line before all pictures."""
  form = draw.choice(("below", "above", "line"))
  if form == "below":
    parts = [part for name, picture in things for part in (picture, f"\n{name}\n\n")]
    return (f"{heading}\n\n", *parts)
  if form == "above":
    first, *others = ((f"{name}\n", picture) for name, picture in things)
    parts = [part for text, picture in others for part in (f"\n\n{text}", picture)]
    return (f"{heading}\n\n{first[0]}", first[1], *parts)
  names = "\n".join(f"{number}. {name}" for number, (name, _) in enumerate(things, 1))
  return (f"{heading}\n\n{names}\n\n", *(picture for _, picture in things))
