"""A run that branches from a shorter one is the run that would have been trained from the start."""

import json

import pytest
import train_process

from gato_jax.errors import GatoError
from gato_jax.train import loop, optimizer

WSD = optimizer.OptimizerConfig(
  peak_learning_rate=1e-2, schedule="wsd", cooldown=0.25, warmup_steps=1
)


def train_here(workdir, steps, branch_from="", optimizer_config=WSD):
  return loop.train(
    model_config=train_process.CONFIG,
    train_config=loop.TrainConfig(
      steps=steps,
      batch_size=4,
      checkpoint_every=1_000,
      log_every=2,
      keep=1,
      branch_from=str(branch_from),
    ),
    optimizer_config=optimizer_config,
    batches=train_process.batches,
    meta={},
    tokenizer=b"",
    workdir=workdir,
    component_names=train_process.NAMES,
  )


@pytest.fixture(scope="module")
def short(tmp_path_factory):
  """A run of 12 steps, stable up to step 9."""
  workdir = tmp_path_factory.mktemp("short")
  train_here(workdir, 12)
  return workdir


def rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_the_end_of_the_stable_part_is_kept(short):
  kept = sorted(int(path.name) for path in (short / "checkpoints").glob("*") if path.name.isdigit())
  assert kept == [9, 12]


def test_branched_equals_trained_from_the_start(short, tmp_path):
  train_here(tmp_path / "whole", 16)
  train_here(tmp_path / "branched", 16, branch_from=short)

  whole = {row["step"]: row for row in rows(tmp_path / "whole")}
  branched = {row["step"]: row for row in rows(tmp_path / "branched")}
  assert min(branched) == 10
  for step in (12, 14, 16):
    for name in ("loss", "learning_rate", "gradient_norm", "tokens", "flops"):
      assert branched[step][name] == whole[step][name], (step, name)
  assert branched[16]["learning_rate"] < branched[12]["learning_rate"]
  assert branched[12]["learning_rate"] == pytest.approx(WSD.peak_learning_rate)


def test_a_branch_goes_on_from_its_own_checkpoints(short, tmp_path):
  """Where it has some, the other run may be gone."""
  train_here(tmp_path / "branched", 16, branch_from=short)
  train_here(tmp_path / "branched", 16, branch_from=tmp_path / "gone")
  assert rows(tmp_path / "branched")[-1]["step"] == 16


@pytest.mark.parametrize(
  ("steps", "config", "message"),
  [
    (
      16,
      optimizer.OptimizerConfig(peak_learning_rate=1e-2),
      "only runs with optimizer.schedule=wsd",
    ),
    (16, {"peak_learning_rate": 2e-2}, "trained with optimizer.peak_learning_rate=0.01"),
    (40, {"warmup_steps": 3}, "trained with optimizer.warmup_steps=1"),
    (10, {}, "no checkpoint from before the decay"),
  ],
)
def test_what_cannot_branch_is_one_line(short, tmp_path, steps, config, message):
  if isinstance(config, dict):
    config = optimizer.OptimizerConfig(
      **{"peak_learning_rate": 1e-2, "schedule": "wsd", "cooldown": 0.25, "warmup_steps": 1}
      | config
    )
  with pytest.raises(GatoError, match=message):
    train_here(tmp_path / "branched", steps, branch_from=short, optimizer_config=config)


def test_a_run_without_checkpoints_is_no_source(tmp_path):
  with pytest.raises(GatoError, match="no checkpoint from before the decay"):
    train_here(tmp_path / "branched", 16, branch_from=tmp_path / "nothing")


def test_schedule_of_wsd():
  """Rises to the peak, stays, and falls in a straight line to the final rate."""
  rates = [float(optimizer.learning_rate(WSD, step, 40)) for step in range(41)]
  assert rates[0] < rates[1] == rates[30] > rates[31]
  assert rates[1] == pytest.approx(WSD.peak_learning_rate)
  assert rates[35] == pytest.approx(WSD.peak_learning_rate * 0.55)
  assert rates[40] == pytest.approx(WSD.peak_learning_rate * WSD.final_fraction)
  assert optimizer.cooldown_start(WSD, 40) == 30
  assert optimizer.cooldown_start(optimizer.OptimizerConfig(), 40) is None


@pytest.mark.parametrize(
  ("settings", "message"),
  [({"schedule": "linear"}, "optimizer.schedule"), ({"cooldown": 0.0}, "optimizer.cooldown=0.0")],
)
def test_bad_settings(settings, message):
  with pytest.raises(GatoError, match=message):
    optimizer.OptimizerConfig(**settings)
