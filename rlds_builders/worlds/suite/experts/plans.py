"""Scores that planners maximise, and how they plan.

A score is the task's reward plus slopes that lead to it where the reward is flat. Scores return
[B, T] for B rollouts of T control steps.
"""

import numpy as np

from rlds_builders.planners.rollouts import Trajectories
from rlds_builders.planners.sampling import Settings
from rlds_builders.worlds.suite.experts import gaits, rewards
from rlds_builders.worlds.suite.experts.rewards import Reward

_SPINNER_REACH = 0.2  # metres from the spinner's hinge, within which the finger can push it


def _reacher(t: Trajectories) -> np.ndarray:
  distance = np.linalg.norm(rewards.finger_to_target(t), axis=-1)
  return rewards.reacher(t) - 5 * distance - 0.01 * np.square(t.qvel).sum(axis=-1)


def _ball_in_cup(t: Trajectories) -> np.ndarray:
  # The vertical part counts twice, since a ball above the cup can fall into it.
  to_target = rewards.ball_to_target(t)
  slope = -np.linalg.norm(to_target, axis=-1) - to_target[..., 1]

  # No slope once caught, or the planner would shake the ball about in the cup.
  return np.where(rewards.ball_in_cup(t) > 0, 1.0, slope)


def _cheetah(t: Trajectories) -> np.ndarray:
  # Without this cost it would tumble at full speed.
  tilt = np.maximum(gaits.pitched(t.qpos[..., 2]) - 0.4, 0)
  return rewards.cheetah(t) - 2 * tilt


def _finger_turn(t: Trajectories) -> np.ndarray:
  slope = -2 * np.maximum(rewards.tip_distance(t), 0)
  return rewards.finger_turn(t) + slope - 0.002 * np.abs(t.qvel[..., 2])


def _finger_spin(t: Trajectories) -> np.ndarray:
  # Plans are short: without this slope a finger that starts far from the spinner never reaches it.
  distance = np.linalg.norm(t.sensor("touchtop_pos") - t.sensor("spinner"), axis=-1)
  out_of_reach = np.maximum(distance - _SPINNER_REACH, 0)

  return np.clip(-t.sensor("hinge_velocity")[..., 0], -5, 20) - 10 * out_of_reach


def _fish_swim(t: Trajectories) -> np.ndarray:
  return rewards.fish_swim(t) - 2 * np.linalg.norm(rewards.mouth_to_target(t), axis=-1)


def _hopper_stand(t: Trajectories) -> np.ndarray:
  height = np.minimum(t.sensor("torso.pos")[..., 2], 1)
  calm = -0.005 * np.square(t.qvel).mean(axis=-1)
  return rewards.hopper_stand(t) + height + 0.5 * np.cos(t.qpos[..., 2]) + calm


def _hopper_hop(t: Trajectories) -> np.ndarray:
  height = np.minimum(t.sensor("torso.pos")[..., 2], 1)
  speed = np.clip(t.sensor("torso_subtreelinvel")[..., 0], -1, 2.2)
  return rewards.hopper_hop(t) + height + 0.5 * np.cos(t.qpos[..., 2]) + 0.4 * speed


def _humanoid(speed: float) -> Reward:
  reward = rewards.humanoid(speed)

  def score(t: Trajectories) -> np.ndarray:
    height = np.minimum(t.sensor("head.pos")[..., 2], 1.5)
    upright = t.sensor("torso.zaxis")[..., 2]
    calm = -0.002 * np.square(t.qvel).mean(axis=-1)
    return 2 * reward(t) + height + 0.3 * upright + calm

  return score


def _bring_ball(t: Trajectories) -> np.ndarray:
  hand_distance = np.linalg.norm(t.sensor("pinch.pos") - t.sensor("ball.pos"), axis=-1)
  return 3 * rewards.bring_ball(t) - rewards.ball_distance(t) - hand_distance


