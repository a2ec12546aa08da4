"""RGB stacking in simulation (Lee et al. 2021): red on blue, green is in the way.

Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="rgb_stacking",
  tasks=("train", "triplet1", "triplet2", "triplet3", "triplet4", "triplet5"),
  weight=1.33,
  environment="rlds_builders.rgb_stacking.environment:make",
  expert="rlds_builders.rgb_stacking.expert:make",
  agent_id="scripted-v1",
  corrects=False,  # the expert follows the stages of its own plan
)
