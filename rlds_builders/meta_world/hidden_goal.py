"""Meta-World tasks whose goal no observation shows: only an episode with the same goal tells it.

The domain is meta_world_hidden_goal; the class lives beside the environment that it derives from.
"""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax import randomness
from rlds_builders.meta_world import environment, expert

# Goals of a task: the first ones train, the last ones are those of its "-new" twin.
KNOWN = 64
NEW = 16
SUFFIX = "-new"


class HiddenGoalMetaWorld(environment.MetaWorld):
  """A Meta-World task with one of a fixed set of goals, which the observation leaves out.

  Everything else is drawn as in the task itself. `episode_info()` names the goal as the episode's
  group.

  Observation:

    {"frame": float32 [18]}    # gripper, then position and quaternion of up to two objects
  """

  def __init__(self, task: str):
    name = task.removesuffix(SUFFIX)
    super().__init__(name)
    self._numbers = range(KNOWN, KNOWN + NEW) if task.endswith(SUFFIX) else range(KNOWN)
    self._purpose = f"goal/meta_world_hidden_goal.{task}"
    self._random = randomness.generator(self._purpose, 0)
    self._goal = 0

    # The last three numbers that a reset draws are the goal.
    space = self.gym._random_reset_space
    drawn = randomness.generator(f"goals/{name}")
    self._goals = drawn.uniform(space.low[-3:], space.high[-3:], size=(KNOWN + NEW, 3))

    self._draw = self.gym._get_state_rand_vec
    self.gym._get_state_rand_vec = self._draw_with_goal

  def seed(self, seed: int) -> None:
    super().seed(seed)
    self._random = randomness.generator(self._purpose, seed)

  def reset(self) -> dm_env.TimeStep:
    self._goal = int(self._random.choice(self._numbers))
    return super().reset()

  def _draw_with_goal(self) -> np.ndarray:
    return np.concatenate([self._draw()[:-3], self._goals[self._goal]])

  def observe(self, observation: np.ndarray) -> dict[str, Any]:
    return {"frame": super().observe(observation)["frame"]}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"frame": super().observation_spec()["frame"]}

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", and "group": the number of the goal."""
    return {**super().episode_info(), "group": f"goal {self._goal}"}


def make(task: str) -> HiddenGoalMetaWorld:
  """Returns the environment of a task, e.g. "reach-v3", or "reach-v3-new" with its new goals."""
  return HiddenGoalMetaWorld(task)


def make_expert(env: HiddenGoalMetaWorld, task: str) -> expert.ScriptedPolicy:
  """Returns the task's scripted policy, which reads the goal from the simulator."""
  return expert.make(env, task.removesuffix(SUFFIX))
