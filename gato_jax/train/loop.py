"""The training loop: resume, measure, train, log, save, go back."""

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

from gato_jax import checkpoint, distributed, hardware, model, sharding
from gato_jax.errors import GatoError
from gato_jax.train import clock, guard, metrics, plan, prefetch, profile, state, step
from gato_jax.train.config import PREEMPTED, TrainConfig
from gato_jax.train.optimizer import OptimizerConfig

_log = logging.getLogger(__name__)
Batches = Callable[[int, np.ndarray], Iterator[Mapping[str, np.ndarray]]]


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
  held_out: Batches | None = None,
  track: metrics.Track = lambda row: None,
  start: Any = None,
) -> state.TrainState:
  """Trains to the end of the run, from the newest checkpoint in workdir/checkpoints where there is one.

  All processes of a run call it with the same arguments; the first one writes the logs.

  Args:
    batches: (start, rows) -> endless iterator over these rows (int64, ascending) of the global batches from step start
      on (docs/batch.md).
    meta: JSON, stored in every checkpoint; the parts about the model and the training are added.
    component_names: of the mixture, "domain.task", in the order of batch["components"].
    profile_steps: first and last step of a profiler trace, which goes to workdir/profile.
    held_out: batches like `batches`, of what never trains, for train_config.held_out_batches.
    start: parameters to begin with, where there is no checkpoint yet; fresh ones by default.
    track: takes what goes to metrics.jsonl, row by row (tracking.py); in the first process only.

  Raises:
    GatoError: a loss is bad and there is nothing to go back to. SystemExit(42): SIGTERM came to a process, everything
      is saved.
  """
  if train_config.held_out_batches and held_out is None:
    raise GatoError(f"train.held_out_batches={train_config.held_out_batches}, but no held-out batches are given")
  began = time.perf_counter()
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  mesh = sharding.make_mesh(train_config.mesh_data, train_config.mesh_fsdp, train_config.mesh_model)
  sharding.check_batch(mesh, train_config.batch_size, train_config.accumulate)
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
    length = plan.Plan.of(workdir / "plan.json", train_config.steps, train_config.minutes, measure, began)
    meta = {
      **meta,
      "model": model_config.to_json(),
      "train": dataclasses.asdict(train_config),
      "optimizer": dataclasses.asdict(optimizer_config),
      "components": list(component_names),
    }
    stop_requested = stack.enter_context(distributed.stop_requests())
    run = _Run(
      trainer, train_config, checkpoints, batches, rows, length, began, workdir, component_names, track, profile_steps,
      start,
    )  # fmt: skip
    for rollbacks_left in reversed(range(train_config.rollbacks + 1)):
      try:
        trained = run.go(meta, tokenizer, stop_requested)
        if train_config.held_out_batches:
          measured = measure_held_out(trainer, trained.params, held_out(0, rows), train_config, component_names)
          metrics.write_held_out(workdir, {"step": run.done, **measured})
          if distributed.is_first():
            track({"step": run.done, **{f"held_out/{name}": value for name, value in measured.items()}})
        return trained
      except guard.BadLoss as e:
        if not rollbacks_left or not run.leave_out(e.step):
          raise
        _log.warning("%s: going back to the newest checkpoint, leaving out the batches up to that one", e.what)
  raise AssertionError("the last round returns or raises")


def measure_held_out(
  trainer: step.Trainer,
  params: Any,
  batches: Iterator[Mapping[str, np.ndarray]],
  config: TrainConfig,
  names: Sequence[str],
) -> dict[str, float]:
  """metrics.losses over config.held_out_batches, and their number; all processes call it."""
  count = config.held_out_batches
  with prefetch.prefetch(batches) as prefetched:
    bar = tqdm.trange(count, desc="held out", unit="batch", dynamic_ncols=True, disable=not distributed.is_first())
    measured = [jax.device_get(trainer.evaluate(params, trainer.put(next(prefetched)))) for _ in bar]
  return {"batches": count, **metrics.losses(measured, names)}


