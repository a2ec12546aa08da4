"""Meta-World tasks as dm_env environments with a visible, seeded goal."""

import os
from typing import Any

import dm_env
import metaworld
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers

# 972 of 1000 scripted episodes succeed by then, the earliest at step 25 (README).
HORIZON = 200

# Gripper position and opening, then position and quaternion of up to two objects.
FRAME_SIZE = 18
GOAL_SIZE = 3
IMAGE_SIDE = 128  # pixels


class MetaWorld(wrappers.GymnasiumEnvironment):
  """One Meta-World task: `HORIZON` steps, no end at success.

  Attributes:
    state: The simulator's own observation, which scripted policies read: the current and the
      previous frame and the goal, float64 [39].
  """

  def __init__(self, task: str):
    gym = metaworld.env_dict.ALL_V3_ENVIRONMENTS[task](
      render_mode="rgb_array", camera_name="corner", width=IMAGE_SIDE, height=IMAGE_SIDE
    )

    # As set_task() does, but with resets drawn from the environment's own generator instead of
    # a stored vector.
    gym._set_task_called = True
    gym._freeze_rand_vec = False
    gym.seeded_rand_vec = True
    gym._partially_observable = False

    # Cached while the goal was hidden: steps would clip the goal to zero.
    del gym.sawyer_observation_space
    gym.max_path_length = HORIZON

    super().__init__(gym)
    self.state = np.zeros(2 * FRAME_SIZE + GOAL_SIZE)
    self._success = False

  def reset(self) -> dm_env.TimeStep:
    # metaworld's reset() ignores its seed argument.
    if self._seed is not None:
      self.gym.seed(self._seed)

    self._success = False
    return super().reset()

  def observe(self, observation: np.ndarray) -> dict[str, Any]:
    self.state = observation
    clipped = np.clip(observation, -1.0, 1.0).astype(np.float32)
    return {"frame": clipped[:FRAME_SIZE], "goal": clipped[-GOAL_SIZE:]}

  def on_info(self, info: dict[str, Any]) -> None:
    self._success = self._success or bool(info["success"])

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", True when any step of the episode was a success."""
    return {"success": self._success}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      "frame": specs.BoundedArray((FRAME_SIZE,), np.float32, -1.0, 1.0, name="frame"),
      "goal": specs.BoundedArray((GOAL_SIZE,), np.float32, -1.0, 1.0, name="goal"),
    }

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of gripper velocity in three axes (1 is 1 cm a step) and effort."""
    return specs.BoundedArray((4,), np.float32, -1.0, 1.0, name="action")

  def render(self) -> np.ndarray:
    # MuJoCo reads this when the first image is drawn.
    os.environ.setdefault("MUJOCO_GL", "egl")
    with wrappers.rendering("meta_world"):
      image = super().render()

    # This camera hangs upside down.
    return np.ascontiguousarray(image[::-1, ::-1])

  def control_timestep(self) -> float:
    return float(self.gym.dt)


def make(task: str) -> MetaWorld:
  """Returns the environment of one task, e.g. "reach-v3"."""
  return MetaWorld(task)
