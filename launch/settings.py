"""Backends and their settings: a flag, else the environment, else launch/cluster.json, else the field's default.

The environment: GATO_LAUNCH_ZONE for --zone. The file, which git ignores: {"gke": {"queue": "research"}, ...}.
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

BACKENDS: dict[str, type] = {backend.name: backend for backend in (Local, Slurm, Gke, TpuVm)}
CLUSTER = jobs.ROOT / "launch" / "cluster.json"
PREFIX = "GATO_LAUNCH_"
_FLAGS = {str: flags.DEFINE_string, int: flags.DEFINE_integer, bool: flags.DEFINE_bool}


def define_flags() -> None:
  """One flag for each setting; backends that share a name share the flag."""
  said: dict[str, tuple[type, dict[str, list[str]]]] = {}  # flag -> type, text -> the backends that say it
  for backend in BACKENDS.values():
    for field in dataclasses.fields(backend):
      default = f" [{field.default}]" if field.default not in ("", 0, False) else ""
      texts = said.setdefault(field.name, (field.type, {}))[1]
      texts.setdefault(field.metadata["help"] + default, []).append(backend.name)
  for name, (kind, texts) in said.items():
    _FLAGS[kind](name, None, " ".join(f"{', '.join(backends)}: {text}" for text, backends in texts.items()))


def backend(name: str) -> jobs.Backend:
  """The backend with its settings.

  Raises:
    GatoError: no such backend, a setting that it does not have, or a value of the wrong type.
  """
  if name not in BACKENDS:
    raise GatoError(f"--on={name}: there are {', '.join(BACKENDS)}")
  kind = BACKENDS[name]
  fields = {field.name: field for field in dataclasses.fields(kind)}
  values = {**_from_file(name, fields), **_from_environment(fields)}
  for other in BACKENDS.values():
    for field in dataclasses.fields(other):
      given = flags.FLAGS[field.name].value
      if given is not None and field.name not in fields:
        raise GatoError(f"--{field.name} is no setting of {name}; it has {', '.join(f'--{f}' for f in fields)}")
      if given is not None:
        values[field.name] = given
  return kind(**values)


def _from_file(name: str, fields: dict[str, dataclasses.Field]) -> dict[str, Any]:
  if not CLUSTER.exists():
    return {}
  try:
    values = json.loads(CLUSTER.read_text()).get(name, {})
    for key, value in values.items():
      if key not in fields:
        raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(fields)}")
      if type(value) is not fields[key].type:
        raise ValueError(f"{name}.{key}={value!r}: {fields[key].type.__name__} is expected")
  except (ValueError, AttributeError) as e:
    raise GatoError(f"{CLUSTER}: {e}") from e
  return values


def _from_environment(fields: dict[str, dataclasses.Field]) -> dict[str, Any]:
  values = {}
  for name, field in fields.items():
    variable = PREFIX + name.upper()
    if variable not in os.environ:
      continue
    parser = {int: flags.IntegerParser(), bool: flags.BooleanParser(), str: flags.ArgumentParser()}[field.type]
    try:
      values[name] = parser.parse(os.environ[variable])
    except ValueError as e:
      raise GatoError(f"{variable}={os.environ[variable]!r}: {field.type.__name__} is expected") from e
  return values


def of_record(record: jobs.Record) -> jobs.Backend:
  """The backend that a job was sent to, as it was then."""
  return BACKENDS[record.backend](**record.settings)
