"""Refuses buckets and other addresses where a verb takes a path, until they work."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from absl import flags

from gato_jax.errors import GatoError

_PATH_VARIABLES = ("GATO_RAW_DIR", "GATO_SOURCES")
_NO_PATHS = ("server", "text", "question", "flag")  # flags that may hold an address


def refuse() -> None:
  """Refuses addresses such as gs:// in flags, settings and environment variables of ours.

  pathlib would take "gs://bucket" for a directory called "gs:". All flags are checked, so that no
  verb can forget one.

  Raises:
    GatoError: A value is an address instead of a local path.
  """
  values: dict[str, Any] = {}
  for name in flags.FLAGS:
    if name not in _NO_PATHS:
      values[f"--{name}"] = flags.FLAGS[name].value

  for name in _PATH_VARIABLES:
    if name in os.environ:
      values[name] = os.environ[name]

  # --config is one of the flags, so that its settings are checked as well.
  for name, text in _texts(values):
    if "://" in text:
      raise GatoError(
        f"{name}={text}: buckets and other addresses are not supported; give a folder of this "
        "machine, for example where the bucket is mounted"
      )


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
  """Yields (name, text) of every string in nested settings and lists, e.g. "--config.data_dir"."""
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
