"""Maximal update parametrization (muP): one learning rate suits every width and depth.

At the base width, depth and key size it is the standard parametrization. From there on, every
parameter's update changes the function by an amount that does not depend on the size: Yang et al.
2022 (Tensor Programs V, table 8, Adam) for widths, Yang et al. 2023 (Tensor Programs VI) for
depths. The fan-in initialisation of gato_jax/model is already muP's, and the out-projections start
with the 1 / sqrt(layers) that Tensor Programs VI has as a multiplier of its branches. What is left:

  * scores are divided by the key size instead of its square root,
  * the output is divided by the square root of the width: the table is tied, its rows have norm 1,
    and inputs are multiplied by the square root of the width,
  * the learning rate of each parameter has a factor, `update_factors`.
"""

from typing import Any

import jax

from gato_jax.model.config import GatoConfig

# The demo's network, whose rate was tuned by hand.
BASE_WIDTH = 128
BASE_LAYERS = 4
BASE_KEY_SIZE = 32

_OUT_PROJECTIONS = (("attention", "out"), ("feed_forward", "out"))
_IN_PROJECTIONS = (("attention", "qkv"), ("attention", "distance"), ("feed_forward", "in"))


def query_factor(config: GatoConfig) -> float:
  """Returns the factor of queries whose scores are divided by the square root of the key size."""
  if config.parametrization == "mup":
    return float((BASE_KEY_SIZE / config.key_size) ** 0.5)
  return 1.0


def attention_scale(config: GatoConfig) -> float:
  """Returns the factor of the attention's scores."""
  return float(query_factor(config) * config.key_size**-0.5)


def output_scale(config: GatoConfig) -> float:
  """Returns the factor of the last hidden states, and so of the logits."""
  if config.parametrization == "mup":
    return float((BASE_WIDTH / config.width) ** 0.5)
  return 1.0


def update_factors(config: GatoConfig, params: Any) -> Any:
  """Returns a pytree of floats, the factor of each parameter's learning rate.

  Args:
    config: Sizes of the network.
    params: Its parameters, or a tree of their shapes.
  """
  width = config.width / BASE_WIDTH
  depth = config.layers / BASE_LAYERS

  def factor(path: tuple, leaf: Any) -> float:
    del leaf
    names = [entry.key for entry in path]

    # Tables are multiplied by the square root of the width where they are read.
    if names[:-1] == ["embedding"]:
      return width**-0.5
    # The fan-in of the patch embedder is that of pixels and channels, the same at every width.
    if "layers" not in names:
      return 1.0

    # A branch starts with 1 / sqrt(layers), and all `layers` of them move in the same direction.
    module = tuple(names[-2:])
    if module in _OUT_PROJECTIONS:
      return 1 / (width * depth)
    if module in _IN_PROJECTIONS:
      return 1 / (width * depth**0.5)
    return depth**-0.5

  return jax.tree_util.tree_map_with_path(factor, params)
