"""51 games of the Arcade Learning Environment (Bellemare et al. 2013). Data only, no emulator."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="atari",
  # The paper does not say which 51 of the usual 57: these are the 49 of Mnih et al. 2015, Berzerk and Phoenix.
  tasks=(
    "alien", "amidar", "assault", "asterix", "asteroids", "atlantis", "bank_heist", "battle_zone", "beam_rider",
    "berzerk", "bowling", "boxing", "breakout", "centipede", "chopper_command", "crazy_climber", "demon_attack",
    "double_dunk", "enduro", "fishing_derby", "freeway", "frostbite", "gopher", "gravitar", "hero", "ice_hockey",
    "jamesbond", "kangaroo", "krull", "kung_fu_master", "montezuma_revenge", "ms_pacman", "name_this_game", "phoenix",
    "pong", "private_eye", "qbert", "riverraid", "road_runner", "robotank", "seaquest", "space_invaders",
    "star_gunner", "tennis", "time_pilot", "tutankham", "up_n_down", "venture", "video_pinball", "wizard_of_wor",
    "zaxxon",
  ),
  weight=9.5,
  environment="rlds_builders.atari.environment:make",
  expert="rlds_builders.atari.expert:make",
  agent_id="rollouts-v1",
  held_out=("boxing",),  # as in the paper
)  # fmt: skip
