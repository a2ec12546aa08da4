"""Training tokens per second: python benchmarks/train_step.py --variant=tiny --batch=16 --length=256

The batch looks like a control window: 7 observation values, a separator, one action (1 position in 9 is a target).
"""

import argparse
import time

import jax
import numpy as np

from gato_jax import model, sharding
from gato_jax.tokens import vocabulary
from gato_jax.train import optimizer, step

Kind = vocabulary.Kind


def control_batch(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Windows of continuous observations and actions, without images."""
  random = np.random.default_rng(seed)
  timestep = [Kind.CONTINUOUS] * 7 + [Kind.SEPARATOR, Kind.ACTION]
  kinds = np.resize(np.array(timestep, np.int32), (length,))
  values = random.integers(vocabulary.CONTINUOUS_OFFSET, vocabulary.SEPARATOR, (rows, length))
  place = np.arange(length) % len(timestep)
  return {
    "tokens": np.where(kinds == Kind.SEPARATOR, vocabulary.SEPARATOR, values).astype(np.int32),
    "kinds": np.tile(kinds, (rows, 1)),
    "locals": np.tile(np.where(place < 7, place, -1), (rows, 1)).astype(np.int32),
    "segments": np.ones((rows, length), np.int32),
    "targets": np.tile(kinds == Kind.ACTION, (rows, 1)),
    "patches": np.zeros((rows, 0, 16, 16, 3), np.uint8),
    "patch_positions": np.zeros((rows, 0, 4), np.int32),
    "patch_slots": np.zeros((rows, length), np.int32),
    "components": np.zeros(rows, np.int32),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--variant", default="tiny")
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--length", type=int, default=256)
  parser.add_argument("--steps", type=int, default=20)
  parser.add_argument("--loss_chunk", type=int, default=256)
  args = parser.parse_args()
  trainer = step.Trainer(
    model.variant(args.variant), optimizer.OptimizerConfig(), sharding.make_mesh(), 1, loss_chunk=args.loss_chunk
  )
  state, batch = trainer.init(), trainer.put(control_batch(args.batch, args.length))
  seconds = []
  for _ in range(args.steps + 2):
    began = time.perf_counter()
    state, metrics = trainer(state, batch, 1_000)
    jax.block_until_ready((state, metrics))
    seconds.append(time.perf_counter() - began)
  low, median, high = args.batch * args.length / np.percentile(seconds[2:], [90, 50, 10])
  print(
    f"{args.variant} B={args.batch} L={args.length}: {median:,.0f} tokens/s (10 % to 90 %: {low:,.0f} to {high:,.0f}),"
    f" {np.median(seconds[2:]) * 1e3:.0f} ms a step, compiled in {seconds[0]:.0f} s, {jax.devices()[0].device_kind}"
  )


if __name__ == "__main__":
  main()
