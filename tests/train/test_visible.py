"""Metrics, profiles and the clock of a run, and its rollback when a loss is bad."""

import json
import logging
import threading

import numpy as np
import pytest
import train_process
from train_process import rows

from benchmarks.train_step import control_batch
from gato_jax.errors import GatoError
from gato_jax.model import flops
from gato_jax.train import checkpoint, clock, guard, loop, optimizer, profile
from gato_jax.train import metrics as summary

BAD = 30  # the number of the batch that spoils the run
STEPS = 40


def metrics(losses, counts=(100.0, 0.0, 200.0)):
  """Metrics of one step for each loss; in a step every target has the same loss.

  `counts` are the numbers of targets of the components one.a, one.b and two.c.
  """
  counts = np.array(counts)
  return [
    {
      "loss": np.float32(loss),
      "component_sums": np.float32(loss) * counts,
      "component_counts": counts,
    }
    for loss in losses
  ]


def test_flops_are_those_of_the_patches_that_are_there():
  rates = dict.fromkeys(["learning_rate", "gradient_norm", "update_norm"], np.float32(1.0))
  steps = [metrics([2.0])[0] | rates | {"patches": np.float32(count)} for count in (0, 6)]
  row = summary.summarize(2, steps, train_process.NAMES)

  def counted(row):
    times = {"step_seconds": 1.0}
    return summary.throughput(row, times, train_process.CONFIG, shape=(4, 36), steps=2, peak=1e9)

  fewer = counted(row | {"interval_patches": 0})
  sizes = {"rows": 4, "length": 36, "targets": 300.0, "patches": 3.0}
  assert row["interval_patches"] == 6
  assert counted(row)["interval_flops"] == pytest.approx(
    2 * flops.train_step(train_process.CONFIG, **sizes)
  )
  assert counted(row)["interval_flops"] > fewer["interval_flops"]


def mixed(one, two, targets=3000.0):
  """Metrics of a step with 100 targets of the task "one.a" and `targets` of "two.c"."""
  sums, counts = np.array([100 * one, 0, two * targets]), np.array([100.0, 0, targets])
  return [
    {
      "loss": np.float32(sums.sum() / counts.sum()),
      "component_sums": sums,
      "component_counts": counts,
    }
  ]


def test_every_step_is_checked_once_and_named():
  watch = guard.Guard(3.0, train_process.NAMES, step=0)
  steps = metrics(np.full(25, 2.0))
  watch.check(10, steps[:10])
  watch.check(25, steps[:25])  # steps 1 to 10 again: a checkpoint between two rows

  lengths = {name: len(losses) for name, losses in watch.history.items()}
  assert lengths == {"one.a": 25, "one.b": 0, "two.c": 25}

  watch.check(26, metrics([4.9]))  # 2.9 nats above

  with pytest.raises(
    guard.BadLoss, match=r"loss of one.a is 5.6 at step 28, 2.000 before, of 100 targets;"
  ) as e:
    watch.check(28, metrics([2.0, 5.6]))
  assert e.value.step == 28

  saved = json.loads(json.dumps({name: losses[:26] for name, losses in watch.history.items()}))
  resumed = guard.Guard(3.0, train_process.NAMES, 26, saved)

  with pytest.raises(guard.BadLoss, match="step 27"):
    resumed.check(27, metrics([5.6]))


def test_a_task_is_judged_against_itself():
  """A batch of documents is no accident, whatever the batch before it contained.

  Nor are a few surprising targets.
  """
  watch = guard.Guard(3.0, train_process.NAMES, step=0)

  for step in range(1, 301):
    documents = (
      step % 10 == 0
    )  # they have 30 times the targets, and a loss 5 nats above the others'
    watch.check(step, mixed(1.0, 6.0) if documents else metrics([1.0], (100.0, 0.0, 0.0)))

  lengths = {name: len(losses) for name, losses in watch.history.items()}
  assert lengths == {"one.a": 100, "one.b": 0, "two.c": 30}

  watch.check(301, mixed(1.0, 8.9))
  watch.check(302, mixed(1.0, 14.0, targets=2.0))

  with pytest.raises(
    guard.BadLoss, match="loss of two.c is 14 at step 303, 6.000 before, of 200 targets"
  ):
    watch.check(303, mixed(1.0, 14.0, targets=200.0))

  with pytest.raises(guard.BadLoss, match="loss of one.a is 4.9 at step 303, 1.000 before"):
    watch.check(303, mixed(4.9, 6.0))


def test_a_hard_task_of_an_easy_domain_is_no_spike():
  watch = guard.Guard(3.0, train_process.NAMES, step=0)

  for step in range(1, 301):
    is_hard = step % 10 == 0
    counts = (0.0, 100.0, 0.0) if is_hard else (100.0, 0.0, 0.0)
    watch.check(step, metrics([6.0 if is_hard else 1.0], counts))

  with pytest.raises(guard.BadLoss, match="loss of one.b is 14 at step 301, 6.000 before"):
    watch.check(301, metrics([14.0], (0.0, 100.0, 0.0)))


