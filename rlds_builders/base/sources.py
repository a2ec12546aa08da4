"""Finds the files that a domain's documents are made from, and assigns them to splits.

The files of a domain lie in GATO_SOURCES/DOMAIN, by default data/sources/DOMAIN, in subdirectories
too. A file whose path below that directory says val, validation or test belongs to the validation
split, and then all others belong to the train split. Where no file says so, one document in 20
belongs to the validation split, by hash of its key.
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
from rlds_builders.base import skip_counter

VALIDATION_ONE_IN = 20

# Endings of compressed files: the ending before tells more about the content.
_PACKED = (".gz", ".zst", ".bz2", ".xz")

# Images lie beside the files that name them, so they are not reported as unread.
_IMAGES = frozenset(
  ".bmp .dib .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
_NOTE = re.compile(r"^(readme|licen[cs]e|copying|citation)|\.(md|md5|sha1|sha256|py|sh)$")
_VALIDATION_PATH = re.compile(r"(?<![a-z])(val|validation|test)(?![a-z])")


def sources_directory() -> pathlib.Path:
  """Returns the directory of all domains' source files."""
  return pathlib.Path(os.environ.get("GATO_SOURCES", "data/sources"))


def is_validation(key: str) -> bool:
  """Returns True for one key in `VALIDATION_ONE_IN`, by hash."""
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:8], "big") % VALIDATION_ONE_IN == 0


def check_split(split: str) -> None:
  """Raises GatoError unless `split` is a split of documents."""
  if split not in SPLITS:
    raise GatoError(f"unknown split of documents: {split!r}; use one of {SPLITS}")


@dataclasses.dataclass(frozen=True)
class SourceFile:
  """Files of a domain that may hold documents of a split.

  Attributes:
    directory: The domain's directory of source files.
    files: Paths below it, in sorted order.
    split: "train" or "validation".
    by_hash: True when each file holds documents of both splits.
  """

  directory: pathlib.Path
  files: tuple[pathlib.Path, ...]
  split: str
  by_hash: bool

  def takes(self, key: str) -> bool:
    """Returns True when the document of that key belongs to the split."""
    return not self.by_hash or is_validation(key) == (self.split == "validation")

  def key(self, path: pathlib.Path) -> str:
    """Returns a key of a file that is the same wherever the directory lies."""
    return path.relative_to(self.directory).as_posix()


def find(
  domain: str,
  split: str,
  endings: Sequence[str],
  holds: str,
  read_with_them: Sequence[str] = (),
) -> SourceFile:
  """Finds the files with one of the endings, in subdirectories too, in the order of their paths.

  Files that look like data, but are not read, are reported on stderr once.

  Args:
    domain: Name of the domain, and of its directory of source files.
    split: "train" or "validation".
    endings: Endings of the files, in lower case.
    holds: What the files are, for messages.
    read_with_them: Endings of other files that the reader opens.

  Raises:
    MissingData: There are none.
    GatoError: Unknown split.
  """
  check_split(split)
  directory = sources_directory() / domain
  all_files = sorted(_walk(directory))
  selected = [path for path in all_files if path.name.lower().endswith(tuple(endings))]
  unread = _unread(directory, set(all_files) - set(selected), tuple(read_with_them))

  if not selected:
    state = "holds no such file" if directory.is_dir() else "is not there"
    others = f", but {unread}" if unread else ""
    raise MissingData(
      f"{domain}: {directory} {state}{others}; put {holds} there "
      f"(rlds_builders/{domain}/README.md) and run python -m experiments.build"
    )
  if unread:
    _tell_once(f"{domain}: not read in {directory}: {unread}; what is read is {holds.rstrip(',')}")

  # As soon as one path names the validation split, paths decide for all files.
  validation_files = set()
  for path in selected:
    if _VALIDATION_PATH.search(path.relative_to(directory).as_posix().lower()):
      validation_files.add(path)

  if validation_files:
    wanted = split == "validation"
    selected = [path for path in selected if (path in validation_files) == wanted]
    if not selected:
      raise MissingData(
        f"{domain}: all files in {directory} say that they are for validation, none is for training"
      )

  return SourceFile(directory, tuple(selected), split=split, by_hash=not validation_files)


def _unread(
  directory: pathlib.Path, files: Iterable[pathlib.Path], read_with_them: tuple[str, ...]
) -> str:
  """Returns a count per ending of the files that are neither read nor images nor notes, or ""."""
  files_of_ending = collections.defaultdict(list)
  for path in sorted(files):
    name = path.name.lower()
    if path.suffix.lower() in _IMAGES or _NOTE.search(name) or name.endswith(read_with_them):
      continue

    # Two endings of a compressed file, e.g. ".csv.gz".
    count = 2 if path.suffix.lower() in _PACKED else 1
    ending = "".join(path.with_name(name).suffixes[-count:])
    files_of_ending[ending].append(path.relative_to(directory).as_posix())

  parts = []
  for ending, paths in files_of_ending.items():
    more = ", ..." if len(paths) > 1 else ""
    parts.append(f"{len(paths):,} {ending or 'without an ending'} ({paths[0]}{more})")
  return ", ".join(parts)


# Cached, since both splits are read in one process.
_tell_once = functools.cache(skip_counter.tell)


def _walk(directory: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields all files, links followed, each directory once, without what is hidden."""
  seen = set()
  for parent, subdirectories, names in os.walk(directory, followlinks=True):
    # A link to a directory above would otherwise be followed forever.
    real = os.path.realpath(parent)
    if real in seen:
      subdirectories.clear()
      continue
    seen.add(real)

    # macOS leaves a hidden "._a.txt" beside "a.txt". Assigning in place prunes the walk.
    subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
    for name in names:
      if not name.startswith("."):
        yield pathlib.Path(parent, name)
