"""Files of raw logs: EnvLogger writes them, and TFDS where EnvLogger cannot be had.

A run is what one writer wrote, and a shard has runs of one format only:

  riegeli        metadata.riegeli       one for all runs of the shard
                 <time>/*.riegeli       EnvLogger's steps
  array_record   <time>/log-train.array_record-00000, features.json, dataset_info.json
                                        RLDS episodes, which tfds.builder_from_directory opens

EnvLogger has wheels for Python 3.11 on Linux, and for 3.12 and 3.13 where glibc is 2.38 or newer.
Either format gives back the same columns, value for value (tests/env/test_log_files.py).
"""

import importlib.util
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import dm_env

from gato_jax.env import envlogger_files, log_columns

RIEGELI = "riegeli"
ARRAY_RECORD = "array_record"


class LogRun(Protocol):
  """A run that is being written.

  Attributes:
    environment: The environment with a logger around it. It logs each episode that ends.
  """

  environment: Any

  def close(self) -> pathlib.Path:
    """Closes the files, not the environment; returns the run's directory."""


def default_format() -> str:
  """Returns the format in which new shards are written on this machine."""
  return RIEGELI if importlib.util.find_spec("envlogger") else ARRAY_RECORD


def format_of(shard: pathlib.Path) -> str | None:
  """Returns the format of a shard's runs; None if it has none yet."""
  if (shard / envlogger_files.METADATA).exists():
    return RIEGELI
  return ARRAY_RECORD if any(shard.glob(f"*/*.{ARRAY_RECORD}-*")) else None


def is_log(path: pathlib.Path) -> bool:
  """Returns whether a file of a shard holds steps or describes them."""
  return path.suffix == f".{RIEGELI}" or f".{ARRAY_RECORD}-" in path.name


def open_run(
  directory: pathlib.Path,
  file_format: str,
  environment: dm_env.Environment,
  expert_action: Callable[[], Any] | None = None,
) -> LogRun:
  """Opens a new run.

  Args:
    directory: A directory that does not exist yet; the run's own is made in it.
    file_format: RIEGELI or ARRAY_RECORD.
    environment: Where the episodes are played.
    expert_action: Returns the expert's own action in the step just taken; None if that is the
      executed one.

  Raises:
    GatoError: The package that writes the format is not installed.
  """
  directory.mkdir()
  if file_format == RIEGELI:
    return envlogger_files.EnvLoggerRun(directory, environment, expert_action)
  return _tfds_files().TfdsRun(directory, environment, expert_action)


def keep(run: pathlib.Path, shard: pathlib.Path) -> None:
  """Moves a closed run, which becomes a complete one of a shard, and what describes it."""
  metadata = run.parent / envlogger_files.METADATA
  if metadata.exists():
    metadata.replace(shard / envlogger_files.METADATA)
  run.rename(shard / run.name)


def read(shard: pathlib.Path) -> Iterator[log_columns.Columns]:
  """Yields the columns of each episode of a shard in the order of its runs' names.

  The columns have T+1 steps: flat observation keys under "observation/", `action`,
  `expert_action`, reward and discount, aligned as in RLDS.

  Raises:
    GatoError: The package that reads the format is not installed.
    RuntimeError, IndexError, TypeError, ValueError: A file is truncated or corrupt.
  """
  file_format = format_of(shard)
  if file_format is None:
    raise ValueError("it has no log files")

  if file_format == ARRAY_RECORD:
    for run in sorted(path.parent for path in shard.glob("*/features.json")):
      yield from _tfds_files().read(run)
  else:
    yield from envlogger_files.read(shard)


def _tfds_files() -> Any:
  """Returns the module, imported when it is needed: TFDS takes a second."""
  from gato_jax.env import tfds_files

  return tfds_files
