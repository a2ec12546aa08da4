"""The whole path in a minute, without a simulator.

for verb in collect build train evaluate report; do
  python -m experiments.$verb --config=experiments/configs/dummy.py
done

It shows that every verb works; 60 steps of training give no score to speak of.
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "dummy"
  config.domains = default.domains(dummy=1.0)

  config.data.sequence_length = 128
  config.model.update(layers=2, width=64, heads=2, feed_forward=128, memory_length=128)
  config.optimizer.peak_learning_rate = 3e-3
  # Three checkpoints, so that there is a curve to report.
  config.train.update(steps=60, batch_size=8, log_every=10, checkpoint_every=20)

  config.collect.episodes = 30
  config.evaluate.update(episodes=6, baseline_episodes=6)

  return config
