"""One folder per domain, found by listing this folder: a new domain is a new folder and no other change."""

import functools
import importlib
import pathlib

from gato_jax import errors, specs
from gato_jax.errors import GatoError

_ROOT = pathlib.Path(__file__).parent


def names() -> list[str]:
  """Every folder here that has a `<name>_dataset_builder.py`; nothing is imported."""
  return sorted(p.parent.name for p in _ROOT.glob("*/*_dataset_builder.py"))


def domains() -> dict[str, specs.Domain]:
  """Name -> Domain of every folder; raises as `get` does where one of them is broken."""
  return {name: get(name) for name in names()}


@functools.cache
def get(name: str) -> specs.Domain:
  """Returns the Domain of the folder `name`.

  Only that folder is imported, and no simulator: a domain that is broken concerns those only who name it.

  Raises:
    GatoError: there is no such folder (the error names the nearest one), its module raises, or its DOMAIN has the name
      of another folder, into whose data it would write.
  """
  specs.check_name(name, names(), "domain")
  folder = _ROOT / name
  try:
    domain = importlib.import_module(f"{__name__}.{name}").DOMAIN
  except GatoError as e:
    raise GatoError(f"domain {name}: {e}") from e
  except Exception as e:  # whatever its author has written
    raise GatoError(f"domain {name} cannot be imported: {errors.describe(e)}") from e

  if domain.name != name:
    other = f", which is the domain of {_ROOT / domain.name}" if domain.name in names() else ""
    raise GatoError(f"{folder}/__init__.py: DOMAIN.name is {domain.name!r}{other}; it must be {name!r}, as its folder")
  return domain


def scores_path(name: str) -> pathlib.Path:
  """Where the random and expert returns of a domain's tasks are."""
  return _ROOT / name / "scores.json"
