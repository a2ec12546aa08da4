"""The environment contract's base class, and gymnasium environments wrapped once."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import dm_env
import numpy as np

from gato_jax.errors import GatoError


@contextlib.contextmanager
def rendering(domain: str) -> Iterator[None]:
  """Around a MuJoCo renderer: a missing system library ends in one line that says what to install."""
  try:
    yield
  except (AttributeError, ImportError, RuntimeError) as e:  # how PyOpenGL and MuJoCo report one
    raise GatoError(
      f"{domain}: cannot render with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({e}); run: sudo apt-get install libegl1 "
      "libegl-mesa0 libgl1 libosmesa6, or evaluate with --config.evaluate.videos=False"
    ) from e


class Environment(dm_env.Environment):
  """A dm_env.Environment with the four additions that collecting and evaluating need."""

  def seed(self, seed: int) -> None:
    """The next reset() depends on `seed` and on nothing that was played before."""
    raise NotImplementedError

  def episode_info(self) -> dict[str, Any]:
    """JSON-able facts of the running episode; "success": bool where the task defines success."""
    return {}

  def render(self) -> np.ndarray:
    """uint8 [H, W, 3] for videos."""
    raise NotImplementedError

  def control_timestep(self) -> float:
    """Simulated seconds per step; 0 where time has no unit."""
    return 0.0


class GymnasiumEnvironment(Environment):
  """Base of domains built on gymnasium: subclasses give the specs and turn an observation into the spec's dict.

  Attributes:
    gym: the wrapped gymnasium environment; experts may reach through it for privileged state.
  """

  def __init__(self, gym: Any):
    self.gym = gym
    self._seed: int | None = 0
    self._needs_reset = True

  def observe(self, observation: Any) -> dict[str, Any]:
    """gymnasium's observation -> a dict as in observation_spec()."""
    raise NotImplementedError

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    observation, _ = self.gym.reset(seed=self._seed)
    self._seed = None
    self._needs_reset = False
    return dm_env.restart(self.observe(observation))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()
    observation, reward, terminated, truncated, info = self.gym.step(self.native_action(action))
    self.on_info(info)
    self._needs_reset = terminated or truncated
    if terminated:
      return dm_env.termination(float(reward), self.observe(observation))
    if truncated:
      return dm_env.truncation(float(reward), self.observe(observation))
    return dm_env.transition(float(reward), self.observe(observation))

  def native_action(self, action: np.ndarray) -> Any:
    """The action as the wrapped environment wants it."""
    return action

  def on_info(self, info: dict[str, Any]) -> None:
    """Called with every step's info; keeps success flags and the like."""

  def render(self) -> np.ndarray:
    return np.asarray(self.gym.render(), np.uint8)

  def close(self) -> None:
    self.gym.close()
