"""Reads Tux Paint's stamps, in folders by kind.

NAME.png is the image, and the first line of NAME.txt says in English what is on it.
"""

import dataclasses
import pathlib

from gato_jax.errors import MissingData
from rlds_builders.base import sources
from rlds_builders.files import streams

FOLDER = pathlib.Path("/usr/share/tuxpaint/stamps")


@dataclasses.dataclass(frozen=True)
class Stamp:
  """A captioned image.

  Attributes:
    path: Path of the image.
    caption: What is on it.
    kind: The folders that it lies in, e.g. ("animals", "birds").
  """

  path: pathlib.Path
  caption: str
  kind: tuple[str, ...]


def find(domain: str, split: str) -> list[Stamp]:
  """Returns the stamps of a split in the order of their paths.

  The hash of a stamp's path decides its split. Those without a description are left out: they are
  mirrored ones.

  Args:
    domain: Name of the domain that reads them, for messages.
    split: "train" or "validation".

  Raises:
    MissingData: They are not installed.
    GatoError: Unknown split.
  """
  sources.check_split(split)
  if not FOLDER.is_dir():
    raise MissingData(
      f"{domain}: {FOLDER} is not there; run apt-get install tuxpaint-stamps-default"
    )

  stamps = []
  for path in sorted(FOLDER.rglob("*.png")):
    description = path.with_suffix(".txt")
    relative = path.relative_to(FOLDER)
    in_split = sources.is_validation(relative.as_posix()) == (split == "validation")
    if not in_split or not description.exists():
      continue

    with streams.faults_of(description), streams.opened(description) as file:
      caption = file.readline().strip()
    stamps.append(Stamp(path, caption, kind=relative.parent.parts))
  return stamps
