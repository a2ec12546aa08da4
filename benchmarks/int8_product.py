"""Products of one token with weights of several types: would int8 weights make acting faster?

python benchmarks/int8_product.py --width=2048 --threads=1

A product reads its weights once, so bytes decide, if the device multiplies at the speed at which it
reads. Every call runs through several feed-forward matrices [d, 4 d], together larger than the
caches. "int8, weights widened" multiplies in the activations' type, "int8 x int8" also quantises
the token and sums in int32.
"""

import argparse
import os
import time


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--width", type=int, default=2048)
  parser.add_argument("--megabytes", type=int, default=512, help="of float32 weights in all")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument(
    "--threads", type=int, default=0, help="pin the process to so many cores; 0: all"
  )
  return parser.parse_args()


ARGS = arguments()

# Before JAX counts the cores.
if ARGS.threads:
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402


def plain(x, weight):
  """Multiplies in the type of both."""
  return x @ weight


def widened(x, weight):
  """Multiplies in the type of the activations; weights are stored x 127."""
  return (x @ weight.astype(x.dtype)) / 127


def both(x, weight):
  """Quantises the token, too, and sums in int32."""
  scale = jnp.max(jnp.abs(x)) / 127
  token = jnp.round(x / scale).astype(jnp.int8)
  return jnp.matmul(token, weight, preferred_element_type=jnp.int32).astype(x.dtype) * (scale / 127)


def main() -> None:
  d = ARGS.width
  matrices = max(1, ARGS.megabytes * 2**20 // (4 * 4 * d * d))
  random = np.random.default_rng(0)
  weights = [random.uniform(-1, 1, (d, 4 * d)).astype(np.float32) for _ in range(matrices)]
  kinds = {
    "float32": (jnp.float32, jnp.float32, plain),
    "bfloat16": (jnp.bfloat16, jnp.bfloat16, plain),
    "int8, weights widened to float32": (jnp.float32, jnp.int8, widened),
    "int8, weights widened to bfloat16": (jnp.bfloat16, jnp.int8, widened),
    "int8 x int8": (jnp.float32, jnp.int8, both),
  }

  # The first call of each compiles.
  calls, seconds = {}, {}
  for name, (activations, stored, product) in kinds.items():
    scaled = [np.round(w * 127) if stored == jnp.int8 else w for w in weights]
    arrays = [jnp.asarray(w, stored) for w in scaled]
    x = jnp.ones((1, d), activations)
    call = jax.jit(lambda x, arrays, product=product: sum(product(x, w).sum() for w in arrays))
    calls[name] = (call, x, arrays)
    call(x, arrays).block_until_ready()
    seconds[name] = []

  # In turn, so that other work on the machine hits all.
  for _ in range(ARGS.rounds):
    for name, (call, x, arrays) in calls.items():
      began = time.perf_counter()
      call(x, arrays).block_until_ready()
      seconds[name].append(time.perf_counter() - began)

  base = float(np.median(seconds["float32"]))
  print(
    f"{matrices} matrices [{d}, {4 * d}], {jax.local_devices()[0].device_kind}, "
    f"{len(os.sched_getaffinity(0))} cores"
  )
  for name, (_, _, arrays) in calls.items():
    median, best, worst = (f(seconds[name]) for f in (np.median, min, max))
    read = sum(w.nbytes for w in arrays) / median / 1e9
    print(
      f"{name:34} {1000 * median:8.1f} ms ({1000 * best:.1f} to {1000 * worst:.1f})  "
      f"{read:6.1f} GB/s  {median / base:.2f} x float32"
    )


if __name__ == "__main__":
  main()
