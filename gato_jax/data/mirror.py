"""Datasets in a bucket: what describes them is copied, what they hold is fetched as it is read.

A dataset's description and index are a few small files; its prepared form is one large one. The
mirror of a data directory has the first, and in place of data.bin a file that says where it is
(gato_jax/data/prepared_file.py reads it in pieces). RLDS records stay where they are: training
does not read them.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable

from gato_jax.data.prepared_format import DATA, FOLDER, REMOTE
from gato_jax.storage import copies, files, piece_cache

_COPIED = {"dataset_info.json", "features.json", "metadata.json"}
_PREPARED = {"prepared.json", "index.npy"}


def home(data_dir: os.PathLike | str) -> pathlib.Path:
  """Returns the directory on this machine that stands for an address."""
  key = hashlib.sha256(os.fspath(data_dir).rstrip("/").encode()).hexdigest()[:16]
  return piece_cache.directory() / key


def update(data_dir: os.PathLike | str, domains: Iterable[str]) -> pathlib.Path:
  """Copies the descriptions of datasets that are new or have changed.

  Args:
    data_dir: Address of the data directory.
    domains: Names of the domains whose datasets are wanted.

  Returns:
    The mirror of <data_dir>/tfds on this machine.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  tfds = home(data_dir) / "tfds"

  for domain in sorted(set(domains)):
    address = f"{os.fspath(data_dir).rstrip('/')}/tfds/{domain}"
    objects = copies.listing(address)

    wanted = {}
    for relative, found in objects.items():
      *folders, name = relative.split("/")
      if name in _COPIED or (folders[-1:] == [FOLDER] and name in _PREPARED):
        wanted[relative] = found
    copies.update(tfds / domain, wanted, address)

    for relative, found in objects.items():
      if relative.endswith(f"/{FOLDER}/{DATA}"):
        _write_pointer(tfds / domain / relative, f"{address}/{relative}", found)

    # What the bucket no longer has.
    tasks = {relative.split("/")[0] for relative in wanted}
    for folder in (tfds / domain).iterdir() if (tfds / domain).exists() else ():
      if folder.is_dir() and folder.name not in tasks:
        shutil.rmtree(folder)

  return tfds


def _write_pointer(path: pathlib.Path, address: str, found: copies.Object) -> None:
  """Writes where a dataset's data.bin is; pieces of an earlier one are deleted."""
  pointer = {"address": address, "bytes": found.size, "version": found.version}
  target = path.with_name(REMOTE)
  if target.exists() and json.loads(target.read_text()) == pointer:
    return

  shutil.rmtree(path.with_name("pieces"), ignore_errors=True)
  files.write_json(target, pointer)
