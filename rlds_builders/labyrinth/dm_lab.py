"""DeepMind Lab's own levels as tasks, where its package is installed: "dmlab_rooms_watermaze" and the like.

The 15 actions are those of other public agents, which name Hessel et al. 2019 (PopArt) as their source; DM Lab's
published recordings have 15 as well, whether in this order could not be looked up here. IMPALA's set (Espeholt et al.
2018) has 9, without small and large turns and looking up and down.
"""

import importlib
from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders import _wrappers, labyrinth

HEIGHT, WIDTH = 64, 80  # pixels: the labyrinth's
_RENDERED = 72, 96  # pixels: the recordings'
_FPS, _REPEAT = 60, 4  # frames a second, frames an action
ACTIONS = np.array(
  [  # pixels a frame to the right and down, steps to the right and ahead, fire, jump, crouch
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


class DMLab(_wrappers.Environment):
  """One level, each action for four frames; an episode ends when the level says so, mostly by its time limit."""

  def __init__(self, level: str):
    if not labyrinth.DM_LAB_INSTALLED:
      raise GatoError(
        f"labyrinth.{labyrinth.DM_LAB}{level}: deepmind_lab is not importable; build and install its wheel as "
        "https://github.com/google-deepmind/lab says, or name another task"
      )
    self._has_instruction = level.startswith("language_")
    self._names = ["RGB_INTERLEAVED", *(["INSTR"] if self._has_instruction else [])]
    height, width = _RENDERED
    self._lab = importlib.import_module("deepmind_lab").Lab(
      level if level == "seekavoid_arena_01" else f"contributed/dmlab30/{level}",
      self._names,
      config={"width": str(width), "height": str(height), "fps": str(_FPS)},
    )
    self._seed = 0
    self._seen: dict[str, Any] = {}
    self._over = True

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    self._lab.reset(seed=self._seed)
    self._seed += 1
    self._over = False
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._over:
      return self.reset()
    reward = float(self._lab.step(ACTIONS[int(action)], num_steps=_REPEAT))
    self._over = not self._lab.is_running()
    if self._over:  # the level shows nothing any more: what was seen last stands
      return dm_env.termination(reward, self._observation())
    return dm_env.transition(reward, self._observe())

  def _observe(self) -> dict[str, np.ndarray]:
    self._seen = {name: np.copy(value) for name, value in self._lab.observations().items()}
    return self._observation()

  def _observation(self) -> dict[str, np.ndarray]:
    picture = Image.fromarray(self._seen["RGB_INTERLEAVED"]).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    observation = {"image": np.asarray(picture)}
    if self._has_instruction:
      observation["instruction"] = np.asarray(str(self._seen["INSTR"]))
    return observation

  def observation_spec(self) -> dict[str, specs.Array]:
    spec = {"image": specs.BoundedArray((HEIGHT, WIDTH, 3), np.uint8, 0, 255, name="image")}
    if self._has_instruction:
      spec["instruction"] = specs.StringArray((), name="instruction")
    return spec

  def action_spec(self) -> specs.DiscreteArray:
    """See ACTIONS."""
    return specs.DiscreteArray(len(ACTIONS), np.int32, name="action")

  def render(self) -> np.ndarray:
    return self._seen["RGB_INTERLEAVED"]

  def control_timestep(self) -> float:
    return _REPEAT / _FPS

  def close(self) -> None:
    self._lab.close()


def make(task: str) -> DMLab:
  """The environment of a task, e.g. "dmlab_rooms_watermaze"; GatoError where deepmind_lab cannot be imported."""
  return DMLab(task.removeprefix(labyrinth.DM_LAB))
