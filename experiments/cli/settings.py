"""Settings of a config: the defaults of dataclasses, and who overrides whom."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import ml_collections

from experiments.cli import errors


def section_of(instance: Any, *without: str) -> ml_collections.ConfigDict:
  """Returns the fields of a dataclass instance as a section of a config.

  Args:
    instance: The dataclass instance, usually one with all its defaults.
    *without: Names of fields to leave out.
  """
  section = ml_collections.ConfigDict()
  for field in dataclasses.fields(instance):
    if field.name in without:
      continue

    value = getattr(instance, field.name)
    if value is None:
      # A plain None would accept a value of any type; a placeholder keeps the field's own.
      value = ml_collections.config_dict.placeholder(int if "int" in str(field.type) else float)
    elif isinstance(value, dict):
      value = ml_collections.ConfigDict(value)

    section[field.name] = value

  return section


def from_json(value: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """Returns the config that a run or exported weights hold as JSON; lists become tuples again."""

  def restored(value: Any) -> Any:
    if isinstance(value, Mapping):
      return {name: restored(entry) for name, entry in value.items()}
    return tuple(map(restored, value)) if isinstance(value, list) else value

  return ml_collections.ConfigDict(restored(value))


def _on_command_line() -> set[str]:
  """Returns the settings that the command line names, e.g. {"train.steps"}."""
  prefix = "--config."
  arguments = [argument for argument in sys.argv if argument.startswith(prefix)]

  return {argument.removeprefix(prefix).partition("=")[0] for argument in arguments}


def with_changes(
  config: ml_collections.ConfigDict, changes: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """Returns a copy with the changes of a study's run, except those that the command line sets."""
  given = _on_command_line()
  remaining = {name: value for name, value in changes.items() if name not in given}

  config = config.copy_and_resolve_references()
  with errors.config_errors():
    config.update_from_flattened_dict(remaining)

  return config


def with_one_duration(
  config: ml_collections.ConfigDict, changes: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """Returns a config in which only one of train.steps and train.minutes is set, if that is clear.

  The command line decides, then the changes of a study's run, then the config file. Where one of
  them sets both, both stay: training refuses that.

  Args:
    config: The config with the settings of all three.
    changes: Changes of the study's run.
  """
  if config.train.steps is None or config.train.minutes is None:
    return config

  # The first source that names one of them decides. The config file comes last and cannot be told
  # from the defaults, so that it is what remains.
  durations = {"train.steps", "train.minutes"}
  for named in (_on_command_line() & durations, changes.keys() & durations):
    if named:
      config = config.copy_and_resolve_references()
      config.update_from_flattened_dict(dict.fromkeys(durations - named))
      return config

  return config
