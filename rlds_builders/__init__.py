"""One folder per domain, found by listing this folder: a new domain is a new folder and no other change."""

import functools
import importlib
import pathlib

from gato_jax import specs

_ROOT = pathlib.Path(__file__).parent


@functools.cache
def domains() -> dict[str, specs.Domain]:
  """Name -> Domain for every folder here that has a `<name>_dataset_builder.py`. Imports no simulator."""
  folders = sorted(p.parent.name for p in _ROOT.glob("*/*_dataset_builder.py"))
  return {name: importlib.import_module(f"{__name__}.{name}").DOMAIN for name in folders}


def scores_path(name: str) -> pathlib.Path:
  """Where the random and expert returns of a domain's tasks are."""
  return _ROOT / name / "scores.json"


def get(name: str) -> specs.Domain:
  """The Domain called `name`; an error names the nearest one."""
  specs.check_name(name, domains(), "domain")
  return domains()[name]
