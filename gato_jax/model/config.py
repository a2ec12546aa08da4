"""Sizes of the network: the paper's three (Reed et al. 2022, table 5) and one for CPUs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gato_jax import specs
from gato_jax.errors import GatoError

DTYPES = ("float32", "bfloat16")
REMAT_POLICIES = ("none", "full", "dots")


@dataclasses.dataclass(frozen=True)
class GatoConfig:
  """What fixes the parameters and the function they compute. The published sizes are the defaults of no field.

  Attributes:
    layers: transformer blocks.
    heads: attention heads.
    width: d, of the residual stream and of every embedding.
    feed_forward: units BEFORE the GEGLU split: d x feed_forward in, feed_forward/2 x d out (GATO_SPEC section 3).
    key_size: of keys, queries and values, per head.
    patch_channels: C of the patch embedder's ResNet block; a multiple of 32, its GroupNorm's groups. Ours.
    max_local_positions: longest observation of one timestep, in tokens.
    drop_path: probability that a sub-layer is skipped for a row, in training (stochastic depth).
    dropout: of each sub-layer's output, in training; the paper's 0.1 is for fine-tuning.
    memory_length: Transformer-XL memory at deployment, in tokens.
    dtype: of the matrix products; parameters, norms and softmaxes are float32.
    remat: what the backward pass computes again: "none", "full" (all of a block) or "dots" (all but its products).
    attention_block: queries whose scores are computed together, against the keys up to the last of them only; 0: all
      queries at once. Blocks save the masked half of the scores on CPUs; the result is the same.
    scan_layers: one compiled block in a loop (fast to compile) or all blocks inlined (faster on CPUs). The parameter
      tree is the same.
  """

  layers: int
  heads: int
  width: int
  feed_forward: int
  key_size: int
  patch_channels: int = 96
  max_local_positions: int = 512
  drop_path: float = 0.1
  dropout: float = 0.0
  memory_length: int = 1024
  dtype: str = "bfloat16"
  remat: str = "full"
  attention_block: int = 0
  scan_layers: bool = True

  def __post_init__(self):
    specs.check_name(self.dtype, DTYPES, "model dtype")
    specs.check_name(self.remat, REMAT_POLICIES, "remat policy")
    if self.feed_forward % 2 or self.patch_channels % 32 or self.width % 2:
      raise GatoError(
        f"model config: feed_forward {self.feed_forward} and width {self.width} must be even and patch_channels"
        f" {self.patch_channels} a multiple of 32; correct the config"
      )

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, data: Mapping[str, Any]) -> "GatoConfig":
    for name in data:
      specs.check_name(name, [f.name for f in dataclasses.fields(cls)], "model config field")
    return cls(**data)


VARIANTS: dict[str, GatoConfig] = {
  "tiny": GatoConfig(
    layers=4, heads=6, width=192, feed_forward=1024, key_size=32, patch_channels=32,
    drop_path=0.0, dtype="float32", remat="none", attention_block=64, scan_layers=False,
  ),
  "gato_79m": GatoConfig(layers=8, heads=24, width=768, feed_forward=3072, key_size=32),
  "gato_364m": GatoConfig(layers=12, heads=12, width=1536, feed_forward=6144, key_size=128),
  "gato_1b": GatoConfig(layers=24, heads=16, width=2048, feed_forward=8192, key_size=128),
}  # fmt: skip


def variant(name: str) -> GatoConfig:
  """The config called `name`; an error names the nearest one."""
  specs.check_name(name, VARIANTS, "model variant")
  return VARIANTS[name]
