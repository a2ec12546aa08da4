"""Procgen's games as dm_env environments whose states can be saved; a seed is a level."""

import importlib.util
import pathlib
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError
from rlds_builders.base import wrappers
from rlds_builders.procgen import state

_INSTALL = "run: pip install --no-deps -r rlds_builders/procgen/requirements.txt"
try:
  from gym3 import libenv
except ImportError as e:
  raise GatoError(f"procgen: cannot import gym3 ({e}); {_INSTALL}") from e

SIDE = 64  # pixels of an observation

# Actions 0 to 8 are left, none, right times down, none, up; 9 to 14 are the keys D A W S Q E.
ACTIONS = 15
NOTHING = 4

# As in the paper, these games are easy and the others hard (docs/paper.md).
EASY = ("heist", "maze")

_MAX_STATE = 1 << 20  # bytes, as in procgen/env.py
_STATE_FUNCTIONS = [
  "int get_state(libenv_env *, int, char *, int);",
  "void set_state(libenv_env *, int, char *, int);",
]


class Games(libenv.CEnv):
  """Several copies of one game, stepped by one call in one thread.

  act() and restore() overwrite all four arrays.

  Attributes:
    pixels: Images, uint8 [num, 64, 64, 3]; those of a game that ended show the next level already.
    rewards: Rewards of the last step, float32 [num].
    ended: True for games whose episode ended in the last step, bool [num].
    completed: 1 for games whose last level was completed, uint8 [num].
  """

  def __init__(self, game: str, num: int, seed: int = 0, large: bool = False):
    """Starts the games.

    Args:
      game: The game's name.
      num: Number of copies.
      seed: Seed of the levels.
      large: True to draw images of 512x512 too, which get_info() returns as "rgb".

    Raises:
      GatoError: procgen2 is not installed.
    """
    # The package is located, not imported: the import asks for gym.
    package = importlib.util.find_spec("procgen")
    if package is None or package.submodule_search_locations is None:
      raise GatoError(f"procgen: procgen2 is not installed; {_INSTALL}")
    data = pathlib.Path(package.submodule_search_locations[0]) / "data"

    options = {
      "env_name": game,
      "rand_seed": seed,
      "distribution_mode": 0 if game in EASY else 1,
      "num_levels": 0,  # no limit
      "start_level": 0,
      "use_sequential_levels": False,
      "num_actions": ACTIONS,
      "center_agent": True,
      "use_backgrounds": True,
      "use_generated_assets": False,
      "use_monochrome_assets": False,
      "restrict_themes": False,
      "paint_vel_info": False,
      "debug_mode": 0,
      "num_threads": 0,
      "render_human": large,
      "resource_root": f"{data}/assets/",
    }
    super().__init__(
      num, str(data / "prebuilt"), c_func_defs=_STATE_FUNCTIONS, options=options, reuse_arrays=True
    )

    # The library writes into the same arrays at every step (reuse_arrays).
    self.rewards, observation, self.ended = self.observe()
    self.pixels = observation["rgb"]
    self.completed = self._info["prev_level_complete"]
    self._buffer = self._ffi.new(f"char[{_MAX_STATE}]")

  def act(self, actions: np.ndarray) -> None:
    """Steps all games by actions int32 [num]."""
    super().act({"action": actions})

  def save(self, index: int = 0) -> bytes:
    """Returns the whole state of a game."""
    length = self.call_c_func("get_state", index, self._buffer, _MAX_STATE)
    return bytes(self._ffi.buffer(self._buffer, length))

  def restore(self, state: bytes, index: int = 0) -> None:
    """Puts a game into a saved state."""
    self.call_c_func("set_state", index, state, len(state))


class Procgen(wrappers.Environment):
  """One game; a seed is a level.

  The last observation of an episode is the one before it again, because the game already draws
  the next level.

  Attributes:
    game: The game's name.
    level: State of the game at the beginning of the episode.
  """

  level: state.State

  def __init__(self, game: str):
    self.game = game
    self._next_seed = 0
    self._needs_reset = True
    self._completed = False
    self._large: Games | None = None

  def seed(self, seed: int) -> None:
    self._next_seed = seed

  def reset(self) -> dm_env.TimeStep:
    self._games = Games(self.game, 1, seed=self._next_seed)
    self._next_seed += 1

    self._needs_reset = False
    self._completed = False
    self._steps = 0
    self.level = state.parse(self.save())
    self._pixels = self._games.pixels[0].copy()

    return dm_env.restart({"pixels": self._pixels})

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    self._games.act(np.array([action], np.int32))
    self._steps += 1
    reward = float(self._games.rewards[0])
    self._needs_reset = bool(self._games.ended[0])

    if not self._needs_reset:
      self._pixels = self._games.pixels[0].copy()
      return dm_env.transition(reward, {"pixels": self._pixels})

    # The game does not say why it ended: at the timeout it was cut off, unless it was completed.
    self._completed = bool(self._games.completed[0])
    if self._steps == self.level.timeout and not self._completed:
      return dm_env.truncation(reward, {"pixels": self._pixels})

    return dm_env.termination(reward, {"pixels": self._pixels})

  def save(self) -> bytes:
    """Returns the whole state of the running episode in procgen's own format.

    It includes the generators of random numbers, so the future follows from it.
    """
    return self._games.save()

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"pixels": specs.BoundedArray((SIDE, SIDE, 3), np.uint8, 0, 255, name="pixels")}

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of the 15 actions.

    0 to 8 are left, nothing, right times down, nothing, up. 9 to 14 are keys, of which games use
    9, to shoot, or none.
    """
    return specs.DiscreteArray(ACTIONS, np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    """Returns "success" and "level".

    Success is True when the level was completed, which is more than to survive; level is
    procgen's number of it.
    """
    return {"success": self._completed, "level": self.level.level_seed}

  def render(self) -> np.ndarray:
    """Returns the observation drawn larger, uint8 [512, 512, 3]."""
    if self._large is None:
      self._large = Games(self.game, 1, large=True)

    self._large.restore(self.save())
    return self._large.get_info()[0]["rgb"].copy()


def make(task: str) -> Procgen:
  """Returns the environment of a game, e.g. "coinrun"."""
  return Procgen(task)
