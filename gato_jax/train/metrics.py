"""Training metrics: one JSON object per line for people and scripts, and TensorBoard."""

import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2, summary_pb2

from gato_jax import disk, distributed, files
from gato_jax.model import GatoConfig, flops

Track = Callable[[Mapping[str, Any]], None]


class MetricsLog:
  """`workdir`/metrics.jsonl and TensorBoard events in `workdir`/tensorboard, continuing after `step`.

  Rows of later steps, which a killed run left, are dropped: each step appears once. Only the first process writes.
  Each row also goes to `track`.
  """

  def __init__(self, workdir: pathlib.Path, step: int, track: Track = lambda row: None):
    self._writes, self._track = distributed.is_first(), track
    if not self._writes:
      return
    self._path = workdir / "metrics.jsonl"
    kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
    files.write(self._path, "".join(line + "\n" for line in kept))
    self._file = self._path.open("ab", buffering=0)
    self._tensorboard = _TensorBoard(workdir / "tensorboard", purge_step=step + 1)

  def _lines(self) -> list[str]:
    """Complete lines; a kill while writing leaves a torn last one."""
    return self._path.read_text().split("\n")[:-1] if self._path.exists() else []

  def write(self, row: dict[str, Any]) -> None:
    if not self._writes:
      return
    line = (json.dumps(row) + "\n").encode()
    with disk.writing(self._path):
      while line:
        line = line[self._file.write(line) :]
    self._tensorboard.write(row)
    self._track(row)

  def close(self) -> None:
    if self._writes:
      self._file.close()
      self._tensorboard.close()


class _TensorBoard:
  """Events for TensorBoard, written in this thread.

  tensorboardX's SummaryWriter has a thread of its own: an error ends it with a traceback, and training then waits for
  ever for room in the thread's queue.

  Args:
    purge_step: rows of earlier starts from this step on are hidden.
  """

  def __init__(self, folder: pathlib.Path, purge_step: int):
    folder.mkdir(parents=True, exist_ok=True)
    self._folder = folder
    with disk.writing(folder):
      self._events = event_file_writer.EventsWriter(str(folder / "events"))
      began = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._events.write_event(event_pb2.Event(step=purge_step, wall_time=time.time(), session_log=began))

  def write(self, row: Mapping[str, Any]) -> None:
    """Shows every number of a row at its step."""
    scalars = [summary.scalar(name, value).value[0] for name, value in row.items() if name != "step"]
    event = event_pb2.Event(step=row["step"], wall_time=time.time(), summary=summary_pb2.Summary(value=scalars))
    with disk.writing(self._folder):
      self._events.write_event(event)
      self._events.flush()

  def close(self) -> None:
    with disk.writing(self._folder):
      self._events.close()


def _component_losses(names: Sequence[str], sums: np.ndarray, counts: np.ndarray) -> dict[str, float]:
  """Mean losses "loss/<domain>" and "loss/<domain.task>" of the components that had targets; [components] both."""
  losses = {}
  for domain in sorted({name.split(".", 1)[0] for name in names}):
    members = [i for i, name in enumerate(names) if name.split(".", 1)[0] == domain]
    if counts[members].sum():
      losses[f"loss/{domain}"] = float(sums[members].sum() / counts[members].sum())
  for name, total, count in zip(names, sums, counts, strict=True):
    if count and "." in name:
      losses[f"loss/{name}"] = float(total / count)
  return losses


def losses(measured: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
  """From the sums of each batch: "loss" over all targets, "loss/<domain>", "loss/<domain.task>", "target_tokens"."""
  measured = jax.device_get(measured)
  sums = np.sum([m["component_sums"] for m in measured], axis=0, dtype=np.float64)
  counts = np.sum([m["component_counts"] for m in measured], axis=0, dtype=np.float64)
  total = float(sums.sum() / max(counts.sum(), 1.0))
  return {"loss": total, **_component_losses(names, sums, counts), "target_tokens": int(counts.sum())}


def write_held_out(workdir: pathlib.Path, row: Mapping[str, Any]) -> None:
  """`workdir`/held_out.json, whole or not at all; by the first process."""
  if distributed.is_first():
    files.write_json(workdir / "held_out.json", row)


def to_json(interval: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """The metrics of steps that are not yet in a row, for a checkpoint between two rows."""
  return [{name: value.tolist() for name, value in values.items()} for values in jax.device_get(interval)]


def from_json(interval: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
  """The inverse of `to_json`; the metrics are float32."""
  return [{name: np.asarray(value, np.float32) for name, value in values.items()} for values in interval]


def summarize(done: int, interval: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
  """One row for the steps up to `done`, from the metrics of each."""
  measured = jax.device_get(interval)
  row = losses(measured, names)
  targets = row.pop("target_tokens")
  return {
    "step": done,
    **row,
    "learning_rate": float(measured[-1]["learning_rate"]),
    "gradient_norm": float(np.mean([m["gradient_norm"] for m in measured])),
    "update_norm": float(np.mean([m["update_norm"] for m in measured])),
    "interval_target_tokens": targets,
  }


def throughput(
  row: Mapping[str, Any],
  times: Mapping[str, float],
  config: GatoConfig,
  shape: tuple[int, int, int],
  steps: int,
  peak: float,
) -> dict[str, float]:
  """What a row says about speed.

  Args:
    row: of `summarize`. times: of Clock.take. config: of the model. shape: of the global batch: rows, length, patches.
    steps: that the row is about. peak: FLOP/s of all devices.
  """
  rows, length, patches = shape
  targets = row["interval_target_tokens"] / steps
  needed = flops.train_step(config, rows=rows, length=length, targets=targets, patches=rows * patches)
  return {
    "tokens": row["step"] * rows * length,
    "interval_tokens": steps * rows * length,
    "tokens_per_second": rows * length / times["step_seconds"],
    "interval_flops": steps * needed,
    "utilisation": needed / times["step_seconds"] / peak,
    **times,
  }


def line(row: Mapping[str, Any]) -> str:
  """A row in a terminal line."""
  return (
    f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s, {row['utilisation']:.0%} of peak,"
    f" {row['step_seconds'] * 1e3:,.0f} ms a step, data wait {row['data_wait']:.0%}"
  )
