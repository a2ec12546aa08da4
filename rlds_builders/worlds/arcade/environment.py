"""Games of the Arcade Learning Environment as dm_env environments.

An observation is a small image; actions are the full set of 18.
"""

from collections.abc import Sequence
from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders.base import wrappers

try:
  import ale_py
  from ale_py import roms
except ImportError as e:
  raise GatoError(
    "atari: ale_py is not installed (GPL-2, so it is optional); run: pip install ale-py==0.12.1"
  ) from e

HEIGHT, WIDTH = 80, 64  # pixels of an observation, which are 20 patches

# An action is repeated for 4 frames, and an episode lasts at most 5 minutes of play, as in Mnih et
# al. 2015; the emulator makes 60 frames a second.
FRAME_SKIP = 4
FRAMES_PER_SECOND = 60
MAX_FRAMES = 18_000

# An episode begins with 1 to 30 steps without action: the game itself is deterministic.
MAX_NOOPS = 30
_NOOP = 0


def load(game: str) -> "ale_py.ALEInterface":
  """Returns a deterministic emulator with a game in its first mode; an action lasts one frame.

  Raises:
    GatoError: ale_py has no such game.
  """
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
  if game not in roms.get_all_rom_ids():
    raise GatoError(f"atari: ale_py has no game {game!r}")

  emulator = ale_py.ALEInterface()
  emulator.setInt("random_seed", 0)
  emulator.setFloat("repeat_action_probability", 0.0)
  emulator.setInt("frame_skip", 1)
  path = roms.get_rom_path(game)
  assert path is not None  # the game is among get_all_rom_ids()
  emulator.loadROM(path)

  return emulator


class Atari(wrappers.Environment):
  """One game.

  The reward is the change of the score. An episode ends with the game, or is truncated after
  MAX_FRAMES.

  Attributes:
    game: The game's name.
    emulator: The emulator. Privileged: the planner may copy its state but must not change it.
    frame: Frames since the episode began.
    mode: Mode of the running episode, as ALE numbers them.
    difficulty: Difficulty of the running episode, as ALE numbers them.
  """

  def __init__(self, game: str, settings: Sequence[tuple[int, int]] = ()):
    """Initialises the environment.

    Args:
      game: The game's name.
      settings: Pairs (mode, difficulty) of which every episode draws one; ALE's default if empty.
    """
    self.game = game
    self.emulator = load(game)
    self._settings = settings or (
      (self.emulator.getAvailableModes()[0], self.emulator.getAvailableDifficulties()[0]),
    )

    # State of the emulator at the beginning of the game, by setting.
    self._initial_states: dict[tuple[int, int], Any] = {}

    self._random = np.random.default_rng(0)
    self._needs_reset = True
    self.mode, self.difficulty = self._settings[0]
    self.frame = 0
    self._screens = np.zeros((2, *self.emulator.getScreenDims(), 3), np.uint8)

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"frame": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="frame")}

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of the full set of actions, in ALE's order.

    They are 0 nothing, 1 fire, 2 up, 3 right, 4 left, 5 down, then their combinations.
    """
    return specs.DiscreteArray(18, np.int32, name="action")

  def reset(self) -> dm_env.TimeStep:
    setting = self._settings[int(self._random.integers(len(self._settings)))]
    self.mode, self.difficulty = setting
    self._begin(setting)

    for _ in range(int(self._random.integers(1, MAX_NOOPS + 1))):
      self._advance(_NOOP)

    self.frame = 0
    self._needs_reset = False
    return dm_env.restart(self._observe())

  def _begin(self, setting: tuple[int, int]) -> None:
    """Puts the emulator into the state of one that has played nothing.

    A reset alone leaves in memory what ran before, on which the episode would depend.
    """
    if setting not in self._initial_states:
      fresh = load(self.game)
      fresh.setMode(setting[0])
      fresh.setDifficulty(setting[1])
      fresh.reset_game()
      self._initial_states[setting] = fresh.cloneState(include_rng=True)

    # The reset is for what the copied state leaves out, as Q*bert shows.
    self.emulator.setMode(setting[0])
    self.emulator.setDifficulty(setting[1])
    self.emulator.reset_game()
    self.emulator.restoreState(self._initial_states[setting])

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    reward = float(self._advance(int(action)))
    is_over = self.emulator.game_over()
    self._needs_reset = is_over or self.frame >= MAX_FRAMES

    if is_over:
      return dm_env.termination(reward, self._observe())
    if self._needs_reset:
      return dm_env.truncation(reward, self._observe())

    return dm_env.transition(reward, self._observe())

  def _advance(self, action: int) -> int:
    """Plays FRAME_SKIP frames, or fewer if the game ends; returns the sum of rewards."""
    reward = 0
    for i in range(FRAME_SKIP):
      reward += self.emulator.act(action)
      self.frame += 1

      # The last two screens are kept, one in each slot.
      if i >= FRAME_SKIP - 2:
        self.emulator.getScreenRGB(self._screens[i % 2])
      if self.emulator.game_over():
        break

    return reward

  def _observe(self) -> dict[str, np.ndarray]:
    # Games draw some objects in every other frame only: of two screens the brighter pixel counts.
    screen = Image.fromarray(np.maximum(*self._screens))

    # BOX averages over the pixels that one of the observation covers.
    return {"frame": np.asarray(screen.resize((WIDTH, HEIGHT), Image.Resampling.BOX))}

  def episode_info(self) -> dict[str, Any]:
    return {}

  def control_timestep(self) -> float:
    return FRAME_SKIP / FRAMES_PER_SECOND

  def render(self) -> np.ndarray:
    """Returns the last screen, uint8 [210, 320, 3] in most games."""
    # Pixels are twice as wide as high, as a television showed them.
    return np.repeat(np.maximum(*self._screens), 2, axis=1)


def make(task: str) -> Atari:
  """Returns the environment of a game, e.g. "breakout", in ALE's default mode and difficulty."""
  return Atari(task)
