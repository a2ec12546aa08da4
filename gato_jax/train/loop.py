"""The training loop: resume, measure, train, log, save."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from gato_jax import checkpoint, model, sharding
from gato_jax.errors import GatoError
from gato_jax.train import metrics, prefetch, state, step
from gato_jax.train.optimizer import OptimizerConfig

_log = logging.getLogger(__name__)
Batches = Callable[[int, np.ndarray], Iterator[Mapping[str, np.ndarray]]]
_MEASURED_STEPS = 30
_MARGIN = 0.95  # of the minutes: saving, logging and a noisy machine take the rest
PREEMPTED = 42  # exit status after SIGTERM: saved, start again


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How long and how a run trains; give `steps` or `minutes`.

  Attributes:
    steps: of the whole run. minutes: instead of steps; the first steps are timed and fix the number once.
    batch_size: rows of the global batch.
    checkpoint_every: steps; a multiple of log_every, so that no logged interval spans a restart.
    keep: newest checkpoints kept.
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
  accumulate: int = 1
  loss_chunk: int = 256
  mesh_data: int = 0
  mesh_fsdp: int = 1
  mesh_model: int = 1

  def __post_init__(self):
    if self.checkpoint_every % self.log_every:
      raise GatoError(
        f"train.checkpoint_every={self.checkpoint_every} is no multiple of train.log_every={self.log_every}; change one"
      )


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

  Args:
    batches: (start, rows) -> endless iterator over these rows (int64, ascending) of the global batches from step start
      on (docs/batch.md).
    meta: JSON, stored in every checkpoint; the parts about the model and the training are added.
    component_names: of the mixture, "domain.task", in the order of batch["components"].

  Raises:
    GatoError: the loss is not finite. SystemExit(42): SIGTERM came, everything is saved.
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
  meta = {
    **meta,
    "model": model_config.to_json(),
    "train": dataclasses.asdict(train_config),
    "optimizer": dataclasses.asdict(optimizer_config),
    "components": list(component_names),
  }
  with contextlib.ExitStack() as stack:
    checkpoints = checkpoint.Checkpoints(workdir / "checkpoints", train_config.keep)
    stack.callback(checkpoints.close)
    template = trainer.template()
    restored = checkpoints.restore_latest(template.params, template.optimizer)
    if restored is None:
      train_state, first = trainer.init(), 0
    else:
      first, params, optimizer, _ = restored
      train_state = state.TrainState(params, optimizer, jax.device_put(np.int32(first), template.step.sharding))
      _log.info("continuing from step %d in %s", first, checkpoints.directory)
    total = _total_steps(train_config, workdir, trainer, lambda: batches(0, rows), began)
    log = metrics.MetricsLog(workdir, first)
    stack.callback(log.close)
    stopping = stack.enter_context(_on_sigterm())
    prefetched = stack.enter_context(prefetch.prefetch(batches(first, rows)))
    bar = stack.enter_context(tqdm.tqdm(total=total, initial=first, desc="train", unit="step", dynamic_ncols=True))

    interval, waited, mark = [], 0.0, time.perf_counter()
    for done in range(first + 1, total + 1):
      asked = time.perf_counter()
      batch = next(prefetched)
      waited += time.perf_counter() - asked
      train_state, measured = trainer(train_state, trainer.put(batch), total)
      if interval:  # at most one step is under way beside the one just asked for
        jax.block_until_ready(interval[-1])
      interval.append(measured)
      length = batch["tokens"].shape[1]
      bar.update()
      if done % train_config.log_every and done != total:
        continue
      row = metrics.summarize(done, interval, component_names)
      seconds = time.perf_counter() - mark
      row |= {
        "tokens": done * train_config.batch_size * length,
        "interval_tokens": len(interval) * train_config.batch_size * length,
        "interval_seconds": seconds,
        "tokens_per_second": len(interval) * train_config.batch_size * length / seconds,
        "data_wait": waited / seconds,
      }
      log.write(row)
      bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f} tokens/s")
      interval, waited, mark = [], 0.0, time.perf_counter()
      if done % train_config.checkpoint_every == 0 or done == total or stopping.is_set():
        checkpoints.save(done, train_state.params, train_state.optimizer, meta, tokenizer)
      if stopping.is_set():
        checkpoints.wait()
        _log.warning("SIGTERM: saved step %d in %s; start again to continue", done, checkpoints.directory)
        raise SystemExit(PREEMPTED)
    checkpoints.wait()
  return train_state


def _total_steps(
  config: TrainConfig, workdir: pathlib.Path, trainer: step.Trainer, batches: Callable[[], Iterator], began: float
) -> int:
  """The run's length. Timed steps run on a fresh state that is thrown away; plan.json makes their result final."""
  if (config.steps is None) == (config.minutes is None):
    raise GatoError(f"train.steps={config.steps} and train.minutes={config.minutes}: give exactly one of the two")
  if config.steps is not None:
    return config.steps
  path = workdir / "plan.json"
  if path.exists():
    return json.loads(path.read_text())["steps"]
  scratch, total, seconds_per_step = trainer.init(), 10 * _MEASURED_STEPS, []
  with prefetch.prefetch(batches()) as prefetched:
    for _ in tqdm.trange(_MEASURED_STEPS + 2, desc="compile, time steps", unit="step", dynamic_ncols=True):
      mark = time.perf_counter()
      scratch, measured = trainer(scratch, trainer.put(next(prefetched)), total)
      jax.block_until_ready((scratch, measured))
      seconds_per_step.append(time.perf_counter() - mark)
  seconds = float(np.median(seconds_per_step[2:]))  # the first two compile; the input is slow until its buffers fill
  left = _MARGIN * (60 * config.minutes - (time.perf_counter() - began))
  plan = {"steps": max(1, int(left / seconds)), "minutes": config.minutes, "seconds_per_step": seconds}
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(plan))
  os.replace(temporary, path)
  return plan["steps"]


@contextlib.contextmanager
def _on_sigterm() -> Iterator[threading.Event]:
  """An event that SIGTERM sets; outside the main thread, where Python takes no signals, it is never set."""
  stopping = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield stopping
    return
  before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
  try:
    yield stopping
  finally:
    signal.signal(signal.SIGTERM, before)
