"""What planners maximise, the reward and slopes towards it where it is flat, and how they plan."""

import numpy as np

from rlds_builders.control_suite.experts import rewards
from rlds_builders.control_suite.experts.rewards import Reward
from rlds_builders.planners.rollouts import Trajectories
from rlds_builders.planners.sampling import Settings


def _reacher(t: Trajectories) -> np.ndarray:
  distance = np.linalg.norm(rewards.finger_to_target(t), axis=-1)
  return rewards.reacher(t) - 5 * distance - 0.01 * np.square(t.qvel).sum(axis=-1)


def _ball_in_cup(t: Trajectories) -> np.ndarray:
  to_target = rewards.ball_to_target(t)
  # No slope once caught, or the planner would shake the ball about in the cup.
  return np.where(rewards.ball_in_cup(t) > 0, 1.0, -np.linalg.norm(to_target, axis=-1) - to_target[..., 1])


def _finger_turn(t: Trajectories) -> np.ndarray:
  slope = -2 * np.maximum(rewards.tip_distance(t), 0)
  return rewards.finger_turn(t) + slope - 0.002 * np.abs(t.qvel[..., 2])


def _finger_spin(t: Trajectories) -> np.ndarray:
  speed = -t.sensor("hinge_velocity")[..., 0]
  return rewards.finger_spin(t) + np.clip(speed, -5, 20) / 20


def _fish_swim(t: Trajectories) -> np.ndarray:
  return rewards.fish_swim(t) - 2 * np.linalg.norm(rewards.mouth_to_target(t), axis=-1)


def _swimmer(t: Trajectories) -> np.ndarray:
  return rewards.swimmer(t) - np.linalg.norm(rewards.nose_to_target(t), axis=-1)


def _hopper_stand(t: Trajectories) -> np.ndarray:
  height = np.minimum(rewards.hopper_height(t), 0.8)
  return rewards.hopper_stand(t) + height + 0.3 * np.cos(t.qpos[..., 2]) - 0.02 * np.square(t.qvel).mean(axis=-1)


def _hopper_hop(t: Trajectories) -> np.ndarray:
  height = np.minimum(rewards.hopper_height(t), 0.8)
  speed = np.clip(t.sensor("torso_subtreelinvel")[..., 0], -1, 2.5)
  return rewards.hopper_hop(t) + height + 0.2 * speed + 0.3 * np.cos(t.qpos[..., 2])


_REACHER = Settings(horizon=40, knot_interval=8, noise=0.2, control_cost=0.02, change_cost=0.02)
_FINGER = Settings(horizon=60, knot_interval=10, noise=0.7, replan_interval=4, control_cost=0.02, change_cost=0.02)
_CHEETAH = Settings(horizon=60, knot_interval=6, samples=64, noise=0.8, spread=4, replan_interval=2, temperature=0.1)
_WALKER = Settings(
  horizon=40, knot_interval=5, samples=40, noise=0.6, spread=4, temperature=0.1, coarse=2, control_cost=0.02
)

PLANS: dict[str, tuple[Reward, Settings]] = {
  "ball_in_cup-catch": (
    _ball_in_cup,
    Settings(
      horizon=40, knot_interval=8, samples=16, noise=1.0, replan_interval=5, control_cost=0.01, change_cost=0.01
    ),
  ),
  "cheetah-run": (rewards.REWARDS["cheetah-run"], _CHEETAH),
  "finger-spin": (_finger_spin, _FINGER),
  "finger-turn_easy": (_finger_turn, _FINGER),
  "finger-turn_hard": (_finger_turn, _FINGER),
  "reacher-easy": (_reacher, _REACHER),
  "reacher-hard": (_reacher, _REACHER),
  "walker-run": (rewards.REWARDS["walker-run"], _WALKER),
  "walker-stand": (rewards.REWARDS["walker-stand"], _WALKER),
  "walker-walk": (rewards.REWARDS["walker-walk"], _WALKER),
}
