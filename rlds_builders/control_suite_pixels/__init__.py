"""The DeepMind Control Suite from pixels alone (Tassa et al. 2018); the "DM Control Suite Pixels" of Gato's Table 1."""

from gato_jax import specs
from rlds_builders import control_suite

_EXTRA = ("point_mass-hard", "quadruped-walk")  # not of dm_control.suite.BENCHMARKING

DOMAIN = specs.Domain(
  name="control_suite_pixels",
  tasks=tuple(task for task in control_suite.DOMAIN.tasks if task not in _EXTRA),
  weight=7.07,
  environment="rlds_builders.control_suite_pixels.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id=control_suite.DOMAIN.agent_id,
  held_out=control_suite.DOMAIN.held_out,
)
