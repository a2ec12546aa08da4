"""Training metrics: one JSON object per line for people and scripts, and TensorBoard."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.model import GatoConfig, flops
from gato_jax.storage import files, paths
from gato_jax.storage.growing import GrowingFile
from gato_jax.train import multihost

Track = Callable[[Mapping[str, Any]], None]


class MetricsLog:
  """Writes `workdir`/metrics.jsonl and TensorBoard events in `workdir`/tensorboard.

  Only the first process writes.
  """

  def __init__(self, workdir: pathlib.Path, step: int, track: Track = lambda row: None):
    """Continues after `step`.

    Rows of later steps, which a killed run or a rollback left, are dropped: each step appears once.

    Args:
      workdir: Directory of the run.
      step: Number of steps done.
      track: Also receives each row.
    """
    self._writes = multihost.is_first()
    self._track = track
    if not self._writes:
      return

    self._path = workdir / "metrics.jsonl"
    kept = [line for line in self._complete_lines() if json.loads(line)["step"] <= step]
    self._file = GrowingFile(self._path, "".join(line + "\n" for line in kept).encode())

    # Its library brings clients of S3 and of Google Cloud: half a second that verbs which only read
    # a config need not wait for.
    from gato_jax.train.tensorboard_log import TensorBoardLog

    self._tensorboard = TensorBoardLog(workdir / "tensorboard", purge_step=step + 1)

  def _complete_lines(self) -> list[str]:
    if not self._path.exists():
      return []

    # What follows the last newline is empty, or a line that a kill cut off.
    return self._path.read_text().split("\n")[:-1]

  def write(self, row: dict[str, Any]) -> None:
    """Appends a row with a "step" to all logs."""
    if not self._writes:
      return

    self._file.append((json.dumps(row) + "\n").encode())
    self._tensorboard.write(row)
    self._track(row)

  def flush(self) -> None:
    """Uploads all rows where the workdir is in a bucket: a checkpoint's metrics lie beside it."""
    if self._writes:
      self._file.flush()
      self._tensorboard.flush()

  def close(self) -> None:
    """Closes the files."""
    if self._writes:
      self._file.close()
      self._tensorboard.close()


def _component_losses(
  names: Sequence[str], sums: np.ndarray, counts: np.ndarray
) -> dict[str, float]:
  """Returns the mean losses of the domains and tasks that had targets.

  Args:
    names: Of the components, "domain.task".
    sums: [components], of the losses of a component's targets.
    counts: [components], of a component's targets.

  Returns:
    "loss/<domain>" and "loss/<domain.task>" -> mean loss.
  """
  losses = {}

  domains = [name.split(".", 1)[0] for name in names]
  for domain in sorted(set(domains)):
    members = [i for i, member_domain in enumerate(domains) if member_domain == domain]
    if counts[members].sum():
      losses[f"loss/{domain}"] = float(sums[members].sum() / counts[members].sum())

  for name, loss_sum, count in zip(names, sums, counts, strict=True):
    if count and "." in name:
      losses[f"loss/{name}"] = float(loss_sum / count)

  return losses


def losses(measured: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
  """Returns mean losses over several batches.

  Args:
    measured: Of each batch, "component_sums" and "component_counts" [components].
    names: Of the components, "domain.task".

  Returns:
    "loss" over all targets, "loss/<domain>", "loss/<domain.task>" and "target_tokens".
  """
  measured = jax.device_get(measured)
  sums = np.stack([step["component_sums"] for step in measured]).sum(axis=0, dtype=np.float64)
  counts = np.stack([step["component_counts"] for step in measured]).sum(axis=0, dtype=np.float64)

  return {
    "loss": float(sums.sum() / max(counts.sum(), 1.0)),
    **_component_losses(names, sums, counts=counts),
    "target_tokens": int(counts.sum()),
  }


def domain_targets(measured: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
  """Returns "targets/<domain>", the targets that the loss of a domain is a mean over.

  Args:
    measured: Of each batch, "component_counts" [components].
    names: Of the components, "domain.task".
  """
  counts = np.stack([jax.device_get(step["component_counts"]) for step in measured]).sum(axis=0)
  targets: dict[str, int] = {}
  for name, count in zip(names, counts, strict=True):
    if count:
      key = f"targets/{name.split('.', 1)[0]}"
      targets[key] = targets.get(key, 0) + int(count)
  return targets


def write_validation(workdir: pathlib.Path, row: Mapping[str, Any]) -> None:
  """Writes `workdir`/validation.json in one step, in the first process."""
  if multihost.is_first():
    files.write_json(workdir / "validation.json", row)


def read_validation(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns a run's validation losses; {} where it has none.

  Runs of versions up to 0.1.0 have them in held_out.json.

  Raises:
    GatoError: The file is not JSON.
  """
  for name in ("validation.json", "held_out.json"):
    path = paths.path(workdir) / name
    if path.exists():
      return files.read_json(path, "delete it and train again")

  return {}


def to_json(interval: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Encodes the metrics of steps that are in no row yet, for a checkpoint between two rows."""
  return [
    {name: value.tolist() for name, value in measured.items()}
    for measured in jax.device_get(interval)
  ]


def from_json(interval: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Decodes what `to_json` encoded, as float32."""
  return [
    {name: np.asarray(value, np.float32) for name, value in measured.items()}
    for measured in interval
  ]


def summarize(
  done: int, interval: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, float]:
  """Returns one row of the log for the steps of an interval.

  Args:
    done: Last step of the interval.
    interval: Metrics of each step.
    names: Of the components, "domain.task".
  """
  measured = jax.device_get(interval)
  row = losses(measured, names)
  targets = row.pop("target_tokens")

  return {
    "step": done,
    **row,
    "learning_rate": float(measured[-1]["learning_rate"]),
    "gradient_norm": float(np.mean([step["gradient_norm"] for step in measured])),
    "update_norm": float(np.mean([step["update_norm"] for step in measured])),
    "interval_target_tokens": targets,
    # Checkpoints of up to version 0.1.0 did not keep them for the steps between two rows.
    "interval_patches": int(sum(step.get("patches", 0) for step in measured)),
  }


def throughput(
  row: Mapping[str, Any],
  times: Mapping[str, float],
  config: GatoConfig,
  shape: tuple[int, int],
  steps: int,
  peak: float,
) -> dict[str, float]:
  """Returns the numbers of a row that are about speed.

  Args:
    row: From `summarize`.
    times: From Clock.take.
    config: Of the model.
    shape: Rows and length of the global batch.
    steps: Number of steps that the row is about.
    peak: FLOP/s of all devices together.
  """
  rows, length = shape
  flops_per_step = flops.train_step(
    config,
    rows=rows,
    length=length,
    targets=row["interval_target_tokens"] / steps,
    patches=row["interval_patches"] / steps,
  )

  return {
    "tokens": row["step"] * rows * length,
    "interval_tokens": steps * rows * length,
    "tokens_per_second": rows * length / times["step_seconds"],
    "interval_flops": steps * flops_per_step,
    "utilisation": flops_per_step / times["step_seconds"] / peak,
    **times,
  }


def line(row: Mapping[str, Any]) -> str:
  """Formats a row for the terminal."""
  return (
    f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s, "
    f"{row['utilisation']:.0%} of peak, {row['step_seconds'] * 1e3:,.0f} ms a step, "
    f"data wait {row['data_wait']:.0%}"
  )
