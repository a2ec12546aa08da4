"""Fine-tuning on held-out tasks, the paper's Figure 9 (Reed et al. 2022, section 5.2 and appendix E).

Networks that began with all data, with the task's domain alone, with no control data, or from scratch; nested subsets
of its episodes; played while they train, the best moving average of 5 counts.

for study in specialists image_ablation fine_tuning; do
  python -m experiments.study --config=experiments/configs/$study.py     # the first two train what this begins with
done

The paper: episodes 1, 3, 5, 10, 100, 1000 and three repeats; 10,000 steps, played every 100: `get_config("paper")`,
--config=experiments/configs/fine_tuning.py:paper.
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run

SIZES = {  # episodes, repeats, steps
  "small": ((1, 10, 100), 1, 300),
  "paper": ((1, 3, 5, 10, 100, 1000), 3, 10_000),
}
FEW = {"atari.boxing": 10}  # episodes there are, where an expert's cost a minute


def get_config(size: str = "small") -> ml_collections.ConfigDict:
  episodes, repeats, steps = SIZES[size]
  runs = []
  for task in small.HELD_OUT:
    domain = task.split(".")[0]
    starts = {
      "all data": small.WORKDIR,
      "same domain": f"work/specialists/{domain}",
      "no control data": "work/image_ablation/no_control",
      "scratch": "",
    }
    runs += [
      Run(
        f"{task}-{arm.replace(' ', '_')}-{n}-{repeat}",
        small.fine_tune(task, n, repeat, steps),
        {"arm": arm, "task": task, "episodes": n, "repeat": repeat},
        starts_from=start,
      )
      for n in episodes
      for repeat in range(repeats)
      for arm, start in starts.items()
      if n <= FEW.get(task, n)
    ]
  return small.study("fine_tuning", "fine_tuning", runs)
