"""Experts against the network: parameters, operations and milliseconds an action of both, with both scores.

Train experiments/configs/demo.py and small.py first, then
python -m benchmarks.action_cost --gato=work/demo --gato=work/small
for verb in study report; do python -m experiments.$verb --config=experiments/configs/action_cost.py; done
"""

import ml_collections

from experiments.configs import above_expert


def get_config() -> ml_collections.ConfigDict:
  config = above_expert.get_config()
  config.name = "action_cost"
  config.evaluate.episodes = 20
  config.study.kind = "action_cost"
  return config
