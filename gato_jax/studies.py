"""A study: runs of one config that differ in a few settings, and the part of the report that compares them.

A config holds it as the section `study` (`section` makes it): the kind, a module of gato_jax/report/sections/, and the
runs. Each run's folder is <workdir of the study>/<name>.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax import specs
from gato_jax.errors import GatoError

VERBS = ("train", "evaluate", "measure", "interpret")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a study.

  Attributes:
    name: of its folder, and what --run takes.
    changes: "train.steps" -> value, on top of the study's config; what stands on the command line counts more.
    labels: what the report sorts by, e.g. {"arm": "scratch", "task": "atari.boxing", "episodes": 10}.
    starts_from: training starts with the parameters of this run's newest checkpoint: a run of the study, or any other
      run's workdir, which has a "/" in it.
    plays: the same, of a checkpoint that is played or looked at as it is; nothing is trained then.
    verbs: what is to be done, in this order.
  """

  name: str
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  starts_from: str = ""
  plays: str = ""
  verbs: tuple[str, ...] = ("train", "evaluate")

  def __post_init__(self):
    if not _NAME.fullmatch(self.name):
      raise GatoError(f"study: a run cannot be called {self.name!r}: letters, digits, '.', '_' and '-' only")
    for verb in self.verbs:
      specs.check_name(verb, VERBS, f"verb of run {self.name}")
    if bool(self.plays) == ("train" in self.verbs) or (self.plays and self.starts_from):
      raise GatoError(f"study: run {self.name} trains, maybe from `starts_from`, or names in `plays` what was trained")

  @property
  def needs(self) -> str:
    """The run of the same study that must be trained before, "" for none."""
    before = self.starts_from or self.plays
    return "" if is_workdir(before) else before


def is_workdir(place: str) -> bool:
  """Whether `starts_from` or `plays` is a workdir and not a run of the study."""
  return "/" in place


def section(kind: str, runs: Sequence[Run]) -> dict[str, Any]:
  """The section `study` of a config: JSON-able; checked, and whoever needs another run comes behind it."""
  return {"kind": kind, "runs": tuple(dataclasses.asdict(run) for run in in_order(runs))}


def read(study: Mapping[str, Any]) -> list[Run]:
  """The runs of a config's section."""
  return [Run(**{**run, "verbs": tuple(run["verbs"])}) for run in study["runs"]]


def in_order(runs: Sequence[Run]) -> list[Run]:
  """As given, but each behind the one that it needs.

  Raises:
    GatoError: two runs of one name, or one that needs a run that there is not, or itself.
  """
  by_name = {run.name: run for run in runs}
  if len(by_name) < len(runs):
    names = [run.name for run in runs]
    raise GatoError(f"study: two runs are called {next(n for n in names if names.count(n) > 1)!r}; names are folders")
  ordered: dict[str, Run] = {}
  for run in runs:
    chain = [run]
    while chain[-1].needs and chain[-1].needs not in ordered:
      specs.check_name(chain[-1].needs, by_name, f"run, which {chain[-1].name} needs")
      chain.append(by_name[chain[-1].needs])
      if len(chain) > len(runs):
        raise GatoError(f"study: run {run.name} needs itself")
    ordered |= {one.name: one for one in reversed(chain)}
  return list(ordered.values())
