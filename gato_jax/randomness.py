"""Random streams with a key each, so that no two of them coincide by accident.

`np.random.default_rng(seed)` is the stream that gymnasium's environments, and ours, draw the scene
of episode `seed` from. Any other random choice for that episode needs another stream, or it repeats
the scene's own numbers: pushes drawn from it once pushed dial-turn's dials at x < 0 in 26 of 26
episodes, and those at x > 0 in none of 34.
"""

import hashlib

import numpy as np

# The first seed of evaluation. Collection counts up from 0 and refuses to reach it, so no evaluated
# episode was trained on, however much is collected. It is below 2**31 because some simulators take
# no larger seed.
FIRST_EVALUATION_SEED = 1_000_000_000

# Episodes in which an expert corrects the policy (gato_jax/evaluate/corrections.py) have the seeds
# from here on.
FIRST_CORRECTION_SEED = 2_000_000_000


def generator(purpose: str, *numbers: int) -> np.random.Generator:
  """Returns the random stream of a purpose.

  Args:
    purpose: What is drawn and for which task, e.g. "push/meta_world.dial-turn-v3". Every purpose
      has a stream of its own.
    *numbers: Non-negative integers that tell streams of one purpose apart, e.g. an episode's seed.
  """
  return np.random.default_rng([key(purpose), *numbers])


def key(purpose: str) -> int:
  """Returns a 63-bit hash that is the same on every machine and in every run."""
  digest = hashlib.sha256(purpose.encode()).digest()

  # 63 bits fit into a signed 64-bit integer.
  return int.from_bytes(digest[:8], "big") >> 1
