"""What a run was started with, so that it is not continued with anything else by accident."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax import specs
from gato_jax.errors import GatoError

_WAY_OUT = "choose another --config.workdir or go back"


def refuse_changes(
  workdir: pathlib.Path, settings: Mapping[str, Mapping[str, Any]], task_specs: Mapping[str, specs.TaskSpec]
) -> None:
  """Writes workdir/config.json at a run's start and compares with it afterwards.

  Args:
    settings: sections of the config, JSON-able. task_specs: of the datasets.

  Raises:
    GatoError: the first setting, or the first task's field, that differs from what the run was started with.
  """
  path = pathlib.Path(workdir) / "config.json"
  ours = {**settings, "specs": {name: spec.to_json() for name, spec in task_specs.items()}}
  if path.exists():
    theirs = json.loads(path.read_text())
    for name, spec in task_specs.items():
      before = theirs["specs"].get(name)
      difference = specs.difference(specs.TaskSpec.from_json(before), spec) if before else "it was not in the mixture"
      if difference:
        raise GatoError(f"{path}: this run was started with another dataset of {name}: {difference}; {_WAY_OUT}")
    for section, values in settings.items():
      for key, value in values.items():
        before = theirs[section].get(key)
        if before != value:
          raise GatoError(f"{path}: this run was started with {section}.{key}={before}, now it is {value}; {_WAY_OUT}")
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(ours, indent=1))
