"""Where users have what documents are made of, and of which split a file or a document is.

The files of a domain lie in GATO_SOURCES/DOMAIN, by default data/sources/DOMAIN, in subfolders too. A file whose path
below that folder says val, validation or test is of the validation split, and then all others are of the train split.
Where no file says so, one document in 20 is of the validation split, by hash of its key.
"""

import collections
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from gato_jax.documents import SPLITS
from gato_jax.errors import GatoError, MissingData
from rlds_builders import _gate

VALIDATION_ONE_IN = 20
_PACKED = (".gz", ".zst", ".bz2", ".xz")  # the ending before says more
_PICTURES = frozenset(
  ".bmp .dib .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)  # beside what names them
_NOTE = re.compile(r"^(readme|licen[cs]e|copying|citation)|\.(md|md5|sha1|sha256|py|sh)$")
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


def find(domain: str, split: str, endings: Sequence[str], holds: str, read_with_them: Sequence[str] = ()) -> Found:
  """Finds the files with one of the endings, in subfolders too, in the order of their paths.

  Files that look like data, but are not read, are named on stderr once.

  Args:
    domain: the folder.
    split: "train" or "validation".
    endings: of the files.
    holds: what they are, in words.
    read_with_them: endings of other files that the reader opens.

  Raises:
    MissingData: there are none. GatoError: unknown split.
  """
  check_split(split)
  directory = sources_directory() / domain
  files = sorted(_walk(directory))
  found = [path for path in files if path.name.lower().endswith(tuple(endings))]
  unread = _unread(directory, set(files) - set(found), tuple(read_with_them))

  if not found:
    state = "holds no such file" if directory.is_dir() else "is not there"
    others = f", but {unread}" if unread else ""
    raise MissingData(
      f"{domain}: {directory} {state}{others}; put {holds} there (rlds_builders/{domain}/README.md) and run "
      "python -m experiments.build"
    )
  if unread:
    _tell_once(f"{domain}: not read in {directory}: {unread}; what is read is {holds.rstrip(',')}")

  said = {p for p in found if _SAYS_VALIDATION.search(p.relative_to(directory).as_posix().lower())}
  if said:
    found = [p for p in found if (p in said) == (split == "validation")]
    if not found:
      raise MissingData(f"{domain}: all files in {directory} say that they are for validation, none is for training")
  return Found(directory, tuple(found), split, by_hash=not said)


def _unread(directory: pathlib.Path, files: Iterable[pathlib.Path], read_with_them: tuple[str, ...]) -> str:
  """Returns how many files of each ending are neither read nor pictures nor notes, in words, or ""."""
  of_ending = collections.defaultdict(list)
  for path in sorted(files):
    name = path.name.lower()
    if path.suffix.lower() in _PICTURES or _NOTE.search(name) or name.endswith(read_with_them):
      continue
    kept = 2 if path.suffix.lower() in _PACKED else 1
    of_ending["".join(path.with_name(name).suffixes[-kept:])].append(path.relative_to(directory).as_posix())

  return ", ".join(
    f"{len(paths):,} {ending or 'without an ending'} ({paths[0]}{', ...' if len(paths) > 1 else ''})"
    for ending, paths in of_ending.items()
  )


_tell_once = functools.cache(_gate.tell)  # both splits are read in one process


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
