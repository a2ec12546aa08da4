"""Procgen's games as dm_env environments: an episode is a level, drawn from the seed; states can be saved."""

import importlib.util
import pathlib
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError
from rlds_builders import _wrappers
from rlds_builders.procgen import state

_INSTALL = "run: pip install --no-deps -r rlds_builders/procgen/requirements.txt"
try:
  from gym3 import libenv
except ImportError as e:
  raise GatoError(f"procgen: cannot import gym3 ({e}); {_INSTALL}") from e

SIDE = 64  # pixels of an observation
ACTIONS = 15  # 0 to 8: left, none, right times down, none, up; 9 to 14 the keys D A W S Q E
NOTHING = 4
EASY = ("heist", "maze")  # as in the paper; the others are hard
_MAX_STATE = 1 << 20  # bytes, as in procgen/env.py
_STATE_FUNCTIONS = [
  "int get_state(libenv_env *, int, char *, int);",
  "void set_state(libenv_env *, int, char *, int);",
]


class Games(libenv.CEnv):
  """Several copies of one game, stepped by one call in one thread.

  Attributes:
    pixels: uint8 [num, 64, 64, 3]; those of a game that ended show the next level already.
    rewards: float32 [num].
    ended: bool [num].
    completed: uint8 [num]. All four are overwritten by act() and restore().
  """

  def __init__(self, game: str, num: int, seed: int = 0, large: bool = False):
    """large: also draw 512 x 512 pixels, which get_info() returns as "rgb"."""
    package = importlib.util.find_spec("procgen")  # found, not imported: the import asks for gym
    if package is None:
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
    super().__init__(num, str(data / "prebuilt"), c_func_defs=_STATE_FUNCTIONS, options=options, reuse_arrays=True)
    self.rewards, observation, self.ended = self.observe()
    self.pixels = observation["rgb"]
    self.completed = self._info["prev_level_complete"]
    self._buffer = self._ffi.new(f"char[{_MAX_STATE}]")

  def act(self, actions: np.ndarray) -> None:
    """actions: int32 [num]."""
    super().act({"action": actions})

  def save(self, index: int = 0) -> bytes:
    length = self.call_c_func("get_state", index, self._buffer, _MAX_STATE)
    return bytes(self._ffi.buffer(self._buffer, length))

  def restore(self, state: bytes, index: int = 0) -> None:
    self.call_c_func("set_state", index, state, len(state))


class Procgen(_wrappers.Environment):
  """One game; a seed is a level. An episode ends with its last picture again: the game draws the next level.

  Attributes:
    game: its name.
    level: what procgen's state said at the episode's beginning.
  """

  def __init__(self, game: str):
    self.game = game
    self._next_seed = 0
    self._needs_reset = True
    self._completed = False
    self._large: Games | None = None

  def seed(self, seed: int) -> None:
    self._next_seed = seed

  def reset(self) -> dm_env.TimeStep:
    self._games = Games(self.game, 1, self._next_seed)
    self._next_seed += 1
    self._needs_reset, self._completed = False, False
    self.level = state.parse(self.save())
    self._steps = 0
    self._pixels = self._games.pixels[0].copy()
    return dm_env.restart({"pixels": self._pixels})

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()
    self._games.act(np.array([action], np.int32))
    reward = float(self._games.rewards[0])
    self._needs_reset = bool(self._games.ended[0])
    self._steps += 1
    if self._needs_reset:
      self._completed = bool(self._games.completed[0])
      end = dm_env.truncation if self._steps == self.level.timeout and not self._completed else dm_env.termination
      return end(reward, {"pixels": self._pixels})
    self._pixels = self._games.pixels[0].copy()
    return dm_env.transition(reward, {"pixels": self._pixels})

  def save(self) -> bytes:
    """The whole state of the running episode, its random numbers included; procgen's own format."""
    return self._games.save()

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"pixels": specs.BoundedArray((SIDE, SIDE, 3), np.uint8, 0, 255, name="pixels")}

  def action_spec(self) -> specs.DiscreteArray:
    """0 to 8: left, nothing, right times down, nothing, up; 9 to 14: keys, of which games use 9, to shoot, or none."""
    return specs.DiscreteArray(ACTIONS, np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    """success: the level was completed, which is more than to survive; level: procgen's number of it."""
    return {"success": self._completed, "level": self.level.level_seed}

  def render(self) -> np.ndarray:
    """The same drawn larger: uint8 [512, 512, 3]."""
    if self._large is None:
      self._large = Games(self.game, 1, large=True)
    self._large.restore(self.save())
    return self._large.get_info()[0]["rgb"].copy()


def make(task: str) -> Procgen:
  return Procgen(task)
