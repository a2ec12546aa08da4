"""The inputs of cuDNN's kernel: jax.nn's own implementation of the same call is the plain way.

benchmarks/gpu.sh compares cuDNN itself, on a GPU.
"""

import dataclasses

import jax
import jax.export
import numpy as np
import pytest

from gato_jax import model
from gato_jax.model import attention, attention_check, attention_choice, biased_attention

# Segments, causality and the distance term are all in the bias, which has the dtype of the rest.
TOLERANCE = {"float32": 1e-5, "bfloat16": 3e-2}


@pytest.fixture
def by_xla(monkeypatch):
  monkeypatch.setattr(attention_choice, "_obstacle_to_cudnn", lambda *a, **k: None)

  def attend(*args, **kwargs):
    return biased_attention.biased_attention(*args, **kwargs, implementation="xla")

  monkeypatch.setattr(attention, "biased_attention", attend)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_gradients_equal_the_plain_way(by_xla, dtype):
  errors = attention_check.largest_errors(2, 32, dtype, "cudnn", length=32)
  assert max(errors.values()) < TOLERANCE[dtype], errors
  assert {name.split("'")[1] for name in errors} == {"output", "gradient"}


def test_the_program_for_a_gpu_calls_cudnn(monkeypatch):
  """It is made here, for a GPU that need not exist, and not compiled."""
  monkeypatch.setattr(attention_choice, "_obstacle_to_cudnn", lambda *a, **k: None)
  from jax._src.cudnn import fused_attention_stablehlo

  monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
  config = dataclasses.replace(
    model.variant("gato_79m"), layers=1, attention="cudnn", drop_path=0.0, patch_channels=32
  )
  params = model.abstract_params(config)
  layer = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), params["decoder"]["layers"]["attention"]
  )
  x = jax.ShapeDtypeStruct((2, 64, config.width), config.dtype)
  codes = jax.ShapeDtypeStruct((2, 2, 64), np.int32)

  def loss(layer, x, codes):
    mask = attention.WindowMask(
      attention_check.visibility.window_mask(codes),
      attention.distance_table(63, config.width),
      codes,
    )
    return attention.RelativeAttention(config).apply({"params": layer}, x, mask).sum()

  program = jax.jit(jax.grad(loss)).trace(layer, x, codes).lower(lowering_platforms=("cuda",))
  text = program.as_text()
  assert "__cudnn$fmhaScaleBiasSoftmax" in text and "__cudnn$fmhaScaleBiasSoftmaxBackward" in text


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU")
@pytest.mark.parametrize(("heads", "key_size"), [(24, 32), (16, 128)])
def test_cudnn_equals_the_plain_way(heads, key_size):
  errors = attention_check.largest_errors(heads, key_size, "bfloat16", "cudnn")
  assert max(errors.values()) < attention_check.TOLERANCE["bfloat16"], errors
