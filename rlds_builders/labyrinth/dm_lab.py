"""DeepMind Lab's own levels as tasks, such as "dmlab_rooms_watermaze", where it is installed.

The 15 actions are those of other public agents, which name Hessel et al. 2019 (PopArt) as their
source. DM Lab's published recordings have 15 actions as well; whether in this order could not be
looked up here. IMPALA's set (Espeholt et al. 2018) has 9, without small and large turns and without
looking up and down.
"""

import importlib
from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders import labyrinth
from rlds_builders.base import wrappers

# Pixels of the labyrinth's observations, and of the recordings' images.
HEIGHT, WIDTH = 64, 80
_RENDERED_HEIGHT, _RENDERED_WIDTH = 72, 96

_FRAMES_PER_SECOND = 60
_FRAME_SKIP = 4  # frames for which an action is repeated

# Actions: pixels a frame to the right and down, steps to the right and ahead, fire, jump, crouch.
ACTIONS = np.array(
  [
    [0, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, -1, 0, 0, 0],
    [0, 0, -1, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0, 0],
    [-10, 0, 0, 0, 0, 0, 0],
    [10, 0, 0, 0, 0, 0, 0],
    [-60, 0, 0, 0, 0, 0, 0],
    [60, 0, 0, 0, 0, 0, 0],
    [0, 10, 0, 0, 0, 0, 0],
    [0, -10, 0, 0, 0, 0, 0],
    [-10, 0, 0, 1, 0, 0, 0],
    [10, 0, 0, 1, 0, 0, 0],
    [-60, 0, 0, 1, 0, 0, 0],
    [60, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0],
  ],
  np.intc,
)


class DMLab(wrappers.Environment):
  """One level, each action for four frames.

  An episode ends when the level says so, mostly at its time limit.
  """

  def __init__(self, level: str):
    """Initialises the environment.

    Args:
      level: Name of the level in DM Lab.

    Raises:
      GatoError: deepmind_lab cannot be imported.
    """
    if not labyrinth.DM_LAB_INSTALLED:
      raise GatoError(
        f"labyrinth.{labyrinth.DM_LAB}{level}: deepmind_lab is not importable; build and install "
        "its wheel as https://github.com/google-deepmind/lab says, or name another task"
      )

    self._has_instruction = level.startswith("language_")
    observations = ["RGB_INTERLEAVED"]
    if self._has_instruction:
      observations.append("INSTR")

    is_dm_lab_30 = level != "seekavoid_arena_01"
    self._lab = importlib.import_module("deepmind_lab").Lab(
      f"contributed/dmlab30/{level}" if is_dm_lab_30 else level,
      observations,
      config={
        "width": str(_RENDERED_WIDTH),
        "height": str(_RENDERED_HEIGHT),
        "fps": str(_FRAMES_PER_SECOND),
      },
    )

    self._seed = 0
    self._last_observations: dict[str, Any] = {}
    self._needs_reset = True

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    self._lab.reset(seed=self._seed)
    self._seed += 1
    self._needs_reset = False

    self._read_observations()
    return dm_env.restart(self._observation())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    reward = float(self._lab.step(ACTIONS[int(action)], num_steps=_FRAME_SKIP))
    self._needs_reset = not self._lab.is_running()

    # After its end a level has no observations: the last ones are shown again.
    if self._needs_reset:
      return dm_env.termination(reward, self._observation())

    self._read_observations()
    return dm_env.transition(reward, self._observation())

  def _read_observations(self) -> None:
    # Copies: DM Lab writes into the same arrays at every step.
    observations = self._lab.observations()
    self._last_observations = {name: np.copy(value) for name, value in observations.items()}

  def _observation(self) -> dict[str, np.ndarray]:
    image = Image.fromarray(self._last_observations["RGB_INTERLEAVED"])
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)

    observation = {"image": np.asarray(image)}
    if self._has_instruction:
      observation["instruction"] = np.asarray(str(self._last_observations["INSTR"]))

    return observation

  def observation_spec(self) -> dict[str, specs.Array]:
    spec: dict[str, specs.Array] = {
      "image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")
    }
    if self._has_instruction:
      spec["instruction"] = specs.StringArray((), name="instruction")

    return spec

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of the indices of ACTIONS."""
    return specs.DiscreteArray(len(ACTIONS), np.int32, name="action")

  def render(self) -> np.ndarray:
    return self._last_observations["RGB_INTERLEAVED"]

  def control_timestep(self) -> float:
    return _FRAME_SKIP / _FRAMES_PER_SECOND

  def close(self) -> None:
    self._lab.close()


def make(task: str) -> DMLab:
  """Returns the environment of a task, e.g. "dmlab_rooms_watermaze".

  Raises:
    GatoError: deepmind_lab cannot be imported.
  """
  return DMLab(task.removeprefix(labyrinth.DM_LAB))
