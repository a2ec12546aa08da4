"""Swimmer: a travelling wave of joint torques, bent towards the target, that dies out at it."""

import dataclasses

import dm_env
import numpy as np

from rlds_builders.worlds.suite.environment import ControlSuite

# Metres from nose to target within which there is no wave, and over which it then grows to its
# whole amplitude.
_ARRIVED = 0.05
_SLOWING = 0.1


@dataclasses.dataclass(frozen=True)
class Wave:
  """Parameters of a wave.

  Found by the cross-entropy method on 24 starts (swimmer6) and 16 (swimmer15).

  Attributes:
    amplitude: Of the torque, as a share of the largest torque.
    frequency: Radians per second.
    lag: Radians of phase between neighbouring joints.
    steer: Joint angle per radian between heading and target.
    most_steer: Largest joint angle from steering, in radians.
    stiffness: Torque per joint angle.
    damping: Torque per joint velocity.
  """

  amplitude: float
  frequency: float
  lag: float
  steer: float
  most_steer: float
  stiffness: float
  damping: float


WAVES = {
  "swimmer-swimmer15": Wave(
    amplitude=1.395,
    frequency=3.979,
    lag=1.286,
    steer=-0.467,
    most_steer=0.987,
    stiffness=2.502,
    damping=0.224,
  ),
  "swimmer-swimmer6": Wave(
    amplitude=1.435,
    frequency=5.398,
    lag=1.271,
    steer=-0.587,
    most_steer=1.137,
    stiffness=1.935,
    damping=-0.123,
  ),
}


class Swimmer:
  """Acts on joint angles, the vector from nose to target and the clock, whose phase joints show."""

  def __init__(self, environment: ControlSuite, wave: Wave):
    self._environment = environment
    self._wave = wave

  def reset(self, seed: int) -> None:
    del seed  # a function of state and clock

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # reads the physics state
    physics, wave = self._environment.physics, self._wave

    # The nose points along -y.
    forward, distance = physics.nose_to_target(), physics.nose_to_target_dist()
    heading = np.arctan2(forward[0], -forward[1])
    bend = np.clip(wave.steer * heading, -wave.most_steer, wave.most_steer)

    phase = wave.frequency * physics.time() - wave.lag * np.arange(physics.model.nu)
    strength = np.clip((distance - _ARRIVED) / _SLOWING, 0, 1)
    torque = strength * (wave.amplitude * np.sin(phase) + wave.stiffness * bend)

    # The first three degrees of freedom are the root's.
    torque = torque - wave.stiffness * physics.data.qpos[3:] - wave.damping * physics.data.qvel[3:]
    return np.clip(torque, -1, 1).astype(np.float32)
