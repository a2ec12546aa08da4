"""Specialists: one domain, all its tasks, against the generalist of equal size (Reed et al. 2022, section 5.5).

Each specialist sees as many sequences of its domain as the generalist did. The paper's are 79M on all 50 Meta-World
tasks and 1.18B on 51 Atari games: small.py's lists of tasks and its network are what to change.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/specialists.py
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run

DOMAINS = ("control_suite", "meta_world", "labyrinth", "atari")


def get_config() -> ml_collections.ConfigDict:
  generalist = Run("generalist", labels={"arm": "generalist"}, plays=small.WORKDIR, verbs=("evaluate",))
  return small.study(
    "specialists",
    "scores",
    [generalist, *(Run(name, small.only(name), {"arm": "specialist of the domain"}) for name in DOMAINS)],
  )
