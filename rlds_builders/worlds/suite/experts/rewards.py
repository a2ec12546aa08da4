"""The suite's rewards over whole rollouts.

Axes: B rollouts, T control steps. Tests compare every reward with the get_reward() of the suite's
own task.
"""

from collections.abc import Callable

import numpy as np
from dm_control.utils import rewards

from rlds_builders.planners.rollouts import Trajectories

# Returns the reward of every step of rollouts, [B, T].
Reward = Callable[[Trajectories], np.ndarray]

# Constants of dm_control.suite's modules.
_PENDULUM_COSINE = np.cos(np.deg2rad(8))
_SPIN_VELOCITY = 15.0
_HOPPER_STAND_HEIGHT = 0.6
_HOP_SPEED = 2.0
_WALKER_STAND_HEIGHT = 1.2
_HUMANOID_STAND_HEIGHT = 1.4
_CHEETAH_SPEED = 10.0
_BALL_CLOSE = 0.01  # metres

_INFINITY = float("inf")


def tip_to_target(t: Trajectories) -> np.ndarray:
  """Returns acrobot's vector from tip to target, [B, T, 3]."""
  return t.sensor("target.pos") - t.sensor("tip.pos")


def acrobot(t: Trajectories) -> np.ndarray:
  """Returns the reward of acrobot-swingup."""
  size = t.model.site("target").size[0]
  return rewards.tolerance(np.linalg.norm(tip_to_target(t), axis=-1), (0, size), margin=1)


def acrobot_sparse(t: Trajectories) -> np.ndarray:
  """Returns the reward of acrobot-swingup_sparse."""
  size = t.model.site("target").size[0]
  return rewards.tolerance(np.linalg.norm(tip_to_target(t), axis=-1), (0, size))


def ball_to_target(t: Trajectories) -> np.ndarray:
  """Returns the vector (x, z) from the ball to the middle of the cup, [B, T, 2]."""
  # The vector at rest; joints slide the cup (first two) and the ball (last two) from there.
  rest = t.model.body("cup").pos + t.model.site("target").pos - t.model.body("ball").pos
  return rest[[0, 2]] + t.qpos[..., :2] - t.qpos[..., 2:4]


def ball_in_cup(t: Trajectories) -> np.ndarray:
  """Returns the reward of ball_in_cup-catch."""
  room = t.model.site("target").size[[0, 2]] - t.model.geom("ball").size[0]
  return np.all(np.abs(ball_to_target(t)) < room, axis=-1).astype(float)


def pole_cosines(t: Trajectories) -> np.ndarray:
  """Returns the cosine of each pole of cartpole against the vertical, [B, T, poles]."""
  return np.cos(np.cumsum(t.qpos[..., 1:], axis=-1))


def cartpole(t: Trajectories) -> np.ndarray:
  """Returns the reward of cartpole's dense tasks."""
  upright = (pole_cosines(t).mean(axis=-1) + 1) / 2
  centered = (1 + rewards.tolerance(t.qpos[..., 0], margin=2)) / 2

  # The fastest pole counts: the suite takes the minimum over poles.
  small_velocity = (1 + rewards.tolerance(t.qvel[..., 1:], margin=5).min(axis=-1)) / 2
  return upright * (4 + _small_control(t)) / 5 * small_velocity * centered


def cartpole_sparse(t: Trajectories) -> np.ndarray:
  """Returns the reward of cartpole's sparse tasks."""
  centered = rewards.tolerance(t.qpos[..., 0], (-0.25, 0.25))
  return centered * rewards.tolerance(pole_cosines(t), (0.995, 1)).prod(axis=-1)


def cheetah(t: Trajectories) -> np.ndarray:
  """Returns the reward of cheetah-run."""
  speed = t.sensor("torso_subtreelinvel")[..., 0]
  return _linear(speed, _CHEETAH_SPEED, margin=_CHEETAH_SPEED, value=0)


def tip_distance(t: Trajectories) -> np.ndarray:
  """Returns finger's signed distance from the spinner's tip to the target's surface, [B, T]."""
  gap = (t.sensor("target") - t.sensor("tip"))[..., [0, 2]]
  return np.linalg.norm(gap, axis=-1) - t.model.site("target").size[0]


def finger_turn(t: Trajectories) -> np.ndarray:
  """Returns the reward of finger-turn_easy and finger-turn_hard."""
  return (tip_distance(t) <= 0).astype(float)


