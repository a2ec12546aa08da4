"""Paths of this machine and of buckets behind one interface.

`path("work/demo")` is a pathlib.Path. `path("gs://lab/demo")` is an etils.epath.Path, which has the
same methods, and functions that take either say `pathlib.Path`. What an object store cannot do is
elsewhere: files that grow (growing.py), locks (bucket_lock.py), directories (`make_directory`).
"""

import contextlib
import functools
import importlib.util
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any, cast

from gato_jax.errors import GatoError

# Without this, epath reads buckets by TensorFlow where that is installed: it has no way to S3, and
# must not be in the process of a simulator.
os.environ.setdefault("EPATH_USE_TF", "false")

# Scheme of an address -> the package that fsspec reads it with.
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
# Packages whose errors are those of a store.
_CLIENTS = ("gcsfs", "google", "aiohttp", "requests", "s3fs", "botocore", "aiobotocore")


def is_remote(path: os.PathLike | str) -> bool:
  """Returns True for an address such as gs://bucket/name."""
  return "://" in os.fspath(path)


def path(text: os.PathLike | str) -> pathlib.Path:
  """Returns a path of this machine or of a bucket.

  Raises:
    GatoError: It is an address of another kind, or the package that reads it is not installed.
  """
  text = os.fspath(text)
  if not is_remote(text):
    return pathlib.Path(text)

  scheme, _, rest = text.partition("://")
  if scheme not in _PACKAGES:
    raise GatoError(
      f"{text}: {scheme}:// is not supported; give a directory of this machine, gs:// or s3://"
    )
  if not rest.strip("/"):
    raise GatoError(f"{text}: names no bucket; give {scheme}://BUCKET/NAME")

  package = _PACKAGES[scheme]
  if importlib.util.find_spec(package) is None:
    raise GatoError(f"{text}: {package} is not installed; run pip install {package}")

  _configure()
  from etils import epath  # slow to import, and needed for buckets alone

  return cast(pathlib.Path, epath.Path(text))


@functools.cache
def _configure() -> None:
  """Sets up fsspec and its clients for this process."""
  import fsspec.config

  # gcsfs logs each error that it raises, with a traceback; `reachable` says it in one line.
  logging.getLogger("gcsfs").setLevel(logging.CRITICAL)

  # Listings are asked for each time: other processes write to the same bucket.
  for protocol in ("gs", "gcs", "s3", "s3a"):
    fsspec.config.conf.setdefault(protocol, {}).setdefault("use_listings_cache", False)


def file_system(address: os.PathLike | str) -> tuple[Any, str]:
  """Returns fsspec's file system of an address, and the address's name in it, "bucket/name"."""
  import fsspec

  _configure()
  scheme, _, name = os.fspath(address).partition("://")
  return fsspec.filesystem(scheme), name


def make_directory(path: pathlib.Path) -> None:
  """Creates a directory and those above it; buckets have names alone and need none.

  fsspec would create a bucket that does not exist, so that a typing error ends in a new one.
  """
  if not is_remote(path):
    path.mkdir(parents=True, exist_ok=True)


def absolute(path: pathlib.Path) -> pathlib.Path:
  """Returns the absolute path; an address is one already."""
  return path if is_remote(path) else path.absolute()


def check_access(path: pathlib.Path, setting: str) -> None:
  """Asks for an address once, so that a wrong one ends in a line before anything has begun.

  Raises:
    GatoError: The bucket does not exist, or may not be listed.
  """
  if not is_remote(path):
    return

  with reachable(f"{setting}={path}"):
    system, name = file_system(path)
    bucket = name.partition("/")[0]
    # An empty bucket has no object to be found, so that only its own listing tells.
    system.ls(bucket)


@contextlib.contextmanager
def reachable(name: str) -> Iterator[None]:
  """Turns the errors of an object store into one line.

  Args:
    name: What was asked for, for the message.

  Raises:
    GatoError: The store answered with an error, or not at all.
  """
  try:
    yield
  except FileNotFoundError as e:
    raise GatoError(
      f"{name}: there is no such bucket or object; create it, or mend the name"
    ) from e
  except Exception as e:
    # gcsfs says "Forbidden" by an OSError without a number.
    is_denied = isinstance(e, PermissionError) or "Forbidden" in str(e)
    # Each store's client has errors of its own, which are imported with it alone.
    is_clients = type(e).__module__.startswith(_CLIENTS)
    if not (is_clients or is_denied or (isinstance(e, OSError) and e.errno is None)):
      raise

    reason = " ".join(str(e).split())[:200] or type(e).__name__
    if is_denied:
      raise GatoError(
        f"{name}: access is denied ({reason}); run `gcloud auth application-default login` or "
        "`aws configure`, or ask for the right to it"
      ) from e
    raise GatoError(f"{name}: cannot be reached ({reason})") from e
