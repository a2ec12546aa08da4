"""Meta-World tasks as dm_env environments with a visible, seeded goal."""

import os
from typing import Any

import dm_env
import metaworld
import numpy as np
from dm_env import specs

from rlds_builders import _wrappers

# 972 of 1000 scripted episodes succeed by then, at step 25 the earliest; README has the table.
HORIZON = 200
FRAME_SIZE = 18  # gripper position and opening, then position and quaternion of up to two objects
GOAL_SIZE = 3
IMAGE_SIDE = 128  # pixels


class MetaWorld(_wrappers.GymnasiumEnvironment):
  """One Meta-World task: `HORIZON` steps, no end at success.

  Attributes:
    state: float64 [39], the simulator's own observation (frame, previous frame, goal): what scripted policies read.
  """

  def __init__(self, task: str):
    gym = metaworld.env_dict.ALL_V3_ENVIRONMENTS[task](
      render_mode="rgb_array", camera_name="corner", width=IMAGE_SIDE, height=IMAGE_SIDE
    )
    # What set_task() does, but with a reset drawn from the environment's own generator instead of a stored vector.
    gym._set_task_called = True
    gym._freeze_rand_vec = False
    gym.seeded_rand_vec = True
    gym._partially_observable = False
    del gym.sawyer_observation_space  # cached with the goal hidden: the step would clip the goal to zero
    gym.max_path_length = HORIZON
    super().__init__(gym)
    self.state = np.zeros(2 * FRAME_SIZE + GOAL_SIZE)
    self._success = False

  def reset(self) -> dm_env.TimeStep:
    if self._seed is not None:
      self.gym.seed(self._seed)  # metaworld's reset() ignores its seed argument
    self._success = False
    return super().reset()

  def observe(self, observation: np.ndarray) -> dict[str, Any]:
    self.state = observation
    clipped = np.clip(observation, -1.0, 1.0).astype(np.float32)
    return {"frame": clipped[:FRAME_SIZE], "goal": clipped[-GOAL_SIZE:]}

  def on_info(self, info: dict[str, Any]) -> None:
    self._success = self._success or bool(info["success"])

  def episode_info(self) -> dict[str, Any]:
    """success: at any step of the episode."""
    return {"success": self._success}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      "frame": specs.BoundedArray((FRAME_SIZE,), np.float32, -1.0, 1.0, name="frame"),
      "goal": specs.BoundedArray((GOAL_SIZE,), np.float32, -1.0, 1.0, name="goal"),
    }

  def action_spec(self) -> specs.BoundedArray:
    """Gripper velocity in three axes (1 is 1 cm a step) and gripper effort."""
    return specs.BoundedArray((4,), np.float32, -1.0, 1.0, name="action")

  def render(self) -> np.ndarray:
    os.environ.setdefault("MUJOCO_GL", "egl")  # read when the first frame is drawn
    with _wrappers.rendering("meta_world"):
      frame = super().render()
    return np.ascontiguousarray(frame[::-1, ::-1])  # this camera hangs upside down

  def control_timestep(self) -> float:
    return float(self.gym.dt)


def make(task: str) -> MetaWorld:
  """The environment of one task, e.g. "reach-v3"."""
  return MetaWorld(task)