def finger_spin(t: Trajectories) -> np.ndarray:
  """Returns the reward of finger-spin."""
  return (t.sensor("hinge_velocity")[..., 0] <= -_SPIN_VELOCITY).astype(float)


def mouth_to_target(t: Trajectories) -> np.ndarray:
  """Returns fish's vector from mouth to target, [B, T, 3]."""
  return t.sensor("target.pos") - t.sensor("mouth.pos")


def fish_upright(t: Trajectories) -> np.ndarray:
  """Returns the reward of fish-upright."""
  return rewards.tolerance(t.sensor("torso.zaxis")[..., 2], bounds=(1, 1), margin=1)


def fish_swim(t: Trajectories) -> np.ndarray:
  """Returns the reward of fish-swim."""
  radii = t.model.geom("mouth").size[0] + t.model.geom("target").size[0]
  distance = np.linalg.norm(mouth_to_target(t), axis=-1)
  in_target = rewards.tolerance(distance, bounds=(0, radii), margin=2 * radii)
  return (7 * in_target + (t.sensor("torso.zaxis")[..., 2] + 1) / 2) / 8


def hopper_height(t: Trajectories) -> np.ndarray:
  """Returns the height of hopper's torso above its foot, [B, T]."""
  return (t.sensor("torso.pos") - t.sensor("foot.pos"))[..., 2]


def _hopper_standing(t: Trajectories) -> np.ndarray:
  return rewards.tolerance(hopper_height(t), (_HOPPER_STAND_HEIGHT, 2))


def hopper_stand(t: Trajectories) -> np.ndarray:
  """Returns the reward of hopper-stand."""
  return _hopper_standing(t) * (_small_control(t) + 4) / 5


def hopper_hop(t: Trajectories) -> np.ndarray:
  """Returns the reward of hopper-hop."""
  speed = t.sensor("torso_subtreelinvel")[..., 0]
  return _hopper_standing(t) * _linear(speed, _HOP_SPEED, margin=_HOP_SPEED / 2, value=0.5)


def humanoid(speed: float) -> Reward:
  """Returns the reward function of a humanoid that moves at `speed` m/s; stands if that is 0."""

  def reward(t: Trajectories) -> np.ndarray:
    height = t.sensor("head.pos")[..., 2]
    standing = rewards.tolerance(
      height, (_HUMANOID_STAND_HEIGHT, _INFINITY), margin=_HUMANOID_STAND_HEIGHT / 4
    )
    upright = _linear(t.sensor("torso.zaxis")[..., 2], 0.9, margin=1.9, value=0)

    velocity = t.sensor("torso_subtreelinvel")[..., :2]
    if speed:
      fast = _linear(np.linalg.norm(velocity, axis=-1), speed, margin=speed, value=0)
      move = (5 * fast + 1) / 6
    else:
      move = rewards.tolerance(velocity, margin=2).mean(axis=-1)

    return (4 + _small_control(t)) / 5 * standing * upright * move

  return reward


def ball_distance(t: Trajectories) -> np.ndarray:
  """Returns manipulator's distance from the ball to its target, [B, T]."""
  return np.linalg.norm(t.sensor("ball.pos") - t.sensor("target_ball.pos"), axis=-1)


def bring_ball(t: Trajectories) -> np.ndarray:
  """Returns the reward of manipulator-bring_ball."""
  return rewards.tolerance(ball_distance(t), (0, _BALL_CLOSE), margin=2 * _BALL_CLOSE)


def pendulum(t: Trajectories) -> np.ndarray:
  """Returns the reward of pendulum-swingup."""
  return rewards.tolerance(np.cos(t.qpos[..., 0]), (_PENDULUM_COSINE, 1))


def point_mass(t: Trajectories) -> np.ndarray:
  """Returns the reward of point_mass-easy and point_mass-hard."""
  size = t.model.geom("target").size[0]
  near = rewards.tolerance(np.linalg.norm(t.qpos, axis=-1), bounds=(0, size), margin=size)
  return near * (_small_control(t) + 4) / 5


def quadruped(speed: float) -> Reward:
  """Returns the reward function of a quadruped that moves at `speed` m/s."""

  def reward(t: Trajectories) -> np.ndarray:
    upright = _linear(t.sensor("torso.zaxis")[..., 2], 1, margin=2, value=0)
    return upright * _linear(t.sensor("velocimeter")[..., 0], speed, margin=speed, value=0.5)

  return reward


