"""Buckets where a verb takes a path: reached before anything begins, or refused in one line."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from absl import flags

from gato_jax.errors import GatoError
from gato_jax.storage import paths

_PATH_VARIABLES = ("GATO_RAW_DIR", "GATO_SOURCES", "GATO_CACHE_DIR")
_NO_PATHS = ("server", "text", "question", "flag", "notify")  # flags that may hold an address

# What may be in a bucket, for the verbs that can read and write there. Checkpoints are what Orbax
# can write, datasets what fsspec can read.
_WORKDIRS = (
  "--config.workdir",
  "--config.fine_tune.start",
  "--config.train.compilation_cache",
  "--results",
  "--checkpoint",
)
_ALLOWED = {name: ("gs",) for name in _WORKDIRS} | {"--config.data_dir": ("gs", "s3")}


def check(buckets: bool, reaches: bool = True) -> None:
  """Checks addresses such as gs://lab/demo in flags, settings and environment variables of ours.

  pathlib would take "gs://lab" for a directory called "gs:". All flags are checked, so that no verb
  can forget one.

  Args:
    buckets: True for a verb that reads and writes buckets.
    reaches: True to ask each bucket once.

  Raises:
    GatoError: A value is an address where a local path is needed, or a bucket cannot be reached.
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
    if not paths.is_remote(text):
      continue

    schemes = _ALLOWED.get(name, ()) if buckets else ()
    if text.partition("://")[0] not in schemes:
      raise GatoError(f"{name}={text}: {_advice(name, schemes)}")
    if reaches:
      paths.check_access(paths.path(text), name)


def _advice(name: str, schemes: tuple[str, ...]) -> str:
  if schemes:
    kinds = " and ".join(f"{scheme}://" for scheme in schemes)
    return f"only {kinds} can be read and written here; give one, or a directory of this machine"

  if name == "--config.data_dir":
    return (
      "this verb works on a directory of this machine: collect and build there, then copy it, e.g. "
      "gcloud storage rsync -r data gs://BUCKET/data"
    )
  return (
    "buckets and other addresses are not supported here; give a directory of this machine, for "
    "example a copy (gcloud storage rsync -r gs://BUCKET/NAME NAME)"
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
