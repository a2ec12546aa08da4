"""model.attention: what is taken where, what is refused, and what is said."""

import dataclasses
import logging
import types

import jax
import model_cases
import numpy as np
import pytest

from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.model import attention_check, attention_choice, relative_flash_kernels

LARGE = model.variant("gato_1b")


def config(**changes):
  return dataclasses.replace(LARGE, **changes)


@pytest.fixture
def on(monkeypatch):
  """Pretends to be on a device."""

  def pretend(platform, kind):
    device = types.SimpleNamespace(platform=platform, device_kind=kind)
    monkeypatch.setattr(attention_choice, "device", lambda: device)
    attention_choice._say.cache_clear()

  return pretend


@pytest.mark.parametrize(
  ("platform", "kind", "changes", "length", "expected"),
  [
    ("cpu", "cpu", {}, 1024, "xla"),
    ("tpu", "TPU v5 lite", {}, 1024, "pallas"),
    ("tpu", "TPU7x", {"heads": 24, "key_size": 32}, 1024, "pallas"),
    ("tpu", "TPU v5 lite", {"attention": "xla"}, 1024, "xla"),
    ("gpu", "NVIDIA H200", {"attention": "cudnn"}, 1024, "cudnn"),
  ],
)
def test_what_is_taken(on, caplog, platform, kind, changes, length, expected):
  on(platform, kind)
  assert attention_choice.implementation(config(**changes), length) == expected
  assert not caplog.records


@pytest.mark.parametrize(
  ("platform", "kind", "changes", "length", "reason"),
  [
    ("tpu", "TPU v4", {}, 1024, "never compiled for TPU v4"),
    ("tpu", "TPU v5", {}, 1000, "1000 tokens is no multiple of 128"),
    ("tpu", "TPU v5", {}, 4096, "up to 2048"),
    ("tpu", "TPU v5", {"heads": 6, "key_size": 32}, 1024, "6 heads of 32"),
    ("gpu", "NVIDIA H200", {}, 1024, "not measured on NVIDIA H200"),
    ("gpu", "NVIDIA H200", {"dtype": "float32"}, 1024, "model.dtype is float32"),
  ],
)
def test_auto_says_once_why_it_takes_the_plain_way(
  on, caplog, platform, kind, changes, length, reason
):
  on(platform, kind)
  for _ in range(3):
    assert attention_choice.implementation(config(**changes), length) == "xla"

  (record,) = caplog.records
  assert record.levelno == logging.WARNING and reason in record.message


@pytest.mark.parametrize(
  ("platform", "changes", "length", "message"),
  [
    ("cpu", {"attention": "cudnn"}, 1024, "for NVIDIA GPUs, and this is a cpu"),
    ("cpu", {"attention": "pallas"}, 1024, "for TPUs, and this is a cpu"),
    ("gpu", {"attention": "cudnn", "dtype": "float32"}, 1024, "model.dtype is float32"),
    ("gpu", {"attention": "cudnn"}, 1023, "even lengths"),
    ("gpu", {"attention": "cudnn", "key_size": 512}, 1024, "model.key_size=512"),
    ("tpu", {"attention": "pallas"}, 96, "96 tokens"),
  ],
)
def test_what_is_asked_for_and_impossible_is_one_line(on, platform, changes, length, message):
  on(platform, platform)
  with pytest.raises(GatoError, match=message) as e:
    attention_choice.implementation(config(**changes), length)
  assert "\n" not in str(e.value) and 'model.attention="auto"' in str(e.value)


def test_a_name_that_does_not_exist_names_the_nearest():
  with pytest.raises(GatoError, match="cudnn"):
    config(attention="cudn")


def test_a_network_on_a_cpu_refuses_cudnn():
  network = model.Gato(dataclasses.replace(model_cases.CONFIG, attention="cudnn"))
  params = model.abstract_params(model_cases.CONFIG)
  with pytest.raises(GatoError, match="this is a cpu"):
    jax.eval_shape(network.apply, {"params": params}, model_cases.make_batch())


@pytest.fixture
def interpreted(monkeypatch):
  """Lets the kernel be chosen on a CPU, where it is interpreted, with tiles of 6."""
  monkeypatch.setattr(attention_choice, "_obstacle_to_pallas", lambda *a, **k: None)
  monkeypatch.setattr(attention_choice, "tile_side", lambda *a: 6)
  attention_check.disagreement.cache_clear()
  yield
  attention_check.disagreement.cache_clear()


def test_a_network_computes_the_same_with_the_kernel(interpreted):
  """With blocks computed again, and layers in a loop, as the large sizes train."""
  plain = dataclasses.replace(
    model_cases.CONFIG,
    layers=1,
    key_size=64,
    remat="full",
    past_actions="hidden",
    attention="xla",
    # Its scores are divided by another number than the kernel divides by.
    parametrization="mup",
  )
  params = model_cases.init(plain, jax.random.key(0))
  batch = model_cases.make_batch(rows=1, steps=2)
  batch["prompts"] = np.zeros(batch["kinds"].shape, bool)

  def results(config):
    def loss(params):
      hidden = model.Gato(config).apply({"params": params}, batch)
      return (hidden[..., 0] ** 2).sum(), hidden

    (_, hidden), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return hidden, gradients

  fused = results(dataclasses.replace(plain, attention="pallas"))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), fused, results(plain))


def test_a_process_compares_before_it_trusts(interpreted, monkeypatch):
  """A kernel whose tiles are rotated by one position too much is found out."""
  monkeypatch.setattr(attention_check, "_LENGTH", 24)
  largest_errors = attention_check.largest_errors
  monkeypatch.setattr(
    attention_check, "largest_errors", lambda *args: largest_errors(*args, length=24)
  )
  assert attention_check.disagreement(1, 128, "float32") is None

  roll = relative_flash_kernels.pltpu.roll
  monkeypatch.setattr(
    relative_flash_kernels.pltpu, "roll", lambda x, shift, *a, **k: roll(x, shift + 1, *a, **k)
  )
  attention_check.disagreement.cache_clear()
  assert "differs from the plain path" in attention_check.disagreement(1, 128, "float32")
