"""Baselines known by their means alone: a domain's scores.json, kept for a run in <workdir>/baselines.json."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax import files
from gato_jax.errors import GatoError


@dataclasses.dataclass(frozen=True)
class Baseline:
  """One task's mean returns, and success where the task defines it."""

  random: float
  expert: float
  random_success: float | None = None
  expert_success: float | None = None


def from_scores(scores: Mapping[str, Any], domain: str, task: str) -> Baseline:
  """The entry of a task in its domain's scores.json; GatoError where there is none or a mean is not a number."""
  entry = scores.get(task, {})
  try:
    made = Baseline(**{field.name: entry.get(field.name) for field in dataclasses.fields(Baseline)})
    if not (math.isfinite(made.random) and math.isfinite(made.expert)):
      raise ValueError
  except (TypeError, ValueError):
    raise GatoError(
      f"{domain}.{task}: rlds_builders/{domain}/scores.json has no random and expert mean of it; run python -m "
      f"experiments.check --domain={domain} --write_scores, or evaluate with --config.evaluate.baselines=measure"
    ) from None
  return made


def write(workdir: pathlib.Path, baselines: Mapping[str, Baseline]) -> None:
  """Replaces <workdir>/baselines.json, "domain.task" -> means."""
  means = {task: dataclasses.asdict(one) for task, one in sorted(baselines.items())}
  files.write_json(pathlib.Path(workdir) / "baselines.json", means)


def read(workdir: pathlib.Path) -> dict[str, Baseline]:
  """What `write` wrote; nothing where there is no file."""
  path = pathlib.Path(workdir) / "baselines.json"
  if not path.exists():
    return {}
  try:
    return {task: Baseline(**entry) for task, entry in json.loads(path.read_text()).items()}
  except (AttributeError, TypeError, ValueError) as e:
    raise GatoError(f"{path}: not a file of baselines ({e}); delete it and evaluate again") from e
