"""RGB stacking: skill generalisation and skill mastery (Reed et al. 2022, section 5.3).

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/rgb_stacking.py
done

Generalisation trains on random triplets of objects (Lee et al. 2021) and plays the test triplets;
mastery trains on those too. Fine-tuning on a test triplet by number of episodes, the paper's Figure
10, is studies/rgb_fine_tuning.py.

The expert takes 20 seconds for an episode, the network 70. It was run here for 320 of 2,000 steps
and stacks nothing yet (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import default

# Not triplet 2: its expert stacks in 4 of 10 episodes only, each of which takes four times as long.
TRIPLETS = tuple(f"triplet{i}" for i in (1, 3, 4, 5))
TASKS = tuple(f"rgb_stacking.{triplet}" for triplet in TRIPLETS)


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "rgb_stacking"
  config.domains = default.domains(rgb_stacking=(1.0, "train", *TRIPLETS))

  # A step takes 158 tokens, 128 of them patches of its two cameras: a row holds one step.
  default.one_step_context(config, 160)
  # Half of the expert's return is enough to train on, instead of the paper's 80 %, since there are
  # few episodes. Every fifth of them measures the validation loss.
  config.data.update(keep=0.5, validation_every=5)

  config.model.update(width=96, heads=3, layers=3, feed_forward=384, key_size=32)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=2000, batch_size=16, keep=1, validation_batches=20)

  # A shard is what one worker takes: small ones spread few slow episodes over all workers.
  config.collect.update(
    episodes=30, shard_episodes=5, disturbance=ml_collections.ConfigDict(dict(rgb_stacking=0.15))
  )
  # Baselines from scores.json: playing them would take hours.
  config.evaluate.update(tasks=TASKS, episodes=10, baselines="scores", videos=False)

  runs = [
    studies.StudyRun("generalisation", {"held_out": TASKS}, {"arm": "generalisation"}),
    studies.StudyRun("mastery", {}, {"arm": "mastery"}),
  ]
  config.study = studies.section("scores", runs)

  return config
