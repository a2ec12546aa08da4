"""Peak learning rates at several widths: where muP puts the best one (docs/scaling.md).

python -m launch sweep --config=experiments/configs/studies/learning_rates.py --on=local
python -m experiments.report --scaling --config=experiments/configs/studies/learning_rates.py

The data are those of experiments/configs/studies/scaling.py.
"""

import ml_collections

from experiments import cli
from experiments.analysis.scaling import runs
from experiments.configs.studies import scaling


def get_config() -> ml_collections.ConfigDict:
  config = scaling.get_config()
  config.name = "learning_rates"

  # Steps of the square root of two. 100 batches each, since the widest network has 31M parameters.
  config.scaling = cli.section_of(
    runs.SweepConfig(
      widths=(64, 128, 256, 512),
      tokens=(124_800,),
      rates=(0.5, 0.71, 1.0, 1.41, 2.0),
      branch=False,
    )
  )
  return config
