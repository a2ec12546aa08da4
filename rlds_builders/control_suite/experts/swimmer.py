"""Swimmer: a travelling wave of joint torques, bent towards the target, that dies out at it."""

import dataclasses
from typing import Any

import dm_env
import numpy as np

_ARRIVED, _SLOWING = 0.05, 0.1  # metres from nose to target: no wave; so much further out, the whole wave


@dataclasses.dataclass(frozen=True)
class Wave:
  """The numbers of a wave, found by the cross-entropy method on 24 starts (swimmer6) and 16 (swimmer15).

  Attributes:
    amplitude: of the torque, as a share of the largest.
    frequency: radians per second.
    lag: radians between neighbouring joints.
    steer: joint angle per radian between heading and target.
    most_steer: radians.
    stiffness, damping: torque per joint angle and per joint velocity.
  """

  amplitude: float
  frequency: float
  lag: float
  steer: float
  most_steer: float
  stiffness: float
  damping: float


WAVES = {
  "swimmer-swimmer15": Wave(1.395, 3.979, 1.286, -0.467, 0.987, 2.502, 0.224),
  "swimmer-swimmer6": Wave(1.435, 5.398, 1.271, -0.587, 1.137, 1.935, -0.123),
}


class Swimmer:
  """Acts from joint angles, the vector from nose to target and the clock, whose phase the joints show."""

  def __init__(self, environment: Any, wave: Wave):
    self._environment, self._wave = environment, wave

  def reset(self, seed: int) -> None:
    del seed  # a function of state and clock

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    physics, wave = self._environment.physics, self._wave
    forward, distance = physics.nose_to_target(), physics.nose_to_target_dist()
    heading = np.arctan2(forward[0], -forward[1])  # the nose points along -y
    bend = np.clip(wave.steer * heading, -wave.most_steer, wave.most_steer)
    phase = wave.frequency * physics.time() - wave.lag * np.arange(physics.model.nu)
    swim = np.clip((distance - _ARRIVED) / _SLOWING, 0, 1)
    torque = swim * (wave.amplitude * np.sin(phase) + wave.stiffness * bend)
    torque = torque - wave.stiffness * physics.data.qpos[3:] - wave.damping * physics.data.qvel[3:]
    return np.clip(torque, -1, 1).astype(np.float32)
