"""Reads the metrics that training logs as JSON lines, <workdir>/metrics.jsonl."""

import json
import pathlib

import numpy as np

from gato_jax.errors import GatoError

Metrics = list[dict[str, float]]


def read(path: pathlib.Path) -> Metrics:
  """Returns one dict per logged step, sorted by step.

  A step that was logged twice (by a resumed run) keeps its last line. A truncated last line,
  which a kill while writing leaves, is dropped. A missing file gives [].

  Raises:
    GatoError: If any other line is not JSON with a step.
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
      # A complete file ends with a newline, so that its last element is "". A last element that
      # is not empty was cut off by a kill.
      if number == len(lines):
        break
      raise GatoError(
        f"{path}:{number}: not a line of metrics with a step ({e}); delete it and run again"
      ) from e

  return [by_step[step] for step in sorted(by_step)]


def column(metrics: Metrics, key: str, x: str = "step") -> tuple[np.ndarray, np.ndarray]:
  """Returns (x, values) of the rows that have both, without those that are not finite."""
  points = [
    (row[x], row[key]) for row in metrics if row.get(key) is not None and row.get(x) is not None
  ]

  # Without points numpy would give an array of shape [0].
  array = np.asarray(points, np.float64).reshape(-1, 2)
  array = array[np.isfinite(array).all(axis=1)]

  return array[:, 0], array[:, 1]


def final(metrics: Metrics, key: str) -> float:
  """Returns the mean of a column over the last tenth of the steps, weighted by target tokens.

  NaN if none of these steps has the column.
  """
  last_rows = [row for row in metrics if row["step"] > 0.9 * metrics[-1]["step"]]
  known = [
    (row[key], row["interval_target_tokens"]) for row in last_rows if row.get(key) is not None
  ]
  if not known:
    return float("nan")

  values, weights = np.transpose(known)
  return float(np.average(values, weights=weights))


def domains(metrics: Metrics) -> list[str]:
  """Returns the domains that have a column "loss/<domain>"."""
  names = set()
  for row in metrics:
    for key in row:
      # A dot marks the column of a single task, "loss/<domain>.<task>".
      if key.startswith("loss/") and "." not in key:
        names.add(key.removeprefix("loss/"))

  return sorted(names)
