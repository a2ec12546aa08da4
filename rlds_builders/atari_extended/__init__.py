"""28 further Atari games, their mode and difficulty drawn for every episode. Data only, no emulator."""

import dataclasses

from rlds_builders import atari

DOMAIN = dataclasses.replace(
  atari.DOMAIN,
  name="atari_extended",
  tasks=(
    "air_raid", "atlantis2", "carnival", "darkchambers", "defender", "donkey_kong", "entombed", "frogger", "galaxian",
    "human_cannonball", "journey_escape", "kaboom", "keystone_kapers", "king_kong", "klax", "koolaid", "laser_gates",
    "lost_luggage", "mario_bros", "mr_do", "pacman", "pooyan", "sir_lancelot", "solaris", "surround", "trondead",
    "turmoil", "yars_revenge",
  ),
  weight=10.0,
  environment="rlds_builders.atari_extended.environment:make",
  held_out=("human_cannonball",),  # its expert does no better than chance (README)
)  # fmt: skip
