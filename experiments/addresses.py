"""Buckets and other addresses where a verb takes a path: refused until they work."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from absl import flags

from gato_jax.errors import GatoError

_PATH_VARIABLES = ("GATO_RAW_DIR", "GATO_SOURCES")
_NO_PATHS = ("server", "text", "question", "flag")  # flags that may hold an address


def refuse() -> None:
  """Raises GatoError where a flag, a setting or one of our variables is gs:// or the like instead of a local path.

  pathlib would take it for a folder called "gs:". All of them are looked at, so that no verb can forget one.
  """
  given = {f"--{name}": flags.FLAGS[name].value for name in flags.FLAGS if name not in _NO_PATHS}
  given |= {name: value for name, value in os.environ.items() if name in _PATH_VARIABLES}
  for name, value in _texts(given):
    if "://" in value:
      raise GatoError(
        f"{name}={value}: buckets and other addresses are not supported; give a folder of this machine, for example "
        "where the bucket is mounted"
      )


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
  """(name, text) of every text in nested settings and lists: "--config.data_dir"."""
  if isinstance(value, ml_collections.ConfigDict):
    value = value.to_dict()
  if isinstance(value, Mapping):
    for key, inner in value.items():
      yield from _texts(inner, f"{name}.{key}" if name else key)
  elif isinstance(value, list | tuple):
    for inner in value:
      yield from _texts(inner, name)
  elif isinstance(value, str):
    yield name, value
