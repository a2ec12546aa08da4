"""Positions of a game's entities, from a saved state.

Fields are laid out as serialize() in procgen's sources writes them.
"""

import dataclasses
import struct

import numpy as np

PLAYER = 0  # the type of the agent's entity

# An entity has 31 fields of 4 bytes each; the first four are x, y, vx, vy, the seventh is the type.
_ENTITY_FIELDS = 31
_MOTION = slice(4)
_TYPE = 6

# Integers between the game's name and its generators of random numbers: options, grid_step, range
# of level seeds, game_type, game_n.
_INTS_AFTER_NAME = 17

# Fields after the generators: reward, done, completed, action, timeout, level seed, ..., time,
# waiting, grid_size.
_AFTER_RANDOM = "<f9if5i"
_TIMEOUT, _LEVEL_SEED, _TIME = 4, 5, 13


@dataclasses.dataclass(frozen=True)
class State:
  """The part of a saved state that experts use.

  Attributes:
    timeout: Steps after which the game cuts an episode off.
    level_seed: Number of the level, from which procgen generates it.
    time: Steps since the level began.
    entities: Position x, y and its change per step in cells, float32 [N, 4].
    types: Procgen's types, which differ between games, int32 [N]; PLAYER is the agent.
  """

  timeout: int
  level_seed: int
  time: int
  entities: np.ndarray
  types: np.ndarray

  @property
  def agent(self) -> np.ndarray:
    """Position and velocity of the agent, float32 [4]."""
    return self.entities[int(np.argmax(self.types == PLAYER))]


def parse(state: bytes) -> State:
  """Returns the contents of a state that Games.save() returned."""
  # Strings are preceded by their length. The state begins with a version and the game's name.
  offset = 8 + struct.unpack_from("<i", state, 4)[0] + 4 * _INTS_AFTER_NAME

  # Two generators of random numbers: a flag, then the generator's state as a string.
  for _ in range(2):
    offset += 8 + struct.unpack_from("<i", state, offset + 4)[0]

  header = struct.unpack_from(_AFTER_RANDOM, state, offset)
  offset += struct.calcsize(_AFTER_RANDOM)

  (count,) = struct.unpack_from("<i", state, offset)
  values = np.frombuffer(state, np.float32, count * _ENTITY_FIELDS, offset + 4)
  fields = values.reshape(count, _ENTITY_FIELDS)

  return State(
    timeout=header[_TIMEOUT],
    level_seed=header[_LEVEL_SEED],
    time=header[_TIME],
    entities=fields[:, _MOTION],
    types=fields.view(np.int32)[:, _TYPE],
  )
