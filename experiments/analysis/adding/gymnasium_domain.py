"""Writes a domain's folder for a gymnasium environment; its expert is left to a person."""

import ast
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dm_env import specs

from gato_jax.domain import SimulatedDomain, environment_task_spec
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.task import TaskSpec
from gato_jax.tokens import fields
from gato_jax.tokens.vocabulary import Kind
from rlds_builders.worlds import gymnasium_spaces

_MOST_PATCHES = 48
_TEXT_TOKENS = 16


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
  """Returns gymnasium.make's arguments of "name=value", whose values are Python's.

  Raises:
    GatoError: One is no such pair.
  """
  settings = {}
  for pair in pairs:
    name, _, value = pair.partition("=")
    try:
      settings[name] = ast.literal_eval(value)
    except (SyntaxError, ValueError) as e:
      raise GatoError(
        f'--setting={pair}: give name=value, a Python number, bool or "text" in quotes'
      ) from e
  return settings


def write(
  folder: pathlib.Path, name: str, task: str, environment: str, settings: Mapping[str, Any]
) -> TaskSpec:
  """Writes the folder and returns the spec of its task.

  Args:
    folder: Of the domain; it does not exist.
    name: Name of the domain.
    task: Name of its task.
    environment: gymnasium's id, "module:Id-v0" where a module has to be imported first.
    settings: Arguments of gymnasium.make.

  Raises:
    GatoError: It cannot be made, or its spaces cannot become tokens.
  """
  spec = _spec(name, task, environment, settings)
  size = _smaller(spec)
  if size:
    spec = _spec(name, task, environment, settings, size)

  arguments = {"image_size": size, "resize": "stretch"} if size else {}
  arguments |= settings
  tail = "".join(f", {key}={value!r}" for key, value in arguments.items()).replace("'", '"')

  action = spec.action
  assert action is not None  # the task is played
  files.write(
    folder / "__init__.py",
    _INIT.format(name=name, task=task, texts=spec.max_text_tokens or "{}").replace("'", '"'),
  )
  files.write(
    folder / "environment.py", _ENVIRONMENT.format(task=task, environment=environment, tail=tail)
  )
  files.write(folder / "expert.py", _EXPERT.format(name=name, action=_described(action)))
  files.write(folder / f"{name}_dataset_builder.py", _BUILDER.format(name=name))
  files.write(folder / "requirements.txt", "# The packages of the environment, with versions.\n")
  files.write(folder / "scores.json", "{}\n")
  files.write(folder / "README.md", _README.format(name=name, environment=environment))
  return spec


def _spec(
  name: str,
  task: str,
  environment: str,
  settings: Mapping[str, Any],
  image_size: tuple[int, int] | None = None,
) -> TaskSpec:
  make = gymnasium_spaces.tasks({task: environment}, image_size, "stretch", **settings)
  made = make(task)
  try:
    domain = SimulatedDomain(name, (task,), weight=0.0, environment="")
    spec = environment_task_spec(domain, task, made)
  finally:
    made.close()

  texts = {
    key: _TEXT_TOKENS
    for key, field in spec.observation.items()
    if isinstance(field, specs.StringArray)
  }
  return dataclasses.replace(spec, max_text_tokens=texts)


def _smaller(spec: TaskSpec) -> tuple[int, int] | None:
  """Returns a size at which an image takes few tokens, or None where all images are small."""
  shapes = [
    field.shape
    for key, field in spec.observation.items()
    if fields.kind_of(key, field) == Kind.PATCH
  ]
  patches = max((height * width // 256 for height, width, _ in shapes), default=0)
  if patches <= _MOST_PATCHES:
    return None

  # Of the same proportions, roughly.
  height, width, _ = max(shapes)
  scale = math.sqrt(_MOST_PATCHES / patches)
  sides = [max(1, int(side * scale / 16)) * 16 for side in (height, width)]
  return sides[0], sides[1]


def _described(spec: Any) -> str:
  """Returns what an action is, in words."""
  if np.issubdtype(spec.dtype, np.integer):
    most = np.unique(spec.maximum)
    numbers = f"{int(most[0])}" if len(most) == 1 else f"{spec.maximum.tolist()}"
    return f"np.int32 {list(spec.shape)}, from 0 to {numbers}"
  return f"np.float32 {list(spec.shape)}, from {spec.minimum.tolist()} to {spec.maximum.tolist()}"


_INIT = '''"""One of gymnasium's environments, declared as experiments.add proposed."""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="{name}",
  tasks=("{task}",),
  weight=0.0,  # not part of the paper's mixture
  environment="rlds_builders.{name}.environment:make",
  expert="rlds_builders.{name}.expert:make",
  agent_id="expert-v1",  # change it when the expert changes: prompts come from the same agent
  max_text_tokens={texts},
)
'''

_ENVIRONMENT = '''"""The environment; its specs follow from its spaces."""

from rlds_builders.worlds import gymnasium_spaces

make = gymnasium_spaces.tasks({{"{task}": "{environment}"}}{tail})
'''

_EXPERT = '''"""The expert that is imitated."""

import dm_env
import numpy as np

from gato_jax.errors import GatoError
from rlds_builders.worlds.gymnasium_spaces import GymnasiumSpaces


class Expert:
  """Acts by what it knows of the simulator."""

  def __init__(self, environment: GymnasiumSpaces):
    self._gym = environment.gym.unwrapped  # with the simulator's true state

  def reset(self, seed: int) -> None:
    """Forgets the last episode."""

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    """Returns an action: {action}."""
    raise GatoError("rlds_builders/{name}/expert.py: write Expert.act")


def make(environment: GymnasiumSpaces, task: str) -> Expert:
  return Expert(environment)
'''

_BUILDER = '''"""RLDS dataset of {name}: `tfds build` in this folder, one config per task."""

import rlds_builders.{name} as domain
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the expert."""

  DOMAIN = domain.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(domain.DOMAIN)
'''

_README = """# {name}

gymnasium's `{environment}`, as `python -m experiments.add` declared it: the environment in
`environment.py`, the expert in `expert.py`.
"""
