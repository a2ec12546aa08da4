"""Pages like those of a picture book: a heading, and things of one kind with their names.

A kind is a folder of Tux Paint's stamps or a label of CLDR's emoji. Pages of a split are made of
stamps and emoji of that split, so what is held out there was on no page that trains.
"""

import collections
import functools
import pathlib
import random
import re
from collections.abc import Iterator

import numpy as np

from gato_jax.documents import Page, Part
from rlds_builders.files import emoji, images, stamps, user_files

# In each round, every image is on one page.
ROUNDS = 5

# Images of a page; one more where one would be left alone otherwise.
MOST_PICTURES = 5

# Folders that say how a stamp is drawn, not what it shows.
_NO_KIND = {"cartoon"}

# A thing's name, and its image file.
Thing = tuple[str, pathlib.Path | bytes]


def read(task: str, split: str, side: int = 64) -> Iterator[Page]:
  """Reads pages made of stamps and emoji, the same every time, or a user's.

  Args:
    task: "pages" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none on this machine.
  """
  if task == "files":
    return user_files.pages("m3w", split, side)

  counter = images.ImageSkipCounter(f"m3w.pages, {split}", side)
  return _pages(_things(split), split, counter)


def _things(split: str) -> dict[str, list[Thing]]:
  """Returns the things below each heading.

  What is alone in its kind stands with others under the kind's first word.
  """
  things_of_kind: dict[tuple[str, ...], list[Thing]] = collections.defaultdict(list)
  for stamp in stamps.find("m3w", split):
    kind = tuple(folder for folder in stamp.kind if folder not in _NO_KIND)
    things_of_kind[kind].append((stamp.caption, stamp.path))
  for character in emoji.find("m3w", split):
    things_of_kind[character.kind or ("emoji",)].append((character.name, character.png))

  things: dict[str, list[Thing]] = collections.defaultdict(list)
  for kind, members in things_of_kind.items():
    heading = _heading(kind if len(members) > 1 else kind[:1])
    things[heading] += members
  return things


def _heading(kind: tuple[str, ...]) -> str:
  """Returns the heading of a kind, e.g. "Animals: birds"."""
  # Folders may begin with numbers that only sort them.
  words = [re.sub(r"[-_]", " ", word.lstrip("0123456789_")) for word in kind]
  first, *others = words

  heading = first[0].upper() + first[1:]
  if others:
    heading += f": {', '.join(others)}"
  return heading


def _pages(
  things: dict[str, list[Thing]], split: str, counter: images.ImageSkipCounter
) -> Iterator[Page]:
  # Cached, so that an image is decoded, and a bad one is counted, once for all rounds.
  fit = functools.cache(counter.fit)

  for number in range(ROUNDS):
    draw = random.Random(f"{split} {number}")
    plan = []
    for heading, members in things.items():
      for group in _groups(members, draw):
        plan.append((heading, group))
    draw.shuffle(plan)

    for heading, group in plan:
      fitted = []
      for name, file in group:
        image = fit(file, name)
        if image is not None:
          fitted.append((name, image))
      if fitted:
        yield Page(_layout(heading, fitted, draw))

  counter.finish()


def _groups(things: list[Thing], draw: random.Random) -> Iterator[list[Thing]]:
  """Yields all things in groups of two to MOST_PICTURES, in random order."""
  order = draw.sample(things, len(things))
  while order:
    count = draw.randint(2, MOST_PICTURES)
    # A single thing that would be left joins this group.
    if len(order) == count + 1:
      count += 1
    yield order[:count]
    order = order[count:]


def _layout(
  heading: str, things: list[tuple[str, np.ndarray]], draw: random.Random
) -> tuple[Part, ...]:
  """Returns the segments of a page.

  Names stand below their images, or above them, or in one list before all images.
  """
  form = draw.choice(("below", "above", "line"))

  if form == "below":
    parts: list[Part] = [f"{heading}\n\n"]
    for name, image in things:
      parts += [image, f"\n{name}\n\n"]
    return tuple(parts)

  if form == "above":
    # The first name continues the text of the heading.
    parts = []
    before = f"{heading}\n\n"
    for name, image in things:
      parts += [f"{before}{name}\n", image]
      before = "\n\n"
    return tuple(parts)

  names = "\n".join(f"{number}. {name}" for number, (name, _) in enumerate(things, 1))
  return (f"{heading}\n\n{names}\n\n", *(image for _, image in things))
