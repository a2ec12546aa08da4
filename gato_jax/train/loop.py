"""The training loop: prepares a run, trains it with rollbacks, and measures its validation loss."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax import model, progress
from gato_jax.errors import GatoError
from gato_jax.model import sharding
from gato_jax.storage import paths
from gato_jax.train import (
  branch,
  checkpoint,
  guard,
  hardware,
  metrics,
  multihost,
  plan,
  prefetch,
  state,
  step,
)
from gato_jax.train.config import PREEMPTED as PREEMPTED
from gato_jax.train.config import TrainConfig as TrainConfig
from gato_jax.train.optimizer import OptimizerConfig
from gato_jax.train.optimizer import cooldown_start as cooldown_start_of
from gato_jax.train.run import Batches, Run

_log = logging.getLogger(__name__)


def train(
  *,
  model_config: model.GatoConfig,
  train_config: TrainConfig,
  optimizer_config: OptimizerConfig,
  batches: Batches,
  meta: Mapping[str, Any],
  tokenizer: bytes,
  workdir: pathlib.Path,
  component_names: Sequence[str],
  profile_steps: tuple[int, int] | None = None,
  validation: Batches | None = None,
  track: metrics.Track = lambda row: None,
  start: Any = None,
) -> state.TrainState:
  """Trains to the end of the run.

  It continues from the newest checkpoint in workdir/checkpoints where there is one. All processes
  of a run call it with the same arguments; the first one writes the logs.

  Args:
    model_config: The network.
    train_config: Length of the run, batch size, mesh, checkpoints.
    optimizer_config: Optimizer and learning-rate schedule.
    batches: (start, rows) -> endless iterator over the given rows (int64, ascending) of the global
      batches from step `start` on (docs/batch.md).
    meta: JSON-able, stored in every checkpoint; descriptions of model and training are added.
    tokenizer: Serialised, stored in every checkpoint.
    workdir: Directory of the run.
    component_names: Of the mixture, "domain.task", in the order of batch["components"].
    profile_steps: First and last step of a profiler trace, which is written to workdir/profile.
    validation: Like `batches`, for the validation split; needed for
      train_config.validation_batches.
    track: Receives the rows of metrics.jsonl one by one (tracking.py), in the first process only.
    start: Parameters to begin with where there is no checkpoint yet; fresh ones by default.

  Returns:
    The state after the last step.

  Raises:
    GatoError: A loss is bad and there is no checkpoint to return to.
    SystemExit: With status 42, after a process received SIGTERM; everything is saved.
  """
  if train_config.validation_batches and validation is None:
    raise GatoError(
      f"train.validation_batches={train_config.validation_batches}, but no validation batches are "
      "given"
    )
  start_time = time.perf_counter()
  workdir = paths.path(workdir)
  paths.make_directory(workdir)

  mesh = sharding.make_mesh(
    train_config.mesh_data, train_config.mesh_fsdp, model=train_config.mesh_model
  )
  sharding.check_batch(mesh, train_config.batch_size, accumulate=train_config.accumulate)
  rows = sharding.process_rows(mesh, train_config.batch_size)
  trainer = step.Trainer(
    model_config,
    optimizer_config,
    mesh,
    components=len(component_names),
    seed=train_config.seed,
    loss_chunk=train_config.loss_chunk,
    accumulate=train_config.accumulate,
  )

  def measure_step_seconds() -> float:
    with prefetch.prefetch(batches(0, rows)) as prefetched:
      return plan.seconds_per_step(trainer, prefetched)

  with contextlib.ExitStack() as stack:
    run_plan = plan.Plan.of(
      workdir / "plan.json",
      steps=train_config.steps,
      minutes=train_config.minutes,
      measure=measure_step_seconds,
      began=start_time,
    )
    # Longer runs branch off from there.
    cooldown_start = cooldown_start_of(optimizer_config, run_plan.total(0))
    checkpoints = checkpoint.Checkpoints(
      workdir / "checkpoints",
      keep=train_config.keep,
      keep_period=train_config.keep_period,
      keep_steps=() if cooldown_start is None else (cooldown_start,),
    )
    stack.callback(checkpoints.close)
    stop_requested = stack.enter_context(multihost.stop_requests())

    run = Run(
      trainer=trainer,
      config=train_config,
      checkpoints=checkpoints,
      batches=batches,
      rows=rows,
      plan=run_plan,
      workdir=workdir,
      names=component_names,
      meta={
        **meta,
        "model": model_config.to_json(),
        "train": dataclasses.asdict(train_config),
        "optimizer": dataclasses.asdict(optimizer_config),
        "components": list(component_names),
      },
      tokenizer=tokenizer,
      stop_requested=stop_requested,
      track=track,
      profile_steps=profile_steps,
      initial_params=start,
      branch=_find_branch(checkpoints, train_config, optimizer_config, run_plan.total(0)),
      cooldown_start=cooldown_start,
      start_time=start_time,
      peak_flops=hardware.peak_flops(list(mesh.devices.flat)),
    )
    trained = _train_with_rollbacks(run, train_config.rollbacks)

    if train_config.validation_batches:
      assert validation is not None
      validation_losses = measure_validation(
        trainer, trained.params, validation(0, rows), config=train_config, names=component_names
      )
      metrics.write_validation(workdir, {"step": run.done, **validation_losses})
      if multihost.is_first():
        row = {f"validation/{name}": value for name, value in validation_losses.items()}
        track({"step": run.done, **row})

  return trained


def _find_branch(
  checkpoints: checkpoint.Checkpoints,
  config: TrainConfig,
  optimizer: OptimizerConfig,
  total_steps: int,
) -> tuple[pathlib.Path, int] | None:
  """Returns the checkpoints and the step that a run begins with; None for a run's own ones."""
  if not config.branch_from:
    return None

  def find() -> tuple[pathlib.Path, int] | None:
    if checkpoint.saved_steps(checkpoints.directory):
      return None
    directory = paths.path(config.branch_from) / "checkpoints"
    return directory, branch.stable_step(directory, optimizer, total_steps)

  return multihost.from_first(find)


