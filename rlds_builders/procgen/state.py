"""Where things are, from a saved state: its fields stand as serialize() in procgen's sources writes them."""

import dataclasses
import struct

import numpy as np

PLAYER = 0  # the type of the agent's entity
_ENTITY_FIELDS = 31  # of 4 bytes each
_MOTION, _TYPE = slice(4), 6  # of those: x, y, vx, vy; the type
_INTS_AFTER_NAME = 17  # options, grid_step, range of level seeds, game_type, game_n
_AFTER_RANDOM = "<f9if5i"  # reward, done, completed, action, timeout, level seed, ..., time, waiting, grid_size
_TIMEOUT, _LEVEL_SEED, _TIME = 4, 5, 13


@dataclasses.dataclass(frozen=True)
class State:
  """A part of a saved state.

  Attributes:
    timeout: steps until the game cuts an episode off.
    level_seed: number of the level; procgen's levels follow from it.
    time: steps since the level began.
    entities: float32 [n, 4]: x, y, and their change a step, in cells.
    types: int32 [n], procgen's numbers, which differ between games; PLAYER is the agent.
  """

  timeout: int
  level_seed: int
  time: int
  entities: np.ndarray
  types: np.ndarray

  @property
  def agent(self) -> np.ndarray:
    """float32 [4]."""
    return self.entities[int(np.argmax(self.types == PLAYER))]


def parse(state: bytes) -> State:
  """state: what Games.save() gave."""
  at = 8 + struct.unpack_from("<i", state, 4)[0] + 4 * _INTS_AFTER_NAME
  for _ in range(2):  # two generators of random numbers: is_seeded, then their state as text
    at += 8 + struct.unpack_from("<i", state, at + 4)[0]
  header = struct.unpack_from(_AFTER_RANDOM, state, at)
  at += struct.calcsize(_AFTER_RANDOM)
  (count,) = struct.unpack_from("<i", state, at)
  fields = np.frombuffer(state, np.float32, count * _ENTITY_FIELDS, at + 4).reshape(count, _ENTITY_FIELDS)
  types = fields.view(np.int32)[:, _TYPE]
  return State(header[_TIMEOUT], header[_LEVEL_SEED], header[_TIME], fields[:, _MOTION], types)
