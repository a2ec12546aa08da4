"""Compiled programs that are kept, so that a run that starts again does not compile again."""

import pathlib

import jax

from gato_jax.storage import paths

FOLDER = "compiled"  # in a workdir
AUTO = "auto"

_DIRECTORY = "jax_compilation_cache_dir"


def keep(setting: str, workdir: pathlib.Path) -> pathlib.Path | None:
  """Makes JAX keep compiled programs, unless the user has chosen a directory of JAX's own.

  The training step of a large network compiles for minutes, at every preemption. Where processes
  train together, the first one writes and all read.

  Args:
    setting: TrainConfig.compilation_cache: a directory, AUTO for the workdir's on accelerators, ""
      to keep nothing.
    workdir: The run's.

  Returns:
    The directory; None where nothing is kept, or where JAX's own setting decides.
  """
  if not setting or getattr(jax.config, _DIRECTORY):
    return None

  directory = paths.path(setting)
  if setting == AUTO:
    # A program for one CPU may not run on another one, and compiles in seconds.
    if jax.default_backend() == "cpu":
      return None
    directory = workdir / FOLDER

  jax.config.update(_DIRECTORY, str(directory))
  return directory
