"""Procgen: sixteen games whose levels are drawn from the seed (Cobbe et al. 2020).

Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="procgen",
  tasks=(
    "bigfish",
    "bossfight",
    "caveflyer",
    "chaser",
    "climber",
    "coinrun",
    "dodgeball",
    "fruitbot",
    "heist",
    "jumper",
    "leaper",
    "maze",
    "miner",
    "ninja",
    "plunder",
    "starpilot",
  ),
  weight=5.34,
  environment="rlds_builders.procgen.environment:make",
  expert="rlds_builders.procgen.expert:make",
  agent_id="search-v1",
)
