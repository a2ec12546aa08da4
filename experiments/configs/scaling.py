"""Sizes x token budgets on the demo's mixture, for the scaling law of docs/scaling.md.

python -m launch sweep --config=experiments/configs/scaling.py --on=local --jobs=2
python -m experiments.report --scaling --config=experiments/configs/scaling.py
"""

import ml_collections

from experiments import cli
from experiments.configs import demo
from gato_jax.scaling import grid


def get_config() -> ml_collections.ConfigDict:
  config = demo.get_config()
  config.name = "scaling"
  config.scaling = cli.section_of(grid.GridConfig())
  config.data.hold_out = 10
  # A run is a few minutes long, so it is saved at its end only. A batch of 16 has about 150 targets: two chunks.
  config.train.update(minutes=None, steps=1, batch_size=16, log_every=25, loss_chunk=88, held_out_batches=128)
  config.train.checkpoint_every = 1_000_000
  return config
