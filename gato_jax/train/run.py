"""Trains from the newest checkpoint to the end of a run, and again after a rollback."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax import progress
from gato_jax.train import (
  checkpoint,
  clock,
  guard,
  metrics,
  multihost,
  plan,
  prefetch,
  profile,
  state,
  step,
)
from gato_jax.train.config import PREEMPTED, TrainConfig

_log = logging.getLogger(__name__)
Batches = Callable[[int, np.ndarray], Iterator[Mapping[str, np.ndarray]]]


@dataclasses.dataclass
class _Segment:
  """State of the training between two rollbacks.

  Attributes:
    first: Number of steps done at its beginning.
    train_state: After the last step that was dispatched.
    interval: Metrics of the steps since the last row of the log.
    guard: Checks the losses.
    flops: FLOPs of the run up to the last row of the log; None where the checkpoint is of a version
      that did not count them.
    logged: Last step whose time was taken: the last one of a row, or the first step.
    times: Of the interval up to that step (Clock.take).
  """

  first: int
  train_state: state.TrainState
  interval: list[Mapping[str, Any]]
  guard: guard.Guard
  flops: float | None = 0.0
  logged: int = 0
  times: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class Run:
  """A run in this process: what it needs, and the state that survives a rollback.

  Step `step`, counted from 1, trains on batch `step - 1 + skipped`.

  Attributes:
    trainer: The compiled step.
    config: Settings of the training.
    checkpoints: Of this run.
    batches: (start, rows) -> iterator, as for gato_jax.train.loop.train.
    rows: This process's rows of the global batch.
    plan: Length of the run.
    workdir: Directory of the run.
    names: Of the components of the mixture.
    meta: Stored in every checkpoint.
    tokenizer: Stored in every checkpoint, serialised.
    stop_requested: Returns True after SIGTERM; called once per step.
    track: Receives the rows of the log.
    profile_steps: First and last step of a profiler trace.
    initial_params: Parameters to begin with; None for fresh ones.
    branch: Checkpoints and step of another run to begin with; None for none.
    cooldown_start: Step that is saved, because longer runs branch from it; None for none.
    start_time: time.perf_counter() at the start of this process's training.
    peak_flops: FLOP/s of all devices together.
    skipped: Number of batches that were left out so far.
    position: Index of the first batch that may be read; earlier ones are not read (again).
    done: Number of steps done.
    seconds_before: Training time of earlier starts, up to the checkpoint that this start began
      from.
  """

  trainer: step.Trainer
  config: TrainConfig
  checkpoints: checkpoint.Checkpoints
  batches: Batches
  rows: np.ndarray
  plan: plan.Plan
  workdir: pathlib.Path
  names: Sequence[str]
  meta: Mapping[str, Any]
  tokenizer: bytes
  stop_requested: Callable[[], bool]
  track: metrics.Track
  profile_steps: tuple[int, int] | None
  initial_params: Any
  branch: tuple[pathlib.Path, int] | None
  cooldown_start: int | None
  start_time: float
  peak_flops: float
  skipped: int = 0
  position: int = 0
  done: int = 0
  seconds_before: float | None = None

  @property
  def seconds(self) -> float:
    """Seconds of training in all starts of the run."""
    return (self.seconds_before or 0.0) + time.perf_counter() - self.start_time

  def skip_batches(self, bad_step: int) -> bool:
    """Lets the next `train` begin after the batch of a bad step.

    Returns:
      False where there is no checkpoint to begin from.
    """
    # Step `bad_step` trained on batch bad_step - 1 + skipped; the next batch is one further.
    self.position = bad_step + self.skipped
    self.checkpoints.wait()
    return bool(self.checkpoints.steps())

  def train(self) -> state.TrainState:
    """Trains from the newest checkpoint to the end of the run.

    Raises:
      guard.BadLoss: A step has a bad loss.
      SystemExit: After SIGTERM, when everything is saved.
    """
    segment = self._restore()
    self.done = segment.first
    # The first batch is number first + skipped: the first one that may be read, if there is a gap.
    self.skipped = max(0, self.position - segment.first)

    return self._train_steps(segment)

  def _restore(self) -> _Segment:
    """Returns the state of the newest checkpoint, or that of the beginning."""
    template = self.trainer.template()
    restored = self.checkpoints.restore_latest(template.params, template.optimizer)
    directory = self.checkpoints.directory
    if restored is None and self.branch is not None:
      directory, step_number = self.branch
      restored = checkpoint.restore(
        directory, step_number, template.params, optimizer=template.optimizer
      )

    if restored is None:
      self.seconds_before = self.seconds_before or 0.0
      return _Segment(
        first=0,
        train_state=self.trainer.init(self.initial_params),
        interval=[],
        guard=guard.Guard(self.config.spike_nats, self.names, step=0),
      )

    first, params, optimizer, meta = restored
    self.position = max(self.position, meta["position"])
    _log.info("continuing from step %d in %s", first, directory)
    self._warn_of_length(first, meta)
    # Set once per start: after a rollback, the time since `start_time` still counts.
    if self.seconds_before is None:
      self.seconds_before = meta.get("seconds", self.plan.seconds_of(first))

    return _Segment(
      first=first,
      train_state=state.TrainState(
        params, optimizer, step=jax.device_put(np.int32(first), template.step.sharding)
      ),
      interval=metrics.from_json(meta["interval"]),
      guard=guard.Guard(self.config.spike_nats, self.names, step=first, history=meta["losses"]),
      flops=meta.get("flops"),
    )

  def _warn_of_length(self, first: int, meta: Mapping[str, Any]) -> None:
    """Warns where the checkpoint was trained for another length, which changes the schedule."""
    total = self.plan.total(first)
    if meta["total_steps"] != total and meta["optimizer"]["decay_steps"] is None:
      _log.warning(
        "%d steps instead of %d: the learning rate falls over these now", total, meta["total_steps"]
      )

  def _train_steps(self, segment: _Segment) -> state.TrainState:
    """Trains to the end of the run, logging and saving on the way."""
    with contextlib.ExitStack() as stack:
      log = stack.enter_context(
        contextlib.closing(metrics.MetricsLog(self.workdir, segment.first, track=self.track))
      )
      prefetched = stack.enter_context(
        prefetch.prefetch(self.batches(segment.first + self.skipped, self.rows))
      )
      profiler = profile.Profiler(self.profile_steps, self.workdir / "profile")
      stack.callback(profiler.close)

      total = self.plan.total(segment.first)
      bar = progress.Bar(
        total=total,
        initial=segment.first,
        desc="train",
        unit="step",
        disable=not multihost.is_first(),
      )
      stack.callback(bar.close)
      timer = stack.enter_context(contextlib.closing(clock.Clock()))

      while self.done < self._end(total):
        self.done += 1
        with timer.waiting():
          batch = next(prefetched)

        profiler.before(self.done)
        segment.train_state, measured = self.trainer(
          segment.train_state, self.trainer.put(batch), total_steps=total
        )
        timer.dispatched(measured)
        profiler.after(self.done, measured)

        # At most one step is in progress besides the one just dispatched, so that the host does not
        # run ahead of the devices and fill their memory with batches.
        if segment.interval:
          jax.block_until_ready(segment.interval[-1])
        segment.interval.append(measured)
        bar.update()

        # The time of the first step is that of compilation: it is kept out of the others'.
        if self.done == segment.first + 1:
          jax.block_until_ready(measured)
          segment.times, segment.logged = timer.take(1), self.done
          _log.info(
            "step %d: the first one took %.1f s, compilation included",
            self.done,
            segment.times["interval_seconds"],
          )

        stop = self.stop_requested()

        # An earlier start may have lowered the length from this step on, where it had logged a row.
        total = self.plan.total(self.done)
        if self.done % self.config.log_every == 0 or self.done == self._end(total):
          row = self._log_interval(segment, log, timer=timer, batch=batch)
          bar.set_postfix_str(metrics.line(row))
          self.plan.keep_time(self.done, self.seconds)
          total = self.plan.total(self.done)
          bar.total = total

        if stop or self._saves(total):
          log.flush()
          self._save(segment, total)
        if stop:
          self.checkpoints.wait()
          _log.warning(
            "SIGTERM: saved step %d in %s; start again to continue",
            self.done,
            self.checkpoints.directory,
          )
          raise SystemExit(PREEMPTED)

      self.checkpoints.wait()

    return segment.train_state

  def _saves(self, total: int) -> bool:
    """Returns True if the step just done is saved."""
    due = self.done % self.config.checkpoint_every == 0
    return due or self.done in (self.cooldown_start, self._end(total))

  def _end(self, total: int) -> int:
    """Returns the last step of this start of a run of `total` steps."""
    return max(1, round(self.config.stop_at * total))

  def _log_interval(
    self,
    segment: _Segment,
    log: metrics.MetricsLog,
    timer: clock.Clock,
    batch: Mapping[str, np.ndarray],
  ) -> dict[str, float]:
    """Checks and logs the steps since the last row.

    Returns:
      The row, without the numbers about skipped batches and saves.
    """
    self.checkpoints.check()
    segment.guard.check(self.done, segment.interval)
    row = metrics.summarize(self.done, segment.interval, names=self.names)

    # Where the first step is a row of its own, its time was taken already.
    steps_since_logged = self.done - segment.logged
    if steps_since_logged:
      segment.times = timer.take(steps_since_logged)
      self.plan.timed(steps_since_logged, segment.times["interval_seconds"])
    row |= metrics.throughput(
      row,
      segment.times,
      config=self.trainer.config,
      shape=(self.config.batch_size, batch["tokens"].shape[1]),
      steps=len(segment.interval),
      peak=self.peak_flops,
    )

    row["run_seconds"] = self.seconds
    if segment.flops is not None:
      segment.flops += row["interval_flops"]
      row["flops"] = segment.flops

    log.write(row | {"skipped_batches": self.skipped} | self.checkpoints.take_seconds())
    segment.interval = []
    segment.logged = self.done

    return row

  def _save(self, segment: _Segment, total: int) -> None:
    """Saves a checkpoint, after checking the losses that led to it."""
    segment.guard.check(self.done, segment.interval)

    progress = {
      # The metrics since the last row, so that a resumed run logs the same row.
      "interval": metrics.to_json(segment.interval),
      "losses": segment.guard.history,
      "flops": segment.flops,
      "position": self.done + self.skipped,
      "total_steps": total,
      "seconds": self.seconds,
    }
    self.checkpoints.save(
      self.done,
      segment.train_state.params,
      optimizer=segment.train_state.optimizer,
      meta={**self.meta, **progress},
      tokenizer=self.tokenizer,
    )
