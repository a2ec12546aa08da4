"""Copies of many small objects of a bucket on this machine, and of files in a bucket."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.storage import files, paths

_VERSIONS = ".versions.json"  # in a directory of copies: name -> version of what was copied


@dataclasses.dataclass(frozen=True)
class Object:
  """An object of a bucket.

  Attributes:
    name: Its name in the file system of its bucket, "bucket/name".
    size: Bytes.
    version: Changes when the object is replaced.
  """

  name: str
  size: int
  version: str


def listing(address: os.PathLike | str) -> dict[str, Object]:
  """Returns all objects below an address, by their names relative to it.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  system, name = paths.file_system(address)
  prefix = name.rstrip("/") + "/"

  with paths.reachable(str(address)):
    details = system.find(prefix.rstrip("/"), detail=True)
  return {
    key.removeprefix(prefix): Object(key, int(info["size"]), _version(info))
    for key, info in details.items()
    if key.startswith(prefix)
  }


def _version(info: Mapping[str, Any]) -> str:
  for part in ("etag", "ETag", "generation", "md5Hash"):
    if info.get(part):
      return str(info[part])
  raise GatoError(f"{info.get('name')}: the store names no version of its objects")


def update(folder: pathlib.Path, objects: Mapping[str, Object], address: str) -> None:
  """Copies the objects that are new or have changed since they were copied.

  Args:
    folder: Where they go, by their relative names.
    objects: Relative name -> object.
    address: Of the bucket, for its file system and for messages.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  known_path = folder / _VERSIONS
  known = files.read_json(known_path, "delete it") if known_path.exists() else {}
  changed = {
    relative: stored
    for relative, stored in objects.items()
    if known.get(relative) != stored.version or not (folder / relative).exists()
  }
  if not changed:
    return

  # Many small objects at a time: one after the other they would take a minute.
  system, _ = paths.file_system(address)
  with paths.reachable(address):
    contents = system.cat([stored.name for stored in changed.values()], on_error="raise")
  for relative, stored in changed.items():
    files.write(folder / relative, contents[stored.name])

  versions = {relative: stored.version for relative, stored in objects.items()}
  files.write(known_path, json.dumps(known | versions))


def upload(folder: pathlib.Path, address: str, names: Iterable[pathlib.Path]) -> None:
  """Copies files of a directory below an address.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  for path in names:
    relative = path.relative_to(folder).as_posix()
    files.write(paths.path(f"{address.rstrip('/')}/{relative}"), path.read_bytes())
