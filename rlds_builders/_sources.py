"""Where users have what documents are made of, and of which split a file or a document is.

The files of a domain lie in GATO_SOURCES/DOMAIN, by default data/sources/DOMAIN, in subfolders too. A file whose path
below that folder says val, validation or test is of the validation split, and then all others are of the train split.
Where no file says so, one document in 20 is of the validation split, by hash of its key.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from gato_jax.documents import SPLITS
from gato_jax.errors import GatoError, MissingData

VALIDATION_ONE_IN = 20
_SAYS_VALIDATION = re.compile(r"(?<![a-z])(val|validation|test)(?![a-z])")


def sources_directory() -> pathlib.Path:
  return pathlib.Path(os.environ.get("GATO_SOURCES", "data/sources"))


def is_validation(key: str) -> bool:
  """One key in `VALIDATION_ONE_IN`, by hash."""
  return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % VALIDATION_ONE_IN == 0


def check_split(split: str) -> None:
  """GatoError unless it is one."""
  if split not in SPLITS:
    raise GatoError(f"unknown split of documents: {split!r}; use one of {SPLITS}")


@dataclasses.dataclass(frozen=True)
class Found:
  """Files of a domain that may hold documents of a split; by_hash: each of them holds documents of both."""

  directory: pathlib.Path
  files: tuple[pathlib.Path, ...]
  split: str
  by_hash: bool

  def takes(self, key: str) -> bool:
    return not self.by_hash or is_validation(key) == (self.split == "validation")

  def key(self, path: pathlib.Path) -> str:
    """The same wherever the folder lies."""
    return path.relative_to(self.directory).as_posix()


def find(domain: str, split: str, endings: Sequence[str], holds: str) -> Found:
  """Files with one of the endings, in subfolders too, in the order of their paths; holds: what they are, in words.

  Raises:
    MissingData: there are none. GatoError: unknown split.
  """
  check_split(split)
  directory = sources_directory() / domain
  found = sorted(path for path in _walk(directory) if path.name.lower().endswith(tuple(endings)))
  if not found:
    state = "holds no such file" if directory.is_dir() else "is not there"
    raise MissingData(
      f"{domain}: {directory} {state}; put {holds} there (rlds_builders/{domain}/README.md) and run "
      "python -m experiments.build"
    )
  said = {p for p in found if _SAYS_VALIDATION.search(p.relative_to(directory).as_posix().lower())}
  if said:
    found = [p for p in found if (p in said) == (split == "validation")]
    if not found:
      raise MissingData(f"{domain}: all files in {directory} say that they are for validation, none is for training")
  return Found(directory, tuple(found), split, by_hash=not said)


def _walk(directory: pathlib.Path) -> Iterator[pathlib.Path]:
  """Files, links followed, each folder once, without what is hidden: macOS leaves "._a.txt" beside "a.txt"."""
  seen = set()
  for folder, below, names in os.walk(directory, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:
      below.clear()
      continue
    seen.add(real)
    below[:] = [name for name in below if not name.startswith(".")]
    yield from (pathlib.Path(folder, name) for name in names if not name.startswith("."))
