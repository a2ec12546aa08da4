"""Backends and their settings.

A setting is a flag, else from the environment, else from launch/cluster.json, else the field's
default. The environment has GATO_LAUNCH_ZONE for --zone. The file, which git ignores, holds
{"gke": {"queue": "research"}, ...}.
"""

import dataclasses
import json
import os
from typing import Any

from absl import flags

from gato_jax.errors import GatoError
from launch import jobs
from launch.backends.gke import Gke
from launch.backends.local import Local
from launch.backends.slurm import Slurm
from launch.backends.tpu_vm import TpuVm

BACKENDS: dict[str, type[Any]] = {backend.name: backend for backend in (Local, Slurm, Gke, TpuVm)}
CLUSTER = jobs.ROOT / "launch" / "cluster.json"
PREFIX = "GATO_LAUNCH_"

_FLAGS: dict[Any, Any] = {
  str: flags.DEFINE_string,
  int: flags.DEFINE_integer,
  bool: flags.DEFINE_bool,
}
_PARSERS: dict[Any, Any] = {
  str: flags.ArgumentParser,
  int: flags.IntegerParser,
  bool: flags.BooleanParser,
}


def define_flags() -> None:
  """Defines one flag for each setting; backends with a setting of the same name share the flag."""
  types: dict[str, Any] = {}
  # Flag -> help text -> the backends that have this text.
  help_texts: dict[str, dict[str, list[str]]] = {}
  for backend in BACKENDS.values():
    for field in dataclasses.fields(backend):
      default = f" [{field.default}]" if field.default not in ("", 0, False) else ""
      text = field.metadata["help"] + default
      types.setdefault(field.name, field.type)
      help_texts.setdefault(field.name, {}).setdefault(text, []).append(backend.name)

  for name, backends_by_text in help_texts.items():
    parts = [f"{', '.join(backends)}: {text}" for text, backends in backends_by_text.items()]
    # The default is None, so that a flag that was given can be told from one that was not.
    _FLAGS[types[name]](name, None, " ".join(parts))


def backend(name: str) -> jobs.Backend:
  """Returns the backend with its settings.

  Raises:
    GatoError: No such backend, a setting that it does not have, or a value of the wrong type.
  """
  if name not in BACKENDS:
    raise GatoError(f"--on={name}: there are {', '.join(BACKENDS)}")

  backend_class = BACKENDS[name]
  fields = {field.name: field for field in dataclasses.fields(backend_class)}
  values = {**_from_file(name, fields), **_from_environment(fields)}

  # Flags of all backends are looked at: one that this backend does not have is a mistake.
  for other in BACKENDS.values():
    for field in dataclasses.fields(other):
      value = flags.FLAGS[field.name].value
      if value is None:
        continue

      if field.name not in fields:
        names = ", ".join(f"--{f}" for f in fields)
        raise GatoError(f"--{field.name} is no setting of {name}; it has {names}")

      values[field.name] = value

  return backend_class(**values)


def _from_file(name: str, fields: dict[str, dataclasses.Field]) -> dict[str, Any]:
  if not CLUSTER.exists():
    return {}

  # AttributeError: the file, or the backend's part of it, is no JSON object.
  try:
    values = json.loads(CLUSTER.read_text()).get(name, {})
    for key, value in values.items():
      if key not in fields:
        raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(fields)}")

      # Not isinstance(): True is an int.
      if type(value) is not fields[key].type:
        raise ValueError(f"{name}.{key}={value!r}: {_type_name(fields[key])} is expected")
  except (ValueError, AttributeError) as e:
    raise GatoError(f"{CLUSTER}: {e}") from e

  return values


def _from_environment(fields: dict[str, dataclasses.Field]) -> dict[str, Any]:
  values = {}
  for name, field in fields.items():
    variable = PREFIX + name.upper()
    if variable not in os.environ:
      continue

    text = os.environ[variable]
    try:
      values[name] = _PARSERS[field.type]().parse(text)
    except ValueError as e:
      raise GatoError(f"{variable}={text!r}: {_type_name(field)} is expected") from e

  return values


def _type_name(field: dataclasses.Field) -> str:
  # The type would be a string if a backend postponed its annotations.
  assert isinstance(field.type, type), field
  return field.type.__name__


def of_record(record: jobs.Record) -> jobs.Backend:
  """Returns the backend that a job was sent to, with the settings of that time."""
  return BACKENDS[record.backend](**record.settings)
