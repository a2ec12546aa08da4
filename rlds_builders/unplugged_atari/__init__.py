"""RL Unplugged's Atari: recorded episodes of DQN, no emulator."""

import re
from typing import Any

from gato_jax.domain import RecordedDomain, Source

# TFDS' names of the 46 games (tensorflow_datasets/rl_unplugged/atari_utils.py).
GAMES = (
  "Alien",
  "Amidar",
  "Assault",
  "Asterix",
  "Atlantis",
  "BankHeist",
  "BattleZone",
  "BeamRider",
  "Boxing",
  "Breakout",
  "Carnival",
  "Centipede",
  "ChopperCommand",
  "CrazyClimber",
  "DemonAttack",
  "DoubleDunk",
  "Enduro",
  "FishingDerby",
  "Freeway",
  "Frostbite",
  "Gopher",
  "Gravitar",
  "Hero",
  "IceHockey",
  "Jamesbond",
  "Kangaroo",
  "Krull",
  "KungFuMaster",
  "MsPacman",
  "NameThisGame",
  "Phoenix",
  "Pong",
  "Pooyan",
  "Qbert",
  "Riverraid",
  "RoadRunner",
  "Robotank",
  "Seaquest",
  "SpaceInvaders",
  "StarGunner",
  "TimePilot",
  "UpNDown",
  "VideoPinball",
  "WizardOfWor",
  "YarsRevenge",
  "Zaxxon",
)

# Number of recorded checkpoints, where it is not 50.
SHARDS = dict.fromkeys(("Carnival", "Gravitar", "StarGunner"), 49)

# TFDS calls the image itself "observation". A DQN agent chooses among up to 18 actions.
_IMAGE: dict[str, Any] = {
  "observation": {"frame": "observation"},
  "image_size": (80, 64),
  "choices": 18,
}


def _sources() -> dict[str, Source]:
  """Returns two tasks a game: all checkpoints, and the last one alone ("-last")."""
  sources = {}
  for game in GAMES:
    # "MsPacman" -> "ms_pacman".
    task = re.sub("(?<=[a-z])(?=[A-Z])", "_", game).lower()
    sources[task] = Source(f"tfds:rlu_atari/{game}_run_1", **_IMAGE)

    # TFDS has one split per checkpoint, counted from 0.
    last = f"checkpoint_{SHARDS.get(game, 50) - 1}"
    sources[f"{task}-last"] = Source(
      f"tfds:rlu_atari_checkpoints/{game}_run_1", split=last, **_IMAGE
    )
  return sources


DOMAIN = RecordedDomain(
  name="unplugged_atari",
  tasks=tuple(_sources()),
  weight=0.0,  # rlds_builders/atari has the paper's row
  agent_id="rlu-dqn",
  sources=_sources(),
)
