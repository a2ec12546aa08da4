"""Games of the Arcade Learning Environment as dm_env environments: a small picture, the full set of 18 actions."""

from collections.abc import Sequence
from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders import _wrappers

try:
  import ale_py
  from ale_py import roms
except ImportError as e:
  raise GatoError("atari: ale_py is not installed (GPL-2, so it is optional); run: pip install ale-py==0.12.1") from e

HEIGHT, WIDTH = 80, 64  # pixels of an observation: 20 patches
FRAME_SKIP = 4  # frames that an action lasts
FRAMES_PER_SECOND = 60
MAX_FRAMES = 18_000  # of an episode, 5 minutes of play, as in Mnih et al. 2015
MAX_NOOPS = 30  # steps without action at the beginning; their number is drawn
_NOOP = 0


def load(game: str) -> "ale_py.ALEInterface":
  """A deterministic emulator with a game in its first mode; an action lasts one frame.

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
  emulator.loadROM(roms.get_rom_path(game))
  return emulator


class Atari(_wrappers.Environment):
  """One game: the reward is the change of the score; an episode ends with the game or after MAX_FRAMES.

  Attributes:
    game: its name.
    emulator: privileged, for the planner, which may copy its state but must leave it as it is.
    frame: frames since the episode began.
    mode, difficulty: of the running episode, as ALE numbers them.
  """

  def __init__(self, game: str, settings: Sequence[tuple[int, int]] = ()):
    """`settings` are pairs (mode, difficulty) of which every episode draws one; without any, ALE's default."""
    self.game = game
    self.emulator = load(game)
    self._settings = settings or ((self.emulator.getAvailableModes()[0], self.emulator.getAvailableDifficulties()[0]),)
    self._begun: dict[tuple[int, int], Any] = {}
    self._random = np.random.default_rng(0)
    self._done = True
    self.mode, self.difficulty = self._settings[0]
    self.frame = 0
    self._screens = np.zeros((2, *self.emulator.getScreenDims(), 3), np.uint8)

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"frame": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="frame")}

  def action_spec(self) -> specs.DiscreteArray:
    """The full set, in ALE's order: 0 nothing, 1 fire, 2 up, 3 right, 4 left, 5 down, then their combinations."""
    return specs.DiscreteArray(18, np.int32, name="action")

  def reset(self) -> dm_env.TimeStep:
    setting = self._settings[int(self._random.integers(len(self._settings)))]
    self.mode, self.difficulty = setting
    self._begin(setting)
    for _ in range(int(self._random.integers(1, MAX_NOOPS + 1))):
      self._advance(_NOOP)
    self.frame, self._done = 0, False
    return dm_env.restart(self._observe())

  def _begin(self, setting: tuple[int, int]) -> None:
    """A reset leaves in memory what ran before: episodes begin in a state of an emulator that has played nothing."""
    if setting not in self._begun:
      fresh = load(self.game)
      fresh.setMode(setting[0])
      fresh.setDifficulty(setting[1])
      fresh.reset_game()
      self._begun[setting] = fresh.cloneState(include_rng=True)
    self.emulator.setMode(setting[0])
    self.emulator.setDifficulty(setting[1])
    self.emulator.reset_game()  # what the state leaves out (Q*bert's shows it) is then as at a beginning, too
    self.emulator.restoreState(self._begun[setting])

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._done:
      return self.reset()
    reward = float(self._advance(int(action)))
    over = self.emulator.game_over()
    self._done = over or self.frame >= MAX_FRAMES
    if over:
      return dm_env.termination(reward, self._observe())
    if self._done:
      return dm_env.truncation(reward, self._observe())
    return dm_env.transition(reward, self._observe())

  def _advance(self, action: int) -> int:
    """FRAME_SKIP frames, or fewer where the game ends; keeps the last two screens."""
    reward = 0
    for frame in range(FRAME_SKIP):
      reward += self.emulator.act(action)
      self.frame += 1
      if frame >= FRAME_SKIP - 2:
        self.emulator.getScreenRGB(self._screens[frame % 2])
      if self.emulator.game_over():
        break
    return reward

  def _observe(self) -> dict[str, np.ndarray]:
    """The brighter of the last two screens (things flicker), each pixel the mean of those that it covers."""
    screen = Image.fromarray(np.maximum(*self._screens))
    return {"frame": np.asarray(screen.resize((WIDTH, HEIGHT), Image.Resampling.BOX))}

  def episode_info(self) -> dict[str, Any]:
    return {}

  def control_timestep(self) -> float:
    return FRAME_SKIP / FRAMES_PER_SECOND

  def render(self) -> np.ndarray:
    """The last screen, with its pixels twice as wide as a television showed them: uint8 [210, 320, 3] in most games."""
    return np.repeat(np.maximum(*self._screens), 2, axis=1)


def make(task: str) -> Atari:
  """The environment of a game, e.g. "breakout", in ALE's default mode and difficulty."""
  return Atari(task)
