"""One family of networks from 0.02M to beyond 1.18B parameters: the width sets all sizes.

The rule, for a network of width d, a multiple of 8:
  * Layers grow with a power of the width, through the demo's network (128, 4 layers) and the
    paper's largest (2048, 24 layers; Reed et al. 2022, table 5).
  * The key size is the divisor of the width nearest to 32, and heads x key size = d.
  * The feed-forward width is 4 d, as in the paper's three networks.

All of them have the maximal update parametrization (gato_jax/model/parametrization.py), so one peak
learning rate serves the whole family. The paper's networks have other depths and key sizes for
their widths: they are points beside the family and never in one fit with it.
"""

import functools
import math
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.model import config as model_config
from gato_jax.model import parametrization
from gato_jax.tokens import vocabulary

NAME = "family"

_LARGEST = model_config.VARIANTS["gato_1b"]
_DEPTH_EXPONENT = math.log(_LARGEST.layers / parametrization.BASE_LAYERS) / math.log(
  _LARGEST.width / parametrization.BASE_WIDTH
)
# The width as a power of the parameters, which grow with layers x width^2.
WIDTH_EXPONENT = 1 / (2 + _DEPTH_EXPONENT)
_LEAST_LAYERS = 2
_WIDTH_STEP = 8
_SIZE_FIELDS = ("layers", "heads", "width", "feed_forward", "key_size")


def network(width: int) -> dict[str, Any]:
  """Returns the fields of GatoConfig that the rule sets for a width.

  Raises:
    GatoError: The width is no multiple of 8.
  """
  if width < _WIDTH_STEP or width % _WIDTH_STEP:
    raise GatoError(f"scaling.widths: {width} is not a positive multiple of {_WIDTH_STEP}")

  ratio = width / parametrization.BASE_WIDTH
  layers = round(parametrization.BASE_LAYERS * ratio**_DEPTH_EXPONENT)
  heads = min(
    (count for count in range(1, width + 1) if width % count == 0),
    key=lambda count: abs(math.log(width / count / parametrization.BASE_KEY_SIZE)),
  )

  return {
    "layers": max(_LEAST_LAYERS, layers),
    "heads": heads,
    "width": width,
    "feed_forward": 4 * width,
    "key_size": width // heads,
    "parametrization": "mup",
  }


def published(variant: str) -> dict[str, Any]:
  """Returns the same fields of one of the paper's networks."""
  config = model_config.variant(variant)
  sizes = {name: getattr(config, name) for name in _SIZE_FIELDS}
  return {**sizes, "parametrization": config.parametrization}


@functools.cache
def parameters(width: int, patch_channels: int) -> int:
  """Returns the parameters of a network without the tables that are looked up."""
  # Queries, keys, values and output are 4 d^2, keys of distances d^2, GEGLU 4 d^2 in and 2 d^2 out.
  # Beside them, two biases of the attention and scale and bias of two norms.
  layers = network(width)["layers"]
  blocks = layers * (11 * width**2 + 6 * width) + 2 * width

  # The embedder's map of a patch has 2 x 2 cells of `patch_channels` (gato_jax/model/embedding.py).
  root_side = 8
  cells = (vocabulary.PATCH_SIDE // root_side) ** 2
  root = (root_side**2 * 3 + 1) * patch_channels
  residual = 2 * (9 * patch_channels**2 + patch_channels) + 4 * patch_channels
  return blocks + root + residual + cells * patch_channels * width


def widths() -> list[int]:
  """Returns the widths that a sweep chooses from, at most an eighth apart, ascending."""
  chosen = []
  width = _WIDTH_STEP
  while width <= 2 * _LARGEST.width:
    chosen.append(width)
    width += max(_WIDTH_STEP, 2 ** int(math.log2(width / 8)))

  return chosen


def nearest_width(target: float, patch_channels: int) -> int:
  """Returns the width whose network's `parameters` are nearest to a number, on a log scale."""
  return min(widths(), key=lambda width: abs(math.log(parameters(width, patch_channels) / target)))
