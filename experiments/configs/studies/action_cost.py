"""Experts against the network: parameters, operations and milliseconds of an action, and scores.

Train experiments/configs/demo.py and small.py first. Then:

python -m benchmarks.action_cost --gato=work/demo --gato=work/small
for verb in study report; do
  python -m experiments.$verb --config=experiments/configs/studies/action_cost.py
done

The network is cheaper than its expert on 4 of 23 tasks, those where the expert plans
(docs/results.md).
"""

import ml_collections

from experiments.configs.studies import above_expert


def get_config() -> ml_collections.ConfigDict:
  config = above_expert.get_config()
  config.name = "action_cost"
  config.evaluate.episodes = 20
  config.study.kind = "action_cost"

  return config