def finger_to_target(t: Trajectories) -> np.ndarray:
  """Returns reacher's vector from finger to target, [B, T, 2]."""
  # Forward kinematics in the plane: the second joint's angle is relative to the first link.
  shoulder, wrist = t.qpos[..., 0], t.qpos.sum(axis=-1)
  upper, lower = t.model.body("hand").pos[0], t.model.body("finger").pos[0]
  x = upper * np.cos(shoulder) + lower * np.cos(wrist)
  y = upper * np.sin(shoulder) + lower * np.sin(wrist)

  return t.model.geom("target").pos[:2] - np.stack([x, y], axis=-1)


def reacher(t: Trajectories) -> np.ndarray:
  """Returns the reward of reacher-easy and reacher-hard."""
  radii = t.model.geom("target").size[0] + t.model.geom("finger").size[0]
  return rewards.tolerance(np.linalg.norm(finger_to_target(t), axis=-1), (0, radii))


def nose_to_target(t: Trajectories) -> np.ndarray:
  """Returns swimmer's vector from nose to target, [B, T, 2]."""
  return (t.sensor("target.pos") - t.sensor("nose.pos"))[..., :2]


def swimmer(t: Trajectories) -> np.ndarray:
  """Returns the reward of swimmer's tasks."""
  size = t.model.geom("target").size[0]
  distance = np.linalg.norm(nose_to_target(t), axis=-1)
  return rewards.tolerance(distance, (0, size), margin=5 * size, sigmoid="long_tail")


def walker_upright(t: Trajectories) -> np.ndarray:
  """Returns the cosine of the torso's angle against the vertical, [B, T]."""
  return np.cos(t.qpos[..., 2])


def walker_height(t: Trajectories) -> np.ndarray:
  """Returns the height of the torso, [B, T]."""
  return t.model.body("torso").pos[2] + t.qpos[..., 0]


def walker(speed: float) -> Reward:
  """Returns the reward function of a walker that moves at `speed` m/s; stands if that is 0."""

  def reward(t: Trajectories) -> np.ndarray:
    standing = rewards.tolerance(
      walker_height(t), (_WALKER_STAND_HEIGHT, _INFINITY), margin=_WALKER_STAND_HEIGHT / 2
    )
    stand = (3 * standing + (1 + walker_upright(t)) / 2) / 4
    if not speed:
      return stand

    velocity = t.sensor("torso_subtreelinvel")[..., 0]
    return stand * (5 * _linear(velocity, speed, margin=speed / 2, value=0.5) + 1) / 6

  return reward


def _small_control(t: Trajectories) -> np.ndarray:
  """Returns a bonus between 0 and 1 for small actions, [B, T]."""
  bonus = rewards.tolerance(t.actions, margin=1, value_at_margin=0, sigmoid="quadratic")
  return bonus.mean(axis=-1)


def _linear(x: np.ndarray, enough: float, margin: float, value: float) -> np.ndarray:
  """Returns 1 where x >= enough; below, falls linearly to `value` at enough - margin."""
  return rewards.tolerance(
    x, (enough, _INFINITY), margin=margin, value_at_margin=value, sigmoid="linear"
  )


REWARDS: dict[str, Reward] = {
  "acrobot-swingup": acrobot,
  "acrobot-swingup_sparse": acrobot_sparse,
  "ball_in_cup-catch": ball_in_cup,
  "cartpole-balance": cartpole,
  "cartpole-balance_sparse": cartpole_sparse,
  "cartpole-swingup": cartpole,
  "cartpole-swingup_sparse": cartpole_sparse,
  "cartpole-two_poles": cartpole,
  "cheetah-run": cheetah,
  "finger-spin": finger_spin,
  "finger-turn_easy": finger_turn,
  "finger-turn_hard": finger_turn,
  "fish-swim": fish_swim,
  "fish-upright": fish_upright,
  "hopper-hop": hopper_hop,
  "hopper-stand": hopper_stand,
  "humanoid-run": humanoid(10.0),
  "humanoid-stand": humanoid(0.0),
  "humanoid-walk": humanoid(1.0),
  "manipulator-bring_ball": bring_ball,
  "pendulum-swingup": pendulum,
  "point_mass-easy": point_mass,
  "point_mass-hard": point_mass,
  "quadruped-walk": quadruped(0.5),
  "quadruped-run": quadruped(5.0),
  "reacher-easy": reacher,
  "reacher-hard": reacher,
  "swimmer-swimmer15": swimmer,
  "swimmer-swimmer6": swimmer,
  "walker-run": walker(8.0),
  "walker-stand": walker(0.0),
  "walker-walk": walker(1.0),
}
