"""Tux Paint's stamps: NAME.png, and NAME.txt whose first line is what it is in English, by kind in folders."""

import dataclasses
import pathlib

from gato_jax.errors import MissingData
from rlds_builders import _lines, _sources

FOLDER = pathlib.Path("/usr/share/tuxpaint/stamps")


@dataclasses.dataclass(frozen=True)
class Stamp:
  """kind: the folders it lies in, e.g. ("animals", "birds")."""

  path: pathlib.Path
  caption: str
  kind: tuple[str, ...]


def find(domain: str, split: str) -> list[Stamp]:
  """Stamps of a split in the order of their paths, without those that nobody described, which are mirrored ones.

  The path says which split a stamp is of. domain: who asks, for the message.

  Raises:
    MissingData: they are not installed. GatoError: unknown split.
  """
  _sources.check_split(split)
  if not FOLDER.is_dir():
    raise MissingData(f"{domain}: {FOLDER} is not there; run apt-get install tuxpaint-stamps-default")
  found = []
  for path in sorted(FOLDER.rglob("*.png")):
    description = path.with_suffix(".txt")
    relative = path.relative_to(FOLDER)
    if description.exists() and _sources.is_validation(relative.as_posix()) == (split == "validation"):
      with _lines.faults_of(description), _lines.opened(description) as file:
        found.append(Stamp(path, file.readline().strip(), relative.parent.parts))
  return found
