"""Model FLOPs of a training step: the products that the network needs, whatever the program computes on top.

FLOPs of a product [a, b] x [b, c] are 2abc. Backward is twice forward. Not counted, so that utilisation is not
flattered: rematerialisation, scores above the causal diagonal, element-wise work, logits of positions without a target.
"""

from gato_jax.model.config import GatoConfig
from gato_jax.tokens import vocabulary

FORMULA = (
  "model FLOPs = 3 x forward; forward = B L layers (8 d H K + 3 d F) [projections, GEGLU] + B layers 6 H K L(L+1)/2"
  " [content scores, distance scores, mixing, causal] + layers 2 d H K L [distances] + 2 d V targets [logits]"
  " + patches [embedder]"
)


def forward(config: GatoConfig, *, rows: int, length: int, targets: int, patches: int) -> dict[str, float]:
  """FLOPs of one forward pass by part, in FORMULA's letters.

  Args:
    rows, length: of the batch. targets: predicted positions in it. patches: image patches in it, padding included.
  """
  d, inner, c = config.width, config.heads * config.key_size, config.patch_channels
  maps = vocabulary.PATCH_SIDE // 8  # a patch becomes a 2 x 2 map of C channels
  patch = 2 * (maps**2 * 8 * 8 * 3 * c + 2 * (maps**2 * c) ** 2 + maps**2 * c * d)
  return {
    "projections": rows * length * config.layers * (8 * d * inner + 3 * d * config.feed_forward),
    "attention": rows * config.layers * 6 * inner * length * (length + 1) / 2,
    "distances": config.layers * 2 * d * inner * length,
    "logits": 2 * d * vocabulary.SIZE * targets,
    "patches": patches * patch,
  }


def train_step(config: GatoConfig, *, rows: int, length: int, targets: int, patches: int) -> float:
  """FLOPs of one forward and backward pass."""
  return 3 * sum(forward(config, rows=rows, length=length, targets=targets, patches=patches).values())


def action(config: GatoConfig, *, observation: int, actions: int, columns: int, patches: int, memory: int = 0) -> float:
  """FLOPs of one action: a forward pass over its positions, the newest attending to `memory` positions before them.

  Args:
    observation: tokens of a step with its separator. actions: tokens of an action, the last of which is read with the
      next step (with a memory). columns: token ids that an action can be. patches: of a step.
  """
  positions = observation + actions - (0 if memory else 1)
  parts = forward(config, rows=1, length=positions, targets=0, patches=patches)
  inner = config.heads * config.key_size
  remembered = config.layers * 6 * inner * positions * memory
  # The distances' keys are projected once for all steps, and only columns of the head count.
  return sum(parts.values()) - parts["distances"] + remembered + 2 * config.width * columns * actions
