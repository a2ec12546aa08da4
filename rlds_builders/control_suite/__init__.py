"""The DeepMind Control Suite from states (Tassa et al. 2018); the "DM Control Suite" of Gato's Table 1."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="control_suite",
  tasks=(
    "acrobot-swingup",
    "acrobot-swingup_sparse",
    "ball_in_cup-catch",
    "cartpole-balance",
    "cartpole-balance_sparse",
    "cartpole-swingup",
    "cartpole-swingup_sparse",
    "cheetah-run",
    "finger-spin",
    "finger-turn_easy",
    "finger-turn_hard",
    "fish-swim",
    "fish-upright",
    "hopper-hop",
    "hopper-stand",
    "humanoid-run",
    "humanoid-stand",
    "humanoid-walk",
    "manipulator-bring_ball",
    "pendulum-swingup",
    "point_mass-easy",
    "point_mass-hard",
    "quadruped-walk",
    "reacher-easy",
    "reacher-hard",
    "swimmer-swimmer15",
    "swimmer-swimmer6",
    "walker-run",
    "walker-stand",
    "walker-walk",
  ),
  weight=4.62,
  environment="rlds_builders.control_suite.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
  held_out=(
    "cartpole-swingup",  # as in the paper
    # Their expert hardly does better than chance (README): nothing to imitate yet.
    "hopper-hop",
    "humanoid-run",
    "humanoid-stand",
    "humanoid-walk",
  ),
)
