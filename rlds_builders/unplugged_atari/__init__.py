"""RL Unplugged's Atari of TFDS' catalogue: recorded episodes of DQN, no emulator."""

import re

from gato_jax import specs

# TFDS' names of the 46 games (tensorflow_datasets/rl_unplugged/atari_utils.py).
GAMES = (
  "Alien", "Amidar", "Assault", "Asterix", "Atlantis", "BankHeist", "BattleZone", "BeamRider", "Boxing", "Breakout",
  "Carnival", "Centipede", "ChopperCommand", "CrazyClimber", "DemonAttack", "DoubleDunk", "Enduro", "FishingDerby",
  "Freeway", "Frostbite", "Gopher", "Gravitar", "Hero", "IceHockey", "Jamesbond", "Kangaroo", "Krull", "KungFuMaster",
  "MsPacman", "NameThisGame", "Phoenix", "Pong", "Pooyan", "Qbert", "Riverraid", "RoadRunner", "Robotank", "Seaquest",
  "SpaceInvaders", "StarGunner", "TimePilot", "UpNDown", "VideoPinball", "WizardOfWor", "YarsRevenge", "Zaxxon",
)  # fmt: skip
SHARDS = dict.fromkeys(("Carnival", "Gravitar", "StarGunner"), 49)  # checkpoints; of the other games 50
_IMAGE = {"observation": {"frame": "observation"}, "image_size": (80, 64), "choices": 18}


def _sources() -> dict[str, specs.Source]:
  sources = {}
  for game in GAMES:
    task = re.sub("(?<=[a-z])(?=[A-Z])", "_", game).lower()
    last = f"checkpoint_{SHARDS.get(game, 50) - 1}"
    sources[task] = specs.Source(f"tfds:rlu_atari/{game}_run_1", **_IMAGE)
    sources[f"{task}-last"] = specs.Source(f"tfds:rlu_atari_checkpoints/{game}_run_1", split=last, **_IMAGE)
  return sources


DOMAIN = specs.Domain(
  name="unplugged_atari",
  tasks=tuple(_sources()),
  weight=0.0,  # the paper's Atari is rlds_builders/atari
  agent_id="rlu-dqn",
  sources=_sources(),
)
