"""Angles in radians, as experts need them."""

from typing import Any

import numpy as np


def wrapped(angle: Any, period: float = 2 * np.pi) -> Any:
  """Returns the same angle in [-period / 2, period / 2).

  Args:
    angle: A number or an array.
    period: 2 pi, or pi for what looks the same from both ends.
  """
  return (angle + period / 2) % period - period / 2


def yaw(rotation: np.ndarray) -> float:
  """Returns the angle about the vertical of a rotation's first axis; rotation is [3, 3]."""
  return float(np.arctan2(rotation[1, 0], rotation[0, 0]))
