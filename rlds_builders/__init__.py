"""Registry of the domains: one folder each, found by listing this folder.

A new domain is a new folder and no other change (docs/add_a_domain.md).
"""

import functools
import importlib
import json
import pathlib
from typing import Any

from gato_jax import errors
from gato_jax.domain import Domain
from gato_jax.errors import GatoError, check_name

_ROOT = pathlib.Path(__file__).parent


def names() -> list[str]:
  """Returns the names of all folders here that hold a `<name>_dataset_builder.py`.

  Nothing is imported.
  """
  return sorted(path.parent.name for path in _ROOT.glob("*/*_dataset_builder.py"))


def domains() -> dict[str, Domain]:
  """Returns all domains by name; raises as `get` does where one of them is broken."""
  return {name: get(name) for name in names()}


@functools.cache
def get(name: str) -> Domain:
  """Returns the Domain of the folder `name`.

  Only that folder is imported, and no simulator: a broken domain affects only those who name it.

  Args:
    name: Name of the domain's folder.

  Raises:
    GatoError: There is no such folder (the error names the nearest one), its module raises, or
      its DOMAIN has the name of another folder, into whose data it would write.
  """
  check_name(name, names(), "domain")
  directory = _ROOT / name

  try:
    domain = importlib.import_module(f"{__name__}.{name}").DOMAIN
  except GatoError as e:
    raise GatoError(f"domain {name}: {e}") from e
  except Exception as e:
    # Whatever its author has written may raise anything, an incomplete edit for instance.
    raise GatoError(f"domain {name} cannot be imported: {errors.describe(e)}") from e

  if domain.name != name:
    other = ""
    if domain.name in names():
      other = f", which is the domain of {_ROOT / domain.name}"
    raise GatoError(
      f"{directory}/__init__.py: DOMAIN.name is {domain.name!r}{other}; "
      f"it must be {name!r}, as its folder"
    )
  return domain


def scores_path(name: str) -> pathlib.Path:
  """Returns the path of a domain's random and expert returns."""
  return _ROOT / name / "scores.json"


def scores(name: str) -> dict[str, Any]:
  """Returns a domain's random and expert returns, by task."""
  return json.loads(scores_path(name).read_text())
