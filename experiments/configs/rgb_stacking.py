"""RGB stacking: skill generalisation and skill mastery (Reed et al. 2022, section 5.3; Lee et al. 2021).

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/rgb_stacking.py
done

Generalisation trains on random triplets of objects and plays the test triplets; mastery trains on those too.
Fine-tuning on a test triplet by number of episodes, the paper's Figure 10: rgb_fine_tuning.py. The expert takes 20 s an
episode.
"""

import ml_collections

from experiments.configs import default
from gato_jax import studies

# Not triplet 2: its expert stacks 4 of 10, and an episode costs four times as much.
TRIPLETS = tuple(f"triplet{i}" for i in (1, 3, 4, 5))
TASKS = tuple(f"rgb_stacking.{triplet}" for triplet in TRIPLETS)


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "rgb_stacking"
  config.domains = default.domains(rgb_stacking=(1.0, "train", *TRIPLETS))
  # A step of two cameras takes 158 tokens, 128 of them patches: a row holds one.
  config.data.update(sequence_length=160, window_steps=1, prompt_probability=0.0, keep=0.5, hold_out=5)
  config.act.update(memory_steps=1, prompt="none")
  config.model.update(width=96, heads=3, layers=3, feed_forward=384, key_size=32, memory_length=160, attention_block=0)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=2000, batch_size=16, keep=1, held_out_batches=20)
  config.collect.update(episodes=30, shard_episodes=5, disturbance=ml_collections.ConfigDict(dict(rgb_stacking=0.15)))
  config.evaluate.update(tasks=TASKS, episodes=10, baselines="scores", videos=False)
  runs = [
    studies.Run("generalisation", {"held_out": TASKS}, {"arm": "generalisation"}),
    studies.Run("mastery", {}, {"arm": "mastery"}),
  ]
  config.study = studies.section("scores", runs)
  return config
