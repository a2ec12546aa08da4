"""Loss, optimizer, the sharded step, and the loop around it."""

import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_process

from benchmarks.train_step import control_batch
from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.model import sharding
from gato_jax.train import checkpoint, loop, loss, optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("share", [0.0, 0.125, 1.0])
def test_loss_and_gradient_equal_the_naive_ones(share):
  random = np.random.default_rng(0)
  hidden = jnp.asarray(random.normal(size=(3, 20, 8)), jnp.float32)
  table = jnp.asarray(random.normal(size=(50, 8)), jnp.float32)
  batch = {
    "labels": jnp.asarray(random.integers(0, 50, (3, 20))),
    "targets": random.random((3, 20)) < share,
    "components": jnp.array([0, 2, 2]),
  }
  batch["targets"][:, 0] = False  # the first position has none before it
  batch["targets"] = jnp.asarray(batch["targets"])

  def naive(hidden, table):
    log_p = jax.nn.log_softmax(hidden[:, :-1] @ table.T)
    picked = jnp.take_along_axis(log_p, batch["labels"][:, 1:, None], -1)[..., 0]
    return -(picked * batch["targets"][:, 1:]).sum() / max(batch["targets"].sum(), 1)

  def ours(hidden, table):
    total, metrics = loss.next_token_loss(hidden, table, batch, components=4, chunk=7)
    return total / jnp.maximum(metrics["component_counts"].sum(), 1), metrics

  with jax.set_mesh(sharding.make_mesh()):
    (value, metrics), gradients = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(
      hidden, table
    )
    without_gradient = jax.jit(ours)(hidden, table)[0]

  expected, expected_gradients = jax.value_and_grad(naive, (0, 1))(hidden, table)

  np.testing.assert_allclose([value, without_gradient], [expected] * 2, rtol=1e-5)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradients, expected_gradients
  )
  per_row = batch["targets"].sum(1)

  np.testing.assert_array_equal(
    metrics["component_counts"], [per_row[0], 0, per_row[1] + per_row[2], 0]
  )
  np.testing.assert_allclose(
    metrics["component_sums"].sum(), value * max(per_row.sum(), 1), rtol=1e-5
  )


def test_logits_of_a_whole_batch_are_never_formed():
  """Memory of the compiled loss and gradient stays far below [B, L, V]."""
  hidden, table = (
    jax.ShapeDtypeStruct((8, 512, 16), jnp.float32),
    jax.ShapeDtypeStruct((33_025, 16), jnp.float32),
  )
  batch = {
    "labels": jax.ShapeDtypeStruct((8, 512), jnp.int32),
    "targets": jax.ShapeDtypeStruct((8, 512), bool),
    "components": jax.ShapeDtypeStruct((8,), jnp.int32),
  }
  compute = jax.value_and_grad(lambda h, t, b: loss.next_token_loss(h, t, b, 1, 128)[0], (0, 1))

  with jax.set_mesh(sharding.make_mesh()):
    used = (
      jax.jit(compute).lower(hidden, table, batch).compile().memory_analysis().temp_size_in_bytes
    )

  assert used < 0.2 * 8 * 512 * 33_025 * 4


def test_schedule():
  config = optimizer.OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=100)

  def rate(s, total):
    return float(optimizer.learning_rate(config, s, total))

  np.testing.assert_allclose(
    [rate(0, 2000), rate(50, 2000), rate(100, 2000)], [1e-7, 5e-4, 1e-3], rtol=1e-3
  )
  np.testing.assert_allclose(
    [rate(1050, 2000), rate(2000, 2000), rate(9999, 2000)], [5.5e-4, 1e-4, 1e-4], rtol=1e-3
  )
  np.testing.assert_allclose(
    rate(20, 200), 1e-3, rtol=1e-3
  )  # the warm-up of a short run is a tenth of it


def test_what_is_not_decayed():
  decayed = optimizer.decayed(model.abstract_params(train_process.CONFIG))
  kept = {jax.tree_util.keystr(p) for p, d in jax.tree_util.tree_leaves_with_path(decayed) if not d}
  names = {k.split("'")[-2] for k in kept}

  assert names == {
    "scale",
    "bias",
    "root_bias",
    "content_bias",
    "distance_bias",
    "local_positions",
    "action_position",
    "row_positions",
    "column_positions",
  }
  assert decayed["embedding"]["tokens"] and decayed["decoder"]["layers"]["attention"]["distance"]


def train_here(workdir, batches=train_process.batches, **settings):
  settings = {"batch_size": 4, "checkpoint_every": 4, "log_every": 2, **settings}
  return loop.train(
    model_config=train_process.CONFIG,
    train_config=loop.TrainConfig(**settings),
    optimizer_config=optimizer.OptimizerConfig(peak_learning_rate=1e-2),
    batches=batches,
    meta={},
    tokenizer=b"",
    workdir=workdir,
    component_names=train_process.NAMES,
  )


# Slow: a minute, by its nature.
@pytest.mark.slow
def test_minutes_are_planned_once(tmp_path):
  (tmp_path / "planned").mkdir()
  (tmp_path / "planned" / "plan.json").write_text('{"steps": 6, "minutes": 60.0}')
  train_here(tmp_path / "planned", minutes=60.0)
  train_here(tmp_path / "given", steps=6)

  assert train_process.learned(tmp_path / "planned") == train_process.learned(tmp_path / "given")

  train_here(tmp_path / "measured", minutes=0.001)
  plan = json.loads((tmp_path / "measured" / "plan.json").read_text())

  assert plan["steps"] == 1 and plan["seconds_per_step"] > 0
  assert train_process.rows(tmp_path / "measured")[0]["loss"] == pytest.approx(
    np.log(train_process.CONFIG.table_rows), rel=0.1
  )  # the timed steps left no trace