@dataclasses.dataclass
class _Run:
  """What stays when a run goes back. Batch `step - 1 + skipped` trains step `step`, counted from 1.

  Attributes:
    began: time.perf_counter() of this start. spent_before: seconds that earlier ones took to the checkpoint.
    done: steps. position: batches before it are not read (again).
  """

  trainer: step.Trainer
  config: TrainConfig
  checkpoints: checkpoint.Checkpoints
  batches: Batches
  rows: np.ndarray
  plan: plan.Plan
  began: float
  workdir: pathlib.Path
  names: Sequence[str]
  track: metrics.Track
  profile_steps: tuple[int, int] | None
  start: Any
  skipped: int = 0
  position: int = 0
  done: int = 0
  spent_before: float | None = None

  @property
  def spent(self) -> float:
    """Seconds of training, of all starts."""
    return self.spent_before + time.perf_counter() - self.began

  def leave_out(self, bad: int) -> bool:
    """The next `go` begins behind the batch of step `bad`; False where there is no checkpoint to begin from."""
    self.position = bad + self.skipped
    self.checkpoints.wait()
    return bool(self.checkpoints.steps())

  def go(self, meta: Mapping[str, Any], tokenizer: bytes, stop_requested: Callable[[], bool]) -> state.TrainState:
    """Trains from the newest checkpoint to the end."""
    template = self.trainer.template()
    restored = self.checkpoints.restore_latest(template.params, template.optimizer)
    if restored is None:
      train_state, first, interval = self.trainer.init(self.start), 0, []
      watch = guard.Guard(self.config.spike_nats, self.names, 0)
    else:
      first, params, optimizer, before = restored
      train_state = state.TrainState(params, optimizer, jax.device_put(np.int32(first), template.step.sharding))
      interval = metrics.from_json(before["interval"])
      watch = guard.Guard(self.config.spike_nats, self.names, first, before["losses"])
      self.position = max(self.position, before["position"])
      _log.info("continuing from step %d in %s", first, self.checkpoints.directory)
      total = self.plan.total(first)
      if before["total_steps"] != total and before["optimizer"]["decay_steps"] is None:
        _log.warning("%d steps instead of %d: the learning rate falls over these now", total, before["total_steps"])
      if self.spent_before is None:
        self.spent_before = before.get("seconds", self.plan.seconds_of(first))
    self.spent_before = self.spent_before or 0.0
    self.done = first
    self.skipped = max(0, self.position - first)
    return self._steps(train_state, first, interval, watch, meta, tokenizer, stop_requested)

  def _steps(self, train_state, first, interval, watch, meta, tokenizer, stop_requested) -> state.TrainState:
    config, checkpoints, hidden = self.config, self.checkpoints, not distributed.is_first()
    peak = hardware.peak_flops(list(self.trainer.mesh.devices.flat))
    with contextlib.ExitStack() as stack:
      log = stack.enter_context(contextlib.closing(metrics.MetricsLog(self.workdir, first, self.track)))
      prefetched = stack.enter_context(prefetch.prefetch(self.batches(first + self.skipped, self.rows)))
      profiler = profile.Profiler(self.profile_steps, self.workdir / "profile")
      stack.callback(profiler.close)
      total = self.plan.total(first)
      bar = tqdm.tqdm(total=total, initial=first, desc="train", unit="step", dynamic_ncols=True, disable=hidden)
      stack.callback(bar.close)
      timer = stack.enter_context(contextlib.closing(clock.Clock()))
      while self.done < total:
        self.done += 1
        done = self.done
        with timer.waiting():
          batch = next(prefetched)
        profiler.before(done)
        train_state, measured = self.trainer(train_state, self.trainer.put(batch), total)
        timer.dispatched(measured)
        profiler.after(done, measured)
        if interval:  # at most one step is under way beside the one just asked for
          jax.block_until_ready(interval[-1])
        interval.append(measured)
        bar.update()
        if done == first + 1:  # its time is compilation's: told once, and kept out of the others'
          jax.block_until_ready(measured)
          times, logged = timer.take(1), done
          _log.info("step %d: the first one took %.1f s, compilation included", done, times["interval_seconds"])
        stop = stop_requested()
        total = self.plan.total(done)  # of an earlier start, whose steps may have been logged elsewhere
        if done % config.log_every == 0 or done == total:
          checkpoints.check()
          watch.check(done, interval)
          row = metrics.summarize(done, interval, self.names)
          shape = config.batch_size, batch["tokens"].shape[1], batch["patches"].shape[1]
          if done > logged:
            times = timer.take(done - logged)
            self.plan.timed(done - logged, times["interval_seconds"])
          row |= metrics.throughput(row, times, self.trainer.config, shape, len(interval), peak)
          log.write(row | {"skipped_batches": self.skipped} | checkpoints.take_seconds())
          bar.set_postfix_str(metrics.line(row))
          interval, logged = [], done
          self.plan.keep_time(done, self.spent)
          bar.total = total = self.plan.total(done)
        if stop or done % config.checkpoint_every == 0 or done == total:
          watch.check(done, interval)
          now = {
            "interval": metrics.to_json(interval), "losses": watch.history, "position": done + self.skipped,
            "total_steps": total, "seconds": self.spent,
          }  # fmt: skip
          checkpoints.save(done, train_state.params, train_state.optimizer, meta | now, tokenizer)
        if stop:
          checkpoints.wait()
          _log.warning("SIGTERM: saved step %d in %s; start again to continue", done, checkpoints.directory)
          raise SystemExit(PREEMPTED)
      checkpoints.wait()
    return train_state
