"""Control, captions and questions, and text in one network, on a laptop's CPU.

for verb in collect build train evaluate measure report; do
  python -m experiments.$verb --config=experiments/configs/mixed.py
done
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "mixed"
  config.domains = default.domains(
    dummy=0.2,
    conceptual_captions=(0.3, "scenes"),
    ok_vqa=(0.3, "grids"),
    text=(0.2, "python_docs"),
  )
  config.data.update(sequence_length=128, pairs=0)
  config.model.update(width=128, heads=4, key_size=32, layers=3, feed_forward=512, memory_length=256)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(minutes=3.0, batch_size=16, checkpoint_every=500)
  return config
