"""The DeepMind Control Suite from states (Tassa et al. 2018); the "DM Control Suite" of Gato's Table 1."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="control_suite",
  tasks=(
    "ball_in_cup-catch",
    "cartpole-balance",
    "cartpole-swingup",
    "finger-turn_easy",
    "pendulum-swingup",
    "point_mass-easy",
    "reacher-easy",
  ),
  weight=4.62,
  environment="rlds_builders.control_suite.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
  held_out=("cartpole-swingup",),
)
