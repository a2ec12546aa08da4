"""Base classes of environments: the contract of a domain's environment, and gymnasium adapters.

An author of a simulated domain derives from `Environment`, or from `GymnasiumEnvironment` where
the simulator is a gymnasium environment. docs/add_a_domain.md writes one from nothing, and
`python -m experiments.check --domain=NAME` tests it against gato_jax/env/contract.py.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import dm_env
import numpy as np

from gato_jax.errors import GatoError


@contextlib.contextmanager
def rendering(domain: str) -> Iterator[None]:
  """Guards the creation of a MuJoCo renderer.

  A missing system library ends in one line that says what to install.

  Args:
    domain: Name of the domain, for the message.

  Raises:
    GatoError: The renderer cannot be created on this machine.
  """
  try:
    yield
  except (AttributeError, ImportError, RuntimeError) as e:
    # PyOpenGL and MuJoCo report a missing library by any of these three.
    raise GatoError(
      f"{domain}: cannot render with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({e}); "
      "run: sudo apt-get install libegl1 libegl-mesa0 libgl1 libosmesa6, "
      "or evaluate with --config.evaluate.videos=False"
    ) from e


class Environment(dm_env.Environment):
  """A `dm_env.Environment` with the four methods that collection and evaluation need on top.

  Subclasses must implement dm_env's `reset`, `step`, `observation_spec` and `action_spec`, and
  `seed` and `render` of this class. The other two methods have defaults.

  What a subclass must guarantee:

  * `observation_spec()` is a dict, possibly nested, and every observation must conform to it. The
    spec of a field decides its tokens: uint8 [H, W, 3] is an image, whose sides must be multiples
    of 16; `specs.StringArray(())` is a text; other integers, from 0 to 1023, are discrete; floats
    are continuous.
  * `action_spec()` is a `specs.DiscreteArray` or a `specs.BoundedArray` of floats, and its bounds
    must be finite.
  * `step()` on a fresh environment, or after the last step of an episode, must begin an episode
    and ignore its action, as dm_env asks.
  * An episode must follow from its seed and its actions alone. Collection plays episodes in any
    process and any order, and plays one again after a crash.
  * An episode that ends by itself ends with `dm_env.termination` (discount 0), one that reaches
    its time limit with `dm_env.truncation` (discount 1).
  """

  def seed(self, seed: int) -> None:
    """Sets the seed of the next episode.

    The episode that the next `reset()` begins must depend on `seed`, and on nothing that was
    played before.

    Args:
      seed: Non-negative. Collection counts from 0, evaluation from 1,000,000,000.
    """
    raise NotImplementedError

  def episode_info(self) -> dict[str, Any]:
    """Returns facts about the running episode; it is read after the last step.

    Returns:
      A dict that must be JSON serializable. Where the task defines success, the entry "success"
      must be a bool. The entry "group", from reset() on, is a text that episodes share which hide
      the same from their observations, such as the goal: prompts are drawn from it. All other
      entries are kept in the dataset as `episode_metadata["info"]`, for instance what was drawn at
      random.
    """
    return {}

  def render(self) -> np.ndarray:
    """Returns an image of the current state for videos.

    Returns:
      uint8 [H, W, 3]. The size need not be that of an observation, and must not change within an
      episode.

    Raises:
      GatoError: This machine cannot render; the message must say what to install.
    """
    raise NotImplementedError

  def control_timestep(self) -> float:
    """Returns the simulated seconds per step, which set a video's speed; 0 for untimed tasks."""
    return 0.0


class GymnasiumEnvironment(Environment):
  """Adapts a gymnasium environment to `Environment`.

  Subclasses must implement `observation_spec`, `action_spec` and `observe`. They override
  `native_action` where the wrapped environment takes actions in another form, and `on_info` where
  its `info` says whether the task has succeeded.

  Args:
    gym: The wrapped environment. It must have been made with `render_mode="rgb_array"` for
      `render()` to work.

  Attributes:
    gym: The wrapped environment; experts may reach through it for privileged state.
  """

  def __init__(self, gym: Any):
    self.gym = gym
    self._seed: int | None = 0
    self._needs_reset = True

  def observe(self, observation: Any) -> dict[str, Any]:
    """Converts a native observation.

    Args:
      observation: As the wrapped environment's `reset()` and `step()` return it.

    Returns:
      A dict that must conform to `observation_spec()`.
    """
    raise NotImplementedError

  def native_action(self, action: np.ndarray) -> Any:
    """Converts an action for the wrapped environment; by default it is passed on unchanged.

    Args:
      action: Conforms to `action_spec()`.

    Returns:
      The action as the wrapped environment's `step()` takes it.
    """
    return action

  def on_info(self, info: dict[str, Any]) -> None:
    """Receives the `info` of every step, e.g. to keep a success flag for `episode_info()`.

    It is called before the new observation is converted.

    Args:
      info: As the wrapped environment's `step()` returns it.
    """

  def seed(self, seed: int) -> None:
    self._seed = seed

  def reset(self) -> dm_env.TimeStep:
    observation, _ = self.gym.reset(seed=self._seed)

    # Without a new seed the next episode goes on with the wrapped environment's random stream.
    self._seed = None
    self._needs_reset = False

    return dm_env.restart(self.observe(observation))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    native_action = self.native_action(action)
    observation, reward, terminated, truncated, info = self.gym.step(native_action)
    self.on_info(info)
    self._needs_reset = terminated or truncated

    # gymnasium allows both flags at once; an episode that ended by itself has discount 0.
    if terminated:
      return dm_env.termination(float(reward), self.observe(observation))
    if truncated:
      return dm_env.truncation(float(reward), self.observe(observation))
    return dm_env.transition(float(reward), self.observe(observation))

  def render(self) -> np.ndarray:
    return np.asarray(self.gym.render(), np.uint8)

  def close(self) -> None:
    self.gym.close()
