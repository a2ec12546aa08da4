"""Model FLOPs of a training step: products that the network needs, whatever the program computes.

A product [a, b] x [b, c] takes 2abc FLOPs, and the backward pass twice the forward pass. To keep
utilisation from being flattered, these are not counted: rematerialisation, scores above the causal
diagonal, element-wise work, logits of positions without a target, and the room for patches that a
row does not have.
"""

from gato_jax.model.config import GatoConfig
from gato_jax.tokens import vocabulary

FORMULA = (
  "model FLOPs = 3 x forward; forward = B L layers (8 d H K + 3 d F) [projections, GEGLU]"
  " + B layers 6 H K L(L+1)/2 [content scores, distance scores, mixing, causal]"
  " + layers 2 d H K L [distances] + 2 d V targets [logits] + patches [embedder]"
)


def forward(
  config: GatoConfig, *, rows: int, length: int, targets: float, patches: float
) -> dict[str, float]:
  """Returns the FLOPs of one forward pass by part, in the order of FORMULA.

  Args:
    config: Sizes of the network.
    rows: Rows of the batch.
    length: Positions of a row.
    targets: Predicted positions in the batch, a mean where batches differ.
    patches: Image patches in the batch, a mean where batches differ.
  """
  d, inner = config.width, config.heads * config.key_size
  channels = config.patch_channels

  # A patch becomes a 2 x 2 map. Its root convolution reads 8 x 8 x 3 pixels a cell, and each of the
  # two 3 x 3 convolutions is a product with a square matrix (patch_embedder.py).
  cells = (vocabulary.PATCH_SIDE // 8) ** 2
  root = cells * 8 * 8 * 3 * channels
  convolutions = 2 * (cells * channels) ** 2
  projection = cells * channels * d

  # Four projections of d x inner (queries, keys, values, output) are 8 d inner; GEGLU has d x F in
  # and F/2 x d out. A causal query has (L + 1) / 2 keys on average, with three products of 2 inner.
  return {
    "projections": rows * length * config.layers * (8 * d * inner + 3 * d * config.feed_forward),
    "attention": rows * config.layers * 6 * inner * length * (length + 1) / 2,
    "distances": config.layers * 2 * d * inner * length,
    "logits": 2 * d * config.table_rows * targets,
    "patches": patches * 2 * (root + convolutions + projection),
  }


def train_step(
  config: GatoConfig, *, rows: int, length: int, targets: float, patches: float
) -> float:
  """Returns the FLOPs of one forward and backward pass."""
  parts = forward(config, rows=rows, length=length, targets=targets, patches=patches)
  return 3 * sum(parts.values())


def action(
  config: GatoConfig, *, observation: int, actions: int, columns: int, patches: int, memory: int = 0
) -> float:
  """Returns the FLOPs of one action, a forward pass over its positions and the KV cache.

  Args:
    config: Sizes of the network.
    observation: Tokens of a step's observation with its separator.
    actions: Tokens of an action. With a KV cache the last one is read in the next step.
    columns: Token ids that an action can be.
    patches: Image patches of a step.
    memory: Positions of the KV cache that the step attends to; 0: there is none.
  """
  # Without a KV cache, the last action token is never read.
  positions = observation + actions - (0 if memory else 1)
  parts = forward(config, rows=1, length=positions, targets=0, patches=patches)

  inner = config.heads * config.key_size
  attention_to_cache = config.layers * 6 * inner * positions * memory
  logits = 2 * config.width * columns * actions

  # Keys of the distances are projected once for all steps, so they do not count.
  return sum(parts.values()) - parts["distances"] + attention_to_cache + logits
