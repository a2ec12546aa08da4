"""The DeepMind Control Suite from pixels alone (Tassa et al. 2018); the "DM Control Suite Pixels" of Gato's Table 1."""

import dataclasses

from rlds_builders import control_suite

_EXTRA = ("point_mass-hard", "quadruped-walk")  # not of dm_control.suite.BENCHMARKING

DOMAIN = dataclasses.replace(
  control_suite.DOMAIN,
  name="control_suite_pixels",
  tasks=tuple(task for task in control_suite.DOMAIN.tasks if task not in _EXTRA),
  weight=7.07,
  environment="rlds_builders.control_suite_pixels.environment:make",
)
