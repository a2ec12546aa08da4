"""Angles in radians, as experts need them."""

import numpy as np


def wrapped(angle: np.ndarray | float, period: float = 2 * np.pi) -> np.ndarray | float:
  """The same angle in [-period / 2, period / 2); a period of pi for what looks the same from both ends."""
  return (angle + period / 2) % period - period / 2


def yaw(rotation: np.ndarray) -> float:
  """Of the first axis of a rotation [3, 3] about the vertical."""
  return float(np.arctan2(rotation[1, 0], rotation[0, 0]))
