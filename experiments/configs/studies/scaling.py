"""Network sizes x token budgets on the demo's mixture, for the scaling law of docs/scaling.md.

python -m launch sweep --config=experiments/configs/studies/scaling.py --on=local --jobs=2
python -m experiments.report --scaling --config=experiments/configs/studies/scaling.py

20 networks, a few minutes each.
"""

import ml_collections

from experiments import cli
from experiments.analysis.scaling import grid
from experiments.configs import demo


def get_config() -> ml_collections.ConfigDict:
  config = demo.get_config()
  config.name = "scaling"
  config.scaling = cli.section_of(grid.GridConfig())

  # The law is fitted to the loss on the validation split, every tenth episode.
  config.data.validation_every = 10
  # The sweep sets the real number of steps of each run. A batch of 16 rows has about 150 targets,
  # which make two chunks.
  config.train.update(
    minutes=None, steps=1, batch_size=16, log_every=25, loss_chunk=88, validation_batches=128
  )
  # Never during a run, which is a few minutes long: it is saved at its end.
  config.train.checkpoint_every = 1_000_000

  return config