def test_checkpoints_with_the_losses_of_whole_batches_still_go_on():
  several = guard.Guard(3.0, train_process.NAMES, 25, [2.0] * 25)
  several.check(26, metrics([50.0]))  # nothing is known of any task
  assert several.history == {"one.a": [50.0], "one.b": [], "two.c": [50.0]}
  with pytest.raises(guard.BadLoss, match="loss of one.a is 50"):
    guard.Guard(3.0, ["one.a"], 25, [2.0] * 25).check(26, metrics([50.0], (100.0,)))


def test_only_what_is_not_finite_is_bad_without_the_rule_or_a_past():
  guard.Guard(0.0, train_process.NAMES, 0).check(31, metrics([1.0] * 30 + [50.0]))
  guard.Guard(3.0, train_process.NAMES, 0).check(5, metrics([1.0] * 4 + [50.0]))
  with pytest.raises(guard.BadLoss, match="loss is nan at step 2, domains in the batch: two"):
    guard.Guard(0.0, train_process.NAMES, 0).check(2, metrics([1.0, np.nan], (0.0, 0.0, 200.0)))


def spoiled(start, rows):
  """Yields the same batch again and again, except for batch BAD, which contradicts it."""
  i = start
  while True:
    yield control_batch(4, 36, seed=1 if i == BAD else 0)
    i += 1


def train(workdir, batches, steps=STEPS, profile_steps=None, **settings):
  loop.train(
    model_config=train_process.CONFIG,
    train_config=loop.TrainConfig(
      **{"batch_size": 4, "checkpoint_every": 14, "log_every": 2, **settings}, steps=steps
    ),
    optimizer_config=optimizer.OptimizerConfig(
      peak_learning_rate=3e-2, warmup_steps=2, decay_steps=STEPS
    ),
    batches=batches,
    meta={},
    tokenizer=b"",
    workdir=workdir,
    component_names=train_process.NAMES,
    profile_steps=profile_steps,
  )


def test_a_spike_goes_back_and_leaves_its_batches_out(tmp_path, caplog):
  with caplog.at_level(logging.WARNING, "gato_jax.train.loop"):
    train(tmp_path / "spoiled", spoiled)
  assert (
    "loss of one.a is " in caplog.text
    and "at step 31" in caplog.text
    and ": going back" in caplog.text
  )

  train(tmp_path / "clean", lambda start, rows: spoiled(BAD + 1, rows))
  ours, theirs = rows(tmp_path / "spoiled"), rows(tmp_path / "clean")

  assert [r["loss"] for r in ours] == [r["loss"] for r in theirs]

  # Step 31 was batch 30; the newest checkpoint was step 28: batches 28 to 30 are left out.
  assert [r["skipped_batches"] for r in ours] == [0] * 14 + [3] * 6

  meta = checkpoint.newest_meta(tmp_path / "spoiled" / "checkpoints")

  assert meta["position"] == STEPS + 3 and len(meta["losses"]["one.a"]) == STEPS


@pytest.mark.slow  # trains twice, up to the bad batch and beyond
def test_what_was_left_out_stays_out_after_a_restart(tmp_path):
  train(tmp_path, spoiled, steps=35)
  train(tmp_path, spoiled)
  assert rows(tmp_path)[-1]["skipped_batches"] == 3
  assert checkpoint.newest_meta(tmp_path / "checkpoints")["position"] == STEPS + 3


@pytest.mark.slow  # trains twice up to the bad batch
def test_without_rollbacks_or_checkpoint_a_spike_stops(tmp_path):
  with pytest.raises(GatoError, match="at step 31.*lower optimizer.peak_learning_rate"):
    train(tmp_path / "none_allowed", spoiled, rollbacks=0)
  assert max(int(p.name) for p in (tmp_path / "none_allowed" / "checkpoints").glob("[0-9]*")) == 28
  with pytest.raises(GatoError, match="at step 31"):
    train(tmp_path / "none_saved", spoiled, checkpoint_every=100)


def test_a_row_says_where_the_time_went(tmp_path):
  train(tmp_path, spoiled, steps=4)
  row = rows(tmp_path)[-1]
  assert row["update_norm"] > 0 and row["gradient_norm"] > 0 and 0 < row["utilisation"] < 1
  assert 0 < row["device_seconds"] and 0 <= row["data_wait"] < 1
  assert row["step_seconds"] == pytest.approx(row["interval_seconds"] / 2)
  assert row["tokens_per_second"] == pytest.approx(4 * 36 / row["step_seconds"])


def test_the_clock_tells_waiting_from_working():
  class Step:
    """A computation that is ready when `ready` is set."""

    def __init__(self):
      self.ready = threading.Event()

    def block_until_ready(self):
      self.ready.wait(10)
      return self

  timer = clock.Clock()
  first = Step()
  timer.dispatched(first)
  with timer.waiting():
    first.ready.set()
  timer.close()
  times = timer.take(1)

  assert 0 < times["device_seconds"] <= times["interval_seconds"] == times["step_seconds"]
  assert 0 < times["data_wait"] < 1
  assert timer.take(1)["device_seconds"] == 0


def test_profile_steps(tmp_path):
  assert profile.parse_steps("") is None
  assert profile.parse_steps("3:5") == (3, 5) and profile.parse_steps("3") == (3, 3)

  for wrong in ("5:3", "0:2", "three"):
    with pytest.raises(GatoError, match="profile_steps="):
      profile.parse_steps(wrong)

  train(tmp_path, spoiled, steps=4, profile_steps=(2, 3))

  assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
