"""The JSON lines that training leaves behind, as columns."""

import json
import pathlib

import numpy as np

from gato_jax.errors import GatoError

Metrics = list[dict[str, float]]


def read(path: pathlib.Path) -> Metrics:
  """One dict a logged step, sorted by step; a step logged twice (a resumed run) keeps its last line.

  A torn last line (a kill while writing) is dropped, any other bad line is an error; a missing file gives [].
  """
  if not path.exists():
    return []
  by_step = {}
  lines = path.read_text().split("\n")
  for number, line in enumerate(lines, 1):
    if not line:
      continue
    try:
      entry = json.loads(line)
      by_step[int(entry["step"])] = entry
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as e:
      if number == len(lines):  # no newline after it: torn by a kill
        break
      raise GatoError(f"{path}:{number}: not a line of metrics with a step ({e}); delete it and run again") from e
  return [by_step[step] for step in sorted(by_step)]


def column(metrics: Metrics, key: str, x: str = "step") -> tuple[np.ndarray, np.ndarray]:
  """(x, values) of the lines that have both and a finite value."""
  points = [(m[x], m[key]) for m in metrics if m.get(key) is not None and m.get(x) is not None]
  array = np.asarray(points, np.float64).reshape(-1, 2)
  array = array[np.isfinite(array).all(axis=1)]
  return array[:, 0], array[:, 1]


def final(metrics: Metrics, key: str) -> float:
  """Mean over the last tenth of the steps, each row weighted by its targets; NaN where none of these has it."""
  rows = [m for m in metrics if m["step"] > 0.9 * metrics[-1]["step"]]
  known = [(m[key], m["interval_target_tokens"]) for m in rows if m.get(key) is not None]
  if not known:
    return float("nan")
  values, weights = np.transpose(known)
  return float(np.average(values, weights=weights))


def domains(metrics: Metrics) -> list[str]:
  """Domains with a column "loss/<domain>"; a dot marks a task's column."""
  return sorted({k.removeprefix("loss/") for m in metrics for k in m if k.startswith("loss/") and "." not in k})
