"""A study: runs of one config that differ in a few settings and are compared in one report.

A config holds it as the section `study`, which `section` makes: its kind, a module of
experiments/analysis/report/sections/, and its runs. The directory of a run is
<workdir of the study>/<name of the run>.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.errors import GatoError, check_name

VERBS = ("train", "dagger", "evaluate", "measure", "interpret")
_TRAINING_VERBS = {"train", "dagger"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class StudyRun:
  """One run of a study.

  Attributes:
    name: Name of the run and of its directory, which --run takes.
    changes: "train.steps" -> value, on top of the study's config. The command line overrides them.
    labels: What the report sorts by, e.g. {"arm": "scratch", "task": "atari.boxing",
      "episodes": 10}.
    starts_from: A run of the study, or the workdir of any other run, which has a "/" in it.
      Training starts with the parameters of its newest checkpoint; "" starts from scratch.
    plays: The same, for a checkpoint that is played or interpreted as it is; nothing is trained.
    verbs: The verbs to run, in this order.
  """

  name: str
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  starts_from: str = ""
  plays: str = ""
  verbs: tuple[str, ...] = ("train", "evaluate")

  def __post_init__(self):
    if not _NAME.fullmatch(self.name):
      raise GatoError(
        f"study: a run cannot be called {self.name!r}: letters, digits, '.', '_' and '-' only"
      )
    for verb in self.verbs:
      check_name(verb, VERBS, f"verb of run {self.name}")

    # A run either trains, maybe from another run's parameters, or plays what was trained before.
    trains = bool(_TRAINING_VERBS & set(self.verbs))
    if trains == bool(self.plays) or (self.plays and self.starts_from):
      raise GatoError(
        f"study: run {self.name} trains, maybe from `starts_from`, "
        "or names in `plays` what was trained"
      )

  @property
  def needs(self) -> str:
    """Name of the run of the same study that must be trained before; "" for none."""
    needed = self.starts_from or self.plays

    return "" if is_workdir(needed) else needed


def is_workdir(run_or_workdir: str) -> bool:
  """Returns True when `starts_from` or `plays` names a workdir and not a run of the study."""
  return "/" in run_or_workdir


def section(kind: str, runs: Sequence[StudyRun]) -> dict[str, Any]:
  """Returns the section `study` of a config, which can be written as JSON.

  Args:
    kind: What the report shows, a module of experiments/analysis/report/sections/.
    runs: The runs in any order; each is put after the run that it needs.

  Raises:
    GatoError: The runs do not make a study (in_order).
  """
  return {"kind": kind, "runs": tuple(dataclasses.asdict(run) for run in in_order(runs))}


def read(study: Mapping[str, Any]) -> list[StudyRun]:
  """Returns the runs of a config's section `study`."""
  # JSON has no tuples, so that `verbs` may have become a list.
  return [StudyRun(**{**run, "verbs": tuple(run["verbs"])}) for run in study["runs"]]


def in_order(runs: Sequence[StudyRun]) -> list[StudyRun]:
  """Returns the runs as given, but each after the run that it needs.

  Raises:
    GatoError: Two runs have one name, or a run needs itself or one that does not exist.
  """
  by_name = {run.name: run for run in runs}
  if len(by_name) < len(runs):
    names = [run.name for run in runs]
    duplicate = next(name for name in names if names.count(name) > 1)
    raise GatoError(f"study: two runs are called {duplicate!r}; names are folders")

  ordered: dict[str, StudyRun] = {}
  for run in runs:
    # The run, what it needs, what that needs, and so on up to a run that is in order already.
    chain = [run]
    while chain[-1].needs and chain[-1].needs not in ordered:
      check_name(chain[-1].needs, by_name, f"run, which {chain[-1].name} needs")
      chain.append(by_name[chain[-1].needs])
      # A chain of more runs than there are goes round in a circle.
      if len(chain) > len(runs):
        raise GatoError(f"study: run {run.name} needs itself")

    ordered |= {link.name: link for link in reversed(chain)}

  return list(ordered.values())
