"""Baselines of which only the means are known, from the scores.json of a domain.

A run keeps those it is scored with in <workdir>/baselines.json.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.storage import files, paths

_FILE = "baselines.json"


@dataclasses.dataclass(frozen=True)
class Baseline:
  """The means of one task.

  Attributes:
    random: Mean return of the random actor.
    expert: Mean return of the expert.
    random_success: Share of successful episodes of the random actor; None where the task defines no
      success.
    expert_success: The same of the expert.
  """

  random: float
  expert: float
  random_success: float | None = None
  expert_success: float | None = None


def from_scores(scores: Mapping[str, Any], domain: str, task: str) -> Baseline:
  """Returns the entry of a task in its domain's scores.json.

  Args:
    scores: The content of the file.
    domain: The domain's name.
    task: Short name of the task.

  Raises:
    GatoError: There is no entry, or a mean is not a number.
  """
  entry = scores.get(task, {})
  names = [field.name for field in dataclasses.fields(Baseline)]

  try:
    baseline = Baseline(**{name: entry.get(name) for name in names})
    # isfinite raises a TypeError for a mean that is missing.
    if not (math.isfinite(baseline.random) and math.isfinite(baseline.expert)):
      raise ValueError
  except (TypeError, ValueError):
    raise GatoError(
      f"{domain}.{task}: rlds_builders/{domain}/scores.json has no random and expert mean of it; "
      f"run python -m experiments.check --domain={domain} --write_scores, "
      "or evaluate with --config.evaluate.baselines=measure"
    ) from None

  return baseline


def write(workdir: pathlib.Path, baselines: Mapping[str, Baseline]) -> None:
  """Replaces <workdir>/baselines.json with "domain.task" -> means."""
  means = {task: dataclasses.asdict(baseline) for task, baseline in sorted(baselines.items())}
  files.write_json(paths.path(workdir) / _FILE, means)


def read(workdir: pathlib.Path) -> dict[str, Baseline]:
  """Returns the baselines that `write` wrote; none if there is no file."""
  path = paths.path(workdir) / _FILE
  if not path.exists():
    return {}

  try:
    return {task: Baseline(**entry) for task, entry in json.loads(path.read_text()).items()}
  except (AttributeError, TypeError, ValueError) as e:
    raise GatoError(f"{path}: not a file of baselines ({e}); delete it and evaluate again") from e
