"""28 further Atari games, their mode and difficulty drawn for every episode.

Imports no emulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="atari_extended",
  tasks=(
    "air_raid",
    "atlantis2",
    "carnival",
    "darkchambers",
    "defender",
    "donkey_kong",
    "entombed",
    "frogger",
    "galaxian",
    "human_cannonball",
    "journey_escape",
    "kaboom",
    "keystone_kapers",
    "king_kong",
    "klax",
    "koolaid",
    "laser_gates",
    "lost_luggage",
    "mario_bros",
    "mr_do",
    "pacman",
    "pooyan",
    "sir_lancelot",
    "solaris",
    "surround",
    "trondead",
    "turmoil",
    "yars_revenge",
  ),
  weight=10.0,
  environment="rlds_builders.atari_extended.environment:make",
  expert="rlds_builders.atari.expert:make",
  agent_id="rollouts-v1",
  corrects=False,  # the search goes on from its own course
  # Its expert does no better than chance (README).
  held_out=("human_cannonball",),
)
