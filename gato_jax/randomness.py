"""Random streams with a key each, so that no two of them are one stream by accident.

`np.random.default_rng(seed)` is the stream that gymnasium's environments, and ours, draw the scene of episode `seed`
from. Whoever else draws for that episode would repeat the scene's own numbers: pushes drawn like that pushed
dial-turn's dials at x < 0 in 26 of 26 episodes, and those at x > 0 in none of 34.
"""

import hashlib

import numpy as np


def generator(purpose: str, *numbers: int) -> np.random.Generator:
  """The stream of a purpose and of non-negative integers, such as an episode's seed.

  Args:
    purpose: what is drawn and for whom, e.g. "push/meta_world.dial-turn-v3"; other purposes are other streams.
  """
  return np.random.default_rng([key(purpose), *numbers])


def key(purpose: str) -> int:
  """63 bits that are the same on every machine and in every run."""
  return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big") >> 1