def _quadruped(t: Trajectories) -> np.ndarray:
  upright = t.sensor("torso.zaxis")[..., 2]
  height = np.minimum(t.qpos[..., 2], 0.6)
  return rewards.quadruped(0.5)(t) + 0.5 * upright + height


_REACHER = Settings(horizon=40, knot_interval=8, noise=0.2, control_cost=0.02, change_cost=0.02)
_FINGER = Settings(
  horizon=60, knot_interval=10, noise=0.7, replan_interval=4, control_cost=0.02, change_cost=0.02
)
_FISH = Settings(
  horizon=40,
  knot_interval=5,
  samples=32,
  noise=0.6,
  spread=4,
  temperature=0.1,
  coarse=2,
  control_cost=0.01,
)
_HUMANOID = Settings(
  horizon=30, knot_interval=6, samples=40, noise=0.8, spread=8, temperature=0.05, control_cost=0.05
)
_WALKER = Settings(
  horizon=40,
  knot_interval=5,
  samples=40,
  noise=0.6,
  spread=4,
  temperature=0.1,
  coarse=2,
  control_cost=0.02,
)

# The planner's score and settings by task.
PLANS: dict[str, tuple[Reward, Settings]] = {
  "ball_in_cup-catch": (
    _ball_in_cup,
    Settings(
      horizon=40,
      knot_interval=8,
      samples=16,
      noise=1.0,
      replan_interval=5,
      control_cost=0.01,
      change_cost=0.01,
    ),
  ),
  "cheetah-run": (
    _cheetah,
    Settings(
      horizon=60,
      knot_interval=12,
      samples=128,
      noise=1.0,
      spread=10,
      temperature=0.05,
      spline="cubic",
    ),
  ),
  "finger-spin": (
    _finger_spin,
    # A push lasts a few steps only: plans are short and fine, and made anew at every step.
    Settings(
      horizon=10,
      knot_interval=1,
      samples=200,
      noise=2.0,
      spread=3,
      temperature=0,
      replan_interval=1,
    ),
  ),
  "finger-turn_easy": (_finger_turn, _FINGER),
  "finger-turn_hard": (_finger_turn, _FINGER),
  "fish-swim": (_fish_swim, _FISH),
  "fish-upright": (rewards.fish_upright, _FISH),
  "hopper-hop": (
    _hopper_hop,
    Settings(
      horizon=50,
      knot_interval=10,
      samples=96,
      noise=1.5,
      spread=6,
      temperature=0.05,
      spline="cubic",
    ),
  ),
  "hopper-stand": (
    _hopper_stand,
    Settings(
      horizon=60,
      knot_interval=12,
      samples=64,
      noise=1.5,
      spread=5,
      temperature=0.05,
      spline="cubic",
      control_cost=0.01,
    ),
  ),
  "humanoid-run": (_humanoid(10.0), _HUMANOID),
  "humanoid-stand": (_humanoid(0.0), _HUMANOID),
  "humanoid-walk": (_humanoid(1.0), _HUMANOID),
  "manipulator-bring_ball": (
    _bring_ball,
    Settings(
      horizon=30, knot_interval=6, samples=40, noise=1.0, spread=6, temperature=0.05, coarse=2
    ),
  ),
  "quadruped-walk": (
    _quadruped,
    Settings(
      horizon=30,
      knot_interval=6,
      samples=40,
      noise=0.8,
      spread=6,
      temperature=0.1,
      coarse=2,
      control_cost=0.02,
    ),
  ),
  "reacher-easy": (_reacher, _REACHER),
  "reacher-hard": (_reacher, _REACHER),
  "walker-run": (rewards.walker(8.0), _WALKER),
  "walker-stand": (rewards.walker(0.0), _WALKER),
  "walker-walk": (rewards.walker(1.0), _WALKER),
}

# Laws whose actions the plans of a task are added to.
BASE_LAWS = {"cheetah-run": gaits.cheetah}
