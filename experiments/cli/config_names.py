"""Configs by their names: --config=demo is experiments/configs/demo.py, wherever one works."""

import pathlib
import sys

from experiments import verbs
from gato_jax.errors import check_name

_CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
_PREFIX = "experiments/configs/"
_FLAG = "--config="


def resolve(text: str) -> str:
  """Returns the path of a config.

  Args:
    text: A path; or a name, "demo", "studies/history" or "history"; with ":" and the config's own
      argument behind either.

  Raises:
    GatoError: There is no config of that name.
  """
  name, colon, argument = text.partition(":")
  path = pathlib.Path(name)

  if path.suffix == ".py":
    # Documentation names the files as a clone of the repository has them.
    if path.exists() or not name.startswith(_PREFIX):
      return text
    path = _CONFIGS / name.removeprefix(_PREFIX)
    return f"{path}{colon}{argument}" if path.exists() else text

  known = verbs.configs()
  matches = [config for config in known if config in (name, f"studies/{name}")]
  if not matches:
    check_name(name, known, "config")
  path = _CONFIGS / f"{matches[0]}.py"

  # Inside a clone the path is the one that people know, and that a job on a cluster has, too.
  if path.is_relative_to(pathlib.Path.cwd()):
    path = path.relative_to(pathlib.Path.cwd())
  return f"{path}{colon}{argument}"


def replace_in_sys_argv() -> None:
  """Makes the --config of this process's command line a path, also for verbs that read it again.

  Raises:
    GatoError: There is no config of the name that is given.
  """
  for index, argument in enumerate(sys.argv):
    if argument.startswith(_FLAG):
      sys.argv[index] = _FLAG + resolve(argument.removeprefix(_FLAG))
