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
from collections.abc import Iterable, Mapping
from typing import Any

from gato_jax.data.prepared_format import DATA, FOLDER, REMOTE
from gato_jax.errors import GatoError
from gato_jax.storage import files, paths, piece_cache

_COPIED = ("dataset_info.json", "features.json", "metadata.json")
_PREPARED = ("prepared.json", "index.npy")
_LISTING = "listing.json"  # name -> version of what was copied


def home(data_dir: pathlib.Path) -> pathlib.Path:
  """Returns the directory on this machine that stands for an address."""
  key = hashlib.sha256(os.fspath(data_dir).rstrip("/").encode()).hexdigest()[:16]
  return piece_cache.directory() / key


def update(data_dir: pathlib.Path, domains: Iterable[str]) -> pathlib.Path:
  """Copies the descriptions of datasets that are new or have changed.

  Args:
    data_dir: Address of the data directory.
    domains: Names of the domains whose datasets are wanted.

  Returns:
    The mirror of <data_dir>/tfds on this machine.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  system, name = paths.file_system(data_dir)
  tfds = home(data_dir) / "tfds"

  listing_path = home(data_dir) / _LISTING
  before = files.read_json(listing_path, "delete it") if listing_path.exists() else {}

  now: dict[str, str] = {}
  changed: dict[str, str] = {}
  with paths.reachable(str(data_dir)):
    for domain in sorted(set(domains)):
      found = system.find(f"{name}/tfds/{domain}", detail=True)
      for object_name, info in found.items():
        relative = object_name.removeprefix(f"{name}/tfds/")
        parts = relative.split("/")
        if parts[-1] not in _COPIED and parts[-2:-1] != [FOLDER]:
          continue

        now[relative] = _version(info)
        if parts[-1] == DATA:
          _write_pointer(tfds / relative, f"{data_dir}/tfds/{relative}", info)
        elif parts[-1] in (*_COPIED, *_PREPARED):
          if before.get(relative) != now[relative] or not (tfds / relative).exists():
            changed[relative] = object_name

    if changed:
      # Many small objects at a time: one after the other they would take a minute.
      contents = system.cat(list(changed.values()), on_error="raise")
      for relative, object_name in changed.items():
        files.write(tfds / relative, contents[object_name])

  _delete_gone(tfds, domains, now)
  # Other domains of the same directory were looked at by other configs.
  kept = {
    relative: version
    for relative, version in before.items()
    if relative.split("/")[0] not in set(domains)
  }
  files.write_json(listing_path, kept | now, indent=None)
  return tfds


def _version(info: Mapping[str, Any]) -> str:
  """Returns what changes when an object is replaced."""
  for part in ("etag", "ETag", "generation", "md5Hash"):
    if info.get(part):
      return str(info[part])
  raise GatoError(f"{info.get('name')}: the store names no version of its objects")


def _write_pointer(path: pathlib.Path, address: str, info: Mapping[str, Any]) -> None:
  """Writes where a dataset's data.bin is; pieces of an earlier one are deleted."""
  pointer = {"address": address, "bytes": int(info["size"]), "version": _version(info)}
  target = path.with_name(REMOTE)
  if target.exists() and json.loads(target.read_text()) == pointer:
    return

  shutil.rmtree(path.with_name("pieces"), ignore_errors=True)
  files.write_json(target, pointer)


def _delete_gone(tfds: pathlib.Path, domains: Iterable[str], now: Mapping[str, str]) -> None:
  """Deletes the mirrors of datasets that the bucket no longer has."""
  there = {tuple(relative.split("/")[:2]) for relative in now}

  for domain in set(domains):
    folder = tfds / domain
    for task in folder.iterdir() if folder.exists() else ():
      if (domain, task.name) not in there:
        shutil.rmtree(task)