def _train_with_rollbacks(run: Run, rollbacks: int) -> state.TrainState:
  """Trains to the end, returning to the newest checkpoint after each bad loss.

  Raises:
    guard.BadLoss: There is no checkpoint, or it is the bad loss after the last rollback.
  """
  for rollbacks_left in reversed(range(rollbacks + 1)):
    try:
      return run.train()
    except guard.BadLoss as e:
      if not rollbacks_left or not run.skip_batches(e.step):
        raise
      _log.warning(
        "%s: going back to the newest checkpoint, leaving out the batches up to that one", e.summary
      )

  raise AssertionError("the last round returns or raises")


def measure_validation(
  trainer: step.Trainer,
  params: Any,
  batches: Iterator[Mapping[str, np.ndarray]],
  config: TrainConfig,
  names: Sequence[str],
) -> dict[str, float]:
  """Measures the losses of the validation split; all processes call it.

  Args:
    trainer: Evaluates the batches.
    params: Parameters of the model, on the mesh.
    batches: This process's rows of the batches of the validation split.
    config: Says how many batches there are.
    names: Of the components of the mixture.

  Returns:
    metrics.losses and metrics.domain_targets of these batches, and "batches", their number.
  """
  count = config.validation_batches

  with prefetch.prefetch(batches) as prefetched:
    bar = progress.Bar(
      range(count), desc="validation", unit="batch", disable=not multihost.is_first()
    )
    measured = [
      jax.device_get(trainer.evaluate(params, trainer.put(next(prefetched)))) for _ in bar
    ]

  return {
    "batches": count,
    **metrics.losses(measured, names),
    **metrics.domain_targets(measured, names),
  }
