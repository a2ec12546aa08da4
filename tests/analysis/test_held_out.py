"""Held-out loss: episodes that never train.

It is the same on one device and on eight, and is written at the end of a run.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks.train_step import control_batch
from gato_jax import model
from gato_jax.data import mixture, pipeline, prepared, windows
from gato_jax.errors import GatoError
from gato_jax.model import sharding
from gato_jax.tokens import codec
from gato_jax.train import loop, optimizer, step

jax.config.update("jax_num_cpu_devices", 8)
pytestmark = pytest.mark.alone  # the devices of a process are fixed

CONFIG = model.GatoConfig(
  layers=2,
  heads=2,
  width=32,
  feed_forward=64,
  key_size=16,
  patch_channels=32,
  drop_path=0.3,
  text_pieces=1024,  # batches have no text
  dtype="float32",
  remat="none",
)
NAMES = ("one.a", "one.b", "two.c")
TEXT = codec.default_text_codec()


def batches(start, rows):
  while True:
    start += 1
    made = control_batch(16, 36, start) | {
      "components": (np.arange(16) % len(NAMES)).astype(np.int32)
    }
    yield {name: value[rows] for name, value in made.items()}


def trainer(devices, config=CONFIG, **axes):
  mesh = sharding.make_mesh(devices=jax.devices()[:devices], **axes)
  return step.Trainer(config, optimizer.OptimizerConfig(), mesh, components=len(NAMES))


def test_every_nth_episode_is_held_out_and_none_is_on_both_sides(dummy_tfds):
  data = prepared.load(dummy_tfds, "dummy.reach")
  config = mixture.MixtureConfig(sequence_length=128, validation_every=2, prompt_probability=0.5)
  drawn = {}

  for split in ("train", "validation"):
    made = windows.EpisodeWindows(data, TEXT, config, 512, split)
    random = np.random.default_rng(0)
    drawn[split] = {piece.episode for _ in range(300) for piece in made._draw(random)}

  assert drawn["validation"] == set(data.kept[1::2].tolist()) and len(drawn["validation"]) > 2
  assert drawn["train"] == set(data.kept.tolist()) - drawn["validation"]
  with pytest.raises(GatoError, match="to hold out there are none"):
    windows.EpisodeWindows(
      data, TEXT, mixture.MixtureConfig(sequence_length=128), 512, split="validation"
    )

  with pytest.raises(GatoError, match="to train on there are none"):
    windows.EpisodeWindows(data, TEXT, dataclasses.replace(config, validation_every=1), 512)


def test_both_sides_are_read_side_by_side(dummy_tfds):
  config = mixture.MixtureConfig(
    weights={"dummy.reach": 1.0}, sequence_length=128, validation_every=5
  )
  trains, held = (
    pipeline.Input(config, dummy_tfds, 4, TEXT, 512, split=side) for side in ("train", "validation")
  )
  alone = next(pipeline.Input(config, dummy_tfds, 4, TEXT, 512).batches())
  one, other = next(trains.batches()), next(held.batches())

  np.testing.assert_array_equal(one["tokens"], alone["tokens"])
  assert (one["tokens"] != other["tokens"]).any()


def test_the_loss_is_that_of_training_without_stochastic_depth():
  still = trainer(1, dataclasses.replace(CONFIG, drop_path=0.0))
  params = still.init().params
  batch = still.put(next(batches(0, np.arange(16))))
  with jax.set_mesh(still.mesh):
    _, expected, _ = jax.jit(still.gradients)(params, batch, jax.random.key(0))
  measured = trainer(1).evaluate(params, batch)  # drop_path 0.3, which must not matter
  for name in ("component_sums", "component_counts"):
    np.testing.assert_allclose(measured[name], expected[name], rtol=1e-5)

  assert (np.asarray(measured["component_counts"]) > 0).all()


_SLOW = [
  pytest.param(axes, marks=pytest.mark.slow) for axes in ({"data": 8}, {"data": 2, "fsdp": 4})
]


@pytest.mark.parametrize("axes", [*_SLOW, {"data": 2, "fsdp": 2, "model": 2}])
def test_eight_devices_measure_what_one_does(axes):
  one, eight = trainer(1), trainer(8, **axes)
  raw = next(batches(3, np.arange(16)))
  alone = one.evaluate(one.init().params, one.put(raw))
  together = eight.evaluate(eight.init().params, eight.put(raw))
  for name, value in alone.items():
    np.testing.assert_allclose(together[name], value, rtol=1e-5)


# Slow: a minute: three trainings.
@pytest.mark.slow
def test_written_at_the_end_of_a_run(tmp_path):
  settings = dict(
    model_config=CONFIG,
    optimizer_config=optimizer.OptimizerConfig(peak_learning_rate=1e-2),
    batches=batches,
    meta={},
    tokenizer=b"",
    workdir=tmp_path,
    component_names=NAMES,
  )
  config = loop.TrainConfig(steps=3, batch_size=16, log_every=1, validation_batches=2)

  with pytest.raises(GatoError, match="no validation batches"):
    loop.train(train_config=config, **settings)

  loop.train(train_config=dataclasses.replace(config, validation_batches=0), **settings)

  assert not (tmp_path / "validation.json").exists()

  trained = loop.train(
    train_config=config, validation=lambda start, rows: batches(100 + start, rows), **settings
  )
  row = json.loads((tmp_path / "validation.json").read_text())

  assert row["step"] == 3 and row["batches"] == 2
  assert {"loss", "loss/one", "loss/two", "loss/one.a", "loss/one.b", "loss/two.c"} <= set(row)

  eight = trainer(8, data=8)
  sums = [
    eight.evaluate(trained.params, eight.put(b))
    for b, _ in zip(batches(100, np.arange(16)), "ab", strict=False)
  ]
  total = sum(np.asarray(s["component_sums"], np.float64).sum() for s in sums)

  assert row["target_tokens"] == sum(int(np.asarray(s["component_counts"]).sum()) for s in sums)
  assert row["loss"] == pytest.approx(total / row["target_tokens"], rel=1e-5)
