"""A plain PyTorch decoder, as in nanoGPT, for benchmarks/train_step.py --beside=PYTHON.

Pre-norm blocks, GELU feed-forward, scaled_dot_product_attention, learned positions, tied output,
float32 on CPU threads, forward and backward. It needs no gato_jax and prints one line of JSON: the
seconds of each step.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
  """Attention and feed-forward, each behind a layer norm."""

  def __init__(self, width: int, heads: int, feed_forward: int):
    super().__init__()
    self.heads = heads
    self.norm_1 = nn.LayerNorm(width)
    self.norm_2 = nn.LayerNorm(width)
    self.qkv = nn.Linear(width, 3 * width, bias=False)
    self.out = nn.Linear(width, width, bias=False)
    self.up = nn.Linear(width, feed_forward, bias=False)
    self.down = nn.Linear(feed_forward, width, bias=False)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    rows, length, width = x.shape
    qkv_BxLx3xHxDh = self.qkv(self.norm_1(x)).view(rows, length, 3, self.heads, width // self.heads)

    # PyTorch's attention takes q, k and v as [B, H, L, Dh].
    qkv_3xBxHxLxDh = qkv_BxLx3xHxDh.permute(2, 0, 3, 1, 4)
    mixed_BxHxLxDh = F.scaled_dot_product_attention(*qkv_3xBxHxLxDh, is_causal=True)
    mixed_BxLxD = mixed_BxHxLxDh.transpose(1, 2).reshape(rows, length, width)

    x = x + self.out(mixed_BxLxD)
    return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Decoder(nn.Module):
  """Blocks between an embedding and its transpose, the output layer."""

  def __init__(
    self, layers: int, heads: int, width: int, feed_forward: int, vocabulary: int, length: int
  ):
    super().__init__()
    self.tokens = nn.Embedding(vocabulary, width)
    self.positions = nn.Embedding(length, width)
    self.blocks = nn.ModuleList(Block(width, heads, feed_forward) for _ in range(layers))
    self.norm = nn.LayerNorm(width)

  def loss(self, tokens: torch.Tensor, targets: torch.Tensor, everywhere: bool) -> torch.Tensor:
    """Returns the mean cross-entropy of the targets.

    Args:
      tokens: [B, L].
      targets: Bool [B, L].
      everywhere: Computes the logits of all positions, else only of those before a target.
    """
    x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
    for block in self.blocks:
      x = block(x)

    # A position predicts the next token.
    x = self.norm(x)[:, :-1]
    next_tokens = tokens[:, 1:]
    mask = targets[:, 1:]
    if everywhere:
      logits = F.linear(x, self.tokens.weight).flatten(0, 1)
      labels = torch.where(mask, next_tokens, -1).flatten()
      return F.cross_entropy(logits, labels, ignore_index=-1)

    return F.cross_entropy(F.linear(x[mask], self.tokens.weight), next_tokens[mask])


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  sizes = (
    ("layers", 4),
    ("heads", 4),
    ("width", 256),
    ("feed_forward", 1024),
    ("vocabulary", 33_025),
  )
  for name, default in (
    *sizes,
    ("batch", 8),
    ("length", 256),
    ("observations", 17),
    ("actions", 6),
  ):
    parser.add_argument(f"--{name}", type=int, default=default)
  parser.add_argument("--threads", type=int, default=1)
  parser.add_argument("--steps", type=int, default=10)
  parser.add_argument(
    "--everywhere", action="store_true", help="logits at all positions, as nanoGPT computes them"
  )
  args = parser.parse_args()

  torch.set_num_threads(args.threads)
  torch.manual_seed(0)
  network = Decoder(
    args.layers, args.heads, args.width, args.feed_forward, args.vocabulary, args.length
  )

  # Windows of timesteps: observations, a separator, actions, which are the targets.
  tokens = torch.randint(args.vocabulary, (args.batch, args.length))
  step = args.observations + 1 + args.actions
  targets = (torch.arange(args.length) % step > args.observations).expand(args.batch, -1)

  # The first two steps warm up.
  seconds = []
  for _ in range(args.steps + 2):
    network.zero_grad(set_to_none=True)
    began = time.perf_counter()
    network.loss(tokens, targets, args.everywhere).backward()
    seconds.append(time.perf_counter() - began)

  print(json.dumps({"seconds": seconds[2:], "torch": torch.__version__}))


if __name__ == "__main__":
  main()
