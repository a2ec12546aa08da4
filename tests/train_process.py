"""Trains a small network on synthetic batches, for tests that kill it: train_process.py WORKDIR STEPS [KILL_AFTER]."""

import os
import pathlib
import signal
import sys
import time

import numpy as np

from benchmarks.train_step import control_batch
from gato_jax import model
from gato_jax.train import loop, optimizer

CONFIG = model.GatoConfig(
  layers=2, heads=2, width=32, feed_forward=64, key_size=16, patch_channels=32,
  drop_path=0.1, dtype="float32", remat="none",
)  # fmt: skip
NAMES = ("one.a", "one.b", "two.c")


def batches(start, rows=None):
  """batch(i) is a pure function of i."""
  i = start
  while True:
    batch = {**control_batch(4, 36, seed=i), "components": np.array([0, 1, 2, i % 3], np.int32)}
    yield batch if rows is None else {name: value[rows] for name, value in batch.items()}
    i += 1


def killed_after(start, rows, kill_after):
  """Waits for the checkpoint before the deadly batch, so that the kill falls between two checkpoints."""
  for i, batch in enumerate(batches(start, rows)):
    if i == kill_after:
      while not any(p.name.isdigit() for p in (workdir / "checkpoints").glob("*")):
        time.sleep(0.05)
      os.kill(os.getpid(), signal.SIGKILL)
    yield batch


if __name__ == "__main__":
  workdir, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
  kill_after = int(sys.argv[3]) if len(sys.argv) > 3 else None
  loop.train(
    model_config=CONFIG,
    train_config=loop.TrainConfig(steps=steps, batch_size=4, checkpoint_every=4, log_every=2),
    optimizer_config=optimizer.OptimizerConfig(peak_learning_rate=1e-2),
    batches=batches if kill_after is None else lambda start, rows: killed_after(start, rows, kill_after),
    meta={"specs": {}},
    tokenizer=b"pieces",
    workdir=workdir,
    component_names=NAMES,
  )
