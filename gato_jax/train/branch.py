"""Begins a run with the stable part of another one.

With optimizer.schedule="wsd" the learning rate of a run does not depend on its length before the
decay. A run for more steps therefore begins as a shorter one does, and takes that one's checkpoint
of the last step before its decay, which `loop.train` keeps, instead of training these steps again.
"""

import dataclasses
import pathlib
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.train import checkpoint
from gato_jax.train.optimizer import OptimizerConfig, cooldown_start, warmup


def stable_step(directory: pathlib.Path, optimizer: OptimizerConfig, total_steps: int) -> int:
  """Returns the newest step of a run's checkpoints that a run of `total_steps` passes through too.

  Args:
    directory: The checkpoints of the run that is branched from.
    optimizer: Settings of the run that branches.
    total_steps: Its length.

  Raises:
    GatoError: There is no such step, or the runs differ in their schedules.
  """
  where = f"train.branch_from: {directory}"
  own_start = cooldown_start(optimizer, total_steps)
  if own_start is None:
    raise GatoError(f"{where}: only runs with optimizer.schedule=wsd have a part that they share")

  for step in checkpoint.saved_steps(directory):
    meta = checkpoint.read_meta(directory, step)
    _check_schedule(where, meta, optimizer, total_steps)

    start = cooldown_start(optimizer, meta["total_steps"])
    assert start is not None
    if step <= min(start, own_start):
      return step

  raise GatoError(
    f"{where} has no checkpoint from before the decay of the learning rate; begin at step 0"
  )


def _check_schedule(
  where: str, meta: dict[str, Any], optimizer: OptimizerConfig, total_steps: int
) -> None:
  """Raises GatoError if the rates of the other run's stable part are not those of this one."""
  ours = dataclasses.asdict(optimizer)
  for name, value in meta["optimizer"].items():
    # The length of the decay is the run's own.
    if name not in ("decay_steps", "cooldown") and ours[name] != value:
      raise GatoError(
        f"{where} was trained with optimizer.{name}={value}, this run has {ours[name]}; give both "
        "the same"
      )

  others = warmup(optimizer, meta["total_steps"]), warmup(optimizer, total_steps)
  if others[0] != others[1]:
    raise GatoError(
      f"{where} warmed up for {others[0]} steps, this run for {others[1]}; give both an "
      "optimizer.warmup_steps of at most a tenth of their lengths"
    )
