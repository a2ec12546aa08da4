"""Sizes of the network: the paper's three (Reed et al. 2022, table 5) and one for CPUs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gato_jax.errors import GatoError, check_name
from gato_jax.tokens import vocabulary

DTYPES = ("float32", "bfloat16")
REMAT_POLICIES = ("none", "full", "dots")
PAST_ACTIONS = ("seen", "hidden")
PARAMETRIZATIONS = ("standard", "mup")
ATTENTIONS = ("auto", "xla", "pallas", "cudnn")


@dataclasses.dataclass(frozen=True)
class GatoConfig:
  """Sizes that fix the parameters, and options of how the network computes.

  The sizes that the paper publishes have no defaults.

  Attributes:
    layers: Transformer blocks.
    heads: Attention heads.
    width: Width of the residual stream and of every embedding.
    feed_forward: Units before the GEGLU split: width x feed_forward in, feed_forward/2 x width out
      (docs/paper.md).
    key_size: Size of keys, queries and values of one head.
    patch_channels: Channels of the patch embedder's ResNet block, a multiple of its 32 groups. The
      paper gives no size; this one is ours.
    max_local_positions: Longest observation of one timestep, in tokens.
    drop_path: Probability that a sub-layer is skipped for a row in training (stochastic depth).
    dropout: Dropout of each sub-layer's output in training; the paper's 0.1 is for fine-tuning.
    text_pieces: Text pieces that have a row in the token table, at least as many as the tokenizer
      has. In a small network the paper's 32,000 are most of the parameters and of the arithmetic.
    past_actions: Whether a step attends to the actions of earlier steps of its episode: "seen", as
      in the paper, or "hidden", which keeps a cloned policy from copying its last action instead of
      looking at the state (docs/history.md). The actions of a prompt are always seen.
    parametrization: "standard", as in the paper, or "mup": a learning rate that suits one width and
      depth suits all (gato_jax/model/parametrization.py, docs/scaling.md).
    memory_length: Entries of the KV cache (Transformer-XL memory) when acting, in tokens.
    dtype: Precision of the matrix products; parameters, norms and softmaxes are float32.
    remat: What the backward pass computes again: "none", "full" (a whole block) or "dots" (all of
      it but its products).
    attention: How training windows are attended to: "xla", the plain way, "pallas", a fused kernel
      for TPUs, "cudnn", a fused kernel for GPUs, or "auto": what was verified for the device. The
      result is the same but for rounding.
    attention_block: Of the plain way, queries whose scores are computed together, against the keys
      up to the last of them only; 0: all queries at once, but for rows of 512 tokens and more on
      CPUs, where attention="auto" takes 64. Blocks save the masked half of the scores on CPUs; the
      result is the same but for rounding.
    scan_layers: True compiles one block in a loop (fast to compile), False inlines all blocks
      (faster on CPUs). The parameter tree is the same.
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
  text_pieces: int = vocabulary.TEXT_SIZE
  past_actions: str = "seen"
  parametrization: str = "standard"
  memory_length: int = 1024
  dtype: str = "bfloat16"
  remat: str = "full"
  attention: str = "auto"
  attention_block: int = 0
  scan_layers: bool = True

  def __post_init__(self):
    check_name(self.dtype, DTYPES, "model dtype")
    check_name(self.remat, REMAT_POLICIES, "remat policy")
    check_name(self.attention, ATTENTIONS, "value of model.attention")
    check_name(self.past_actions, PAST_ACTIONS, "value of model.past_actions")
    check_name(self.parametrization, PARAMETRIZATIONS, "value of model.parametrization")

    if self.feed_forward % 2 or self.patch_channels % 32 or self.width % 2:
      raise GatoError(
        f"model config: feed_forward {self.feed_forward} and width {self.width} must be even and"
        f" patch_channels {self.patch_channels} a multiple of 32; correct the config"
      )

    # Discrete values share the first 1,024 ids with text.
    if not vocabulary.DISCRETE_SIZE <= self.text_pieces <= vocabulary.TEXT_SIZE:
      raise GatoError(
        f"model config: text_pieces is {self.text_pieces}; it must lie between "
        f"{vocabulary.DISCRETE_SIZE} and {vocabulary.TEXT_SIZE}"
      )

  @property
  def table_rows(self) -> int:
    """Rows of the token table."""
    return vocabulary.table_rows(self.text_pieces)

  def to_json(self) -> dict[str, Any]:
    """Returns the fields, as checkpoints keep them."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, data: Mapping[str, Any]) -> "GatoConfig":
    """Returns the config of `to_json`; fields that it lacks have their defaults.

    Raises:
      GatoError: A field is unknown.
    """
    fields = [field.name for field in dataclasses.fields(cls)]
    for name in data:
      check_name(name, fields, "model config field")

    return cls(**data)


VARIANTS: dict[str, GatoConfig] = {
  "tiny": GatoConfig(
    layers=4,
    heads=6,
    width=192,
    feed_forward=1024,
    key_size=32,
    patch_channels=32,
    drop_path=0.0,
    dtype="float32",
    remat="none",
    attention_block=64,
    scan_layers=False,
  ),
  "gato_79m": GatoConfig(layers=8, heads=24, width=768, feed_forward=3072, key_size=32),
  "gato_364m": GatoConfig(layers=12, heads=12, width=1536, feed_forward=6144, key_size=128),
  "gato_1b": GatoConfig(layers=24, heads=16, width=2048, feed_forward=8192, key_size=128),
}


def variant(name: str) -> GatoConfig:
  """Returns the config called `name`.

  Raises:
    GatoError: There is none; the message names the nearest one.
  """
  check_name(name, VARIANTS, "model variant")
  return VARIANTS[name]
