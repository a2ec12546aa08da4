"""The training loop: resume, measure, train, log, save."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from gato_jax import checkpoint, distributed, model, sharding
from gato_jax.train import metrics, plan, prefetch, state, step
from gato_jax.train.optimizer import OptimizerConfig

_log = logging.getLogger(__name__)
Batches = Callable[[int, np.ndarray], Iterator[Mapping[str, np.ndarray]]]
PREEMPTED = 42  # exit status after SIGTERM: saved, start again


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How long and how a run trains; give `steps` or `minutes`.

  Attributes:
    steps: of the whole run. minutes: instead of steps; the first steps are timed and fix the number once.
    batch_size: rows of the global batch.
    checkpoint_every, log_every: steps.
    keep: newest checkpoints kept. keep_period: those of every so many steps are kept for ever; 0: none.
    accumulate: microbatches a step, one after the other; their gradients are summed. Memory for activations shrinks.
    loss_chunk: target positions of a device whose logits exist at one time; larger on accelerators.
    mesh_data, mesh_fsdp, mesh_model: devices along each mesh axis; 0: as many as the others leave.
  """

  steps: int | None = None
  minutes: float | None = None
  batch_size: int = 16
  checkpoint_every: int = 500
  log_every: int = 20
  seed: int = 0
  keep: int = 3
  keep_period: int = 0
  accumulate: int = 1
  loss_chunk: int = 256
  mesh_data: int = 0
  mesh_fsdp: int = 1
  mesh_model: int = 1


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
) -> state.TrainState:
  """Trains to the end of the run, from the newest checkpoint in workdir/checkpoints where there is one.

  All processes of a run call it with the same arguments; the first one writes the logs.

  Args:
    batches: (start, rows) -> endless iterator over these rows (int64, ascending) of the global batches from step start
      on (docs/batch.md).
    meta: JSON, stored in every checkpoint; the parts about the model and the training are added.
    component_names: of the mixture, "domain.task", in the order of batch["components"].

  Raises:
    GatoError: the loss is not finite. SystemExit(42): SIGTERM came to a process, everything is saved.
  """
  began = time.perf_counter()
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  mesh = sharding.make_mesh(train_config.mesh_data, train_config.mesh_fsdp, train_config.mesh_model)
  rows = sharding.process_rows(mesh, train_config.batch_size)
  trainer = step.Trainer(
    model_config,
    optimizer_config,
    mesh,
    len(component_names),
    train_config.seed,
    train_config.loss_chunk,
    train_config.accumulate,
  )

  def measure() -> float:
    with prefetch.prefetch(batches(0, rows)) as prefetched:
      return plan.seconds_per_step(trainer, prefetched)

  with contextlib.ExitStack() as stack:
    checkpoints = checkpoint.Checkpoints(workdir / "checkpoints", train_config.keep, train_config.keep_period)
    stack.callback(checkpoints.close)
    template = trainer.template()
    restored = checkpoints.restore_latest(template.params, template.optimizer)
    total = plan.total_steps(workdir / "plan.json", train_config.steps, train_config.minutes, measure, began)
    meta = {
      **meta,
      "model": model_config.to_json(),
      "train": dataclasses.asdict(train_config),
      "optimizer": dataclasses.asdict(optimizer_config),
      "components": list(component_names),
      "total_steps": total,
    }
    if restored is None:
      train_state, first, interval = trainer.init(), 0, []
    else:
      first, params, optimizer, before = restored
      train_state = state.TrainState(params, optimizer, jax.device_put(np.int32(first), template.step.sharding))
      interval = metrics.from_json(before["interval"])
      _log.info("continuing from step %d in %s", first, checkpoints.directory)
      if before["total_steps"] != total and optimizer_config.decay_steps is None:
        _log.warning("%d steps instead of %d: the learning rate falls over these now", total, before["total_steps"])
    log = metrics.MetricsLog(workdir, first)
    stack.callback(log.close)
    stop_requested = stack.enter_context(distributed.stop_requests())
    prefetched = stack.enter_context(prefetch.prefetch(batches(first, rows)))
    hidden = not distributed.is_first()
    bar = tqdm.tqdm(total=total, initial=first, desc="train", unit="step", dynamic_ncols=True, disable=hidden)
    stack.callback(bar.close)

    logged, waited, mark = first, 0.0, time.perf_counter()
    for done in range(first + 1, total + 1):
      asked = time.perf_counter()
      batch = next(prefetched)
      waited += time.perf_counter() - asked
      train_state, measured = trainer(train_state, trainer.put(batch), total)
      if interval:  # at most one step is under way beside the one just asked for
        jax.block_until_ready(interval[-1])
      interval.append(measured)
      bar.update()
      stop = stop_requested()
      if done % train_config.log_every == 0 or done == total:
        row = metrics.summarize(done, interval, component_names)
        seconds, tokens = time.perf_counter() - mark, train_config.batch_size * batch["tokens"].shape[1]
        row |= {
          "tokens": done * tokens,
          "interval_tokens": len(interval) * tokens,
          "interval_seconds": seconds,
          "tokens_per_second": (done - logged) * tokens / seconds,
          "data_wait": waited / seconds,
          **checkpoints.take_seconds(),
        }
        log.write(row)
        bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s")
        interval, logged, waited, mark = [], done, 0.0, time.perf_counter()
      if stop or done % train_config.checkpoint_every == 0 or done == total:
        metrics.check_finite(done, interval, component_names)
        unlogged = {"interval": metrics.to_json(interval)}
        checkpoints.save(done, train_state.params, train_state.optimizer, meta | unlogged, tokenizer)
      if stop:
        checkpoints.wait()
        _log.warning("SIGTERM: saved step %d in %s; start again to continue", done, checkpoints.directory)
        raise SystemExit(PREEMPTED)
    checkpoints.wait()
  return train_state