@pytest.mark.slow  # trains three times
def test_more_minutes_extend_a_run_and_fewer_end_it(tmp_path):
  (tmp_path / "plan.json").write_text('{"steps": 4, "minutes": 60.0}')
  train_here(tmp_path, minutes=60.0)
  train_here(tmp_path, minutes=120.0)
  assert train_process.rows(tmp_path)[-1]["step"] == train_process.newest(tmp_path) == 8
  train_here(tmp_path, minutes=30.0)
  assert train_process.rows(tmp_path)[-1]["step"] == train_process.newest(tmp_path) == 8


@pytest.mark.slow  # it has to be slow for a while
def test_a_machine_that_got_slower_has_fewer_steps_in_the_same_minutes(tmp_path):
  """A plan for 3 ms a step, which then takes 50: a minute instead of three seconds."""
  (tmp_path / "plan.json").write_text('{"steps": 1000, "minutes": 0.05, "seconds_per_step": 0.003}')

  def slow(start, rows):
    for batch in train_process.batches(start, rows):
      time.sleep(0.05)
      yield batch

  train_here(tmp_path, slow, minutes=0.05, checkpoint_every=20)
  plan = json.loads((tmp_path / "plan.json").read_text())
  row = train_process.rows(tmp_path)[-1]

  assert row["step"] == train_process.newest(tmp_path) == plan["steps"] < 1000
  assert plan["totals"][0] == [0, 1000] and plan["totals"][-1][1] == plan["steps"]

  meta = checkpoint.newest_meta(tmp_path / "checkpoints")

  assert meta["total_steps"] == plan["steps"] and meta["seconds"] > 0

  before = len(plan["totals"])
  train_here(tmp_path, slow, minutes=0.05, checkpoint_every=20)  # there is nothing left to do

  assert len(json.loads((tmp_path / "plan.json").read_text())["totals"]) == before


# Slow: half a minute: three trainings.
@pytest.mark.slow
def test_what_was_lowered_is_lowered_at_the_same_step_after_a_restart(tmp_path):
  plan = '{"steps": 12, "minutes": 600.0, "seconds_per_step": 0.01, "totals": [[0, 100], [6, 12]]}'

  def broken(start, rows):
    for i, batch in enumerate(train_process.batches(start, rows), start):
      if i == 7:
        raise GatoError("corrupt record 7")
      yield batch

  for name in ("whole", "stopped"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "plan.json").write_text(plan)

  train_here(tmp_path / "whole", minutes=600.0)

  with pytest.raises(GatoError, match="corrupt"):
    train_here(tmp_path / "stopped", broken, minutes=600.0)
  assert (
    train_process.newest(tmp_path / "stopped") == 4
  )  # before the step at which the number falls

  train_here(tmp_path / "stopped", minutes=600.0)

  assert train_process.learned(tmp_path / "stopped") == train_process.learned(tmp_path / "whole")

  rates = {row["step"]: row["learning_rate"] for row in train_process.rows(tmp_path / "whole")}
  config = optimizer.OptimizerConfig(peak_learning_rate=1e-2)
  for done, total in ((4, 100), (6, 100), (8, 12), (12, 12)):
    assert rates[done] == pytest.approx(float(optimizer.learning_rate(config, done - 1, total)))


def test_rows_say_what_a_person_greps(tmp_path):
  train_here(tmp_path, steps=4)
  row = train_process.rows(tmp_path)[-1]

  assert {
    "step",
    "loss",
    "loss/one",
    "loss/two",
    "loss/one.a",
    "loss/one.b",
    "loss/two.c",
    "learning_rate",
  } <= set(row)
  assert row["tokens"] == 4 * 4 * 36 and row["interval_tokens"] == 2 * 4 * 36
  assert row["interval_target_tokens"] == 2 * 4 * 4 and 0 <= row["data_wait"] <= 1
  assert list((tmp_path / "tensorboard").glob("events*"))


def test_nan_names_step_and_domains(tmp_path):
  with pytest.raises(GatoError, match=r"step [12], domains in the batch: one, two"):
    loop.train(
      model_config=train_process.CONFIG,
      train_config=loop.TrainConfig(steps=4, batch_size=4, checkpoint_every=2, log_every=2),
      optimizer_config=optimizer.OptimizerConfig(peak_learning_rate=float("nan")),
      batches=train_process.batches,
      meta={},
      tokenizer=b"",
      workdir=tmp_path,
      component_names=train_process.NAMES,
    )
  assert not [p for p in (tmp_path / "checkpoints").glob("*") if p.name.isdigit()]


def test_input_errors_reach_the_user(tmp_path):
  def broken(start, rows):
    yield from [next(train_process.batches(start, rows))]
    raise GatoError("corrupt record 7")

  with pytest.raises(GatoError, match="corrupt record 7"):
    train_here(tmp_path / "broken", broken, steps=4)
  with pytest.raises(GatoError, match="exactly one"):
    train_here(tmp_path / "both", steps=4, minutes=1.0)


def test_it_learns(tmp_path):
  """Learns a repeated batch by heart."""
  one = control_batch(4, 36)
  train_here(tmp_path, lambda start, rows: iter(lambda: one, None), steps=60, checkpoint_every=60)
  assert train_process.rows(tmp_path)[-1]["loss"] < 0.5 * train_process.rows(tmp_path)[0]["loss"]
