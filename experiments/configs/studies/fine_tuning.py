"""Fine-tuning on held-out tasks, the paper's Figure 9 (Reed et al. 2022, section 5.2, appendix E).

Networks start from all data, from the task's domain alone, from data without control, or from
scratch. They are fine-tuned on nested subsets of the task's episodes and played while they train;
the best moving average of 5 evaluations counts.

for study in specialists image_ablation fine_tuning; do
  python -m experiments.study --config=experiments/configs/studies/$study.py
done

The first two studies train the starting points. 44 runs of 300 steps.
--config=experiments/configs/studies/fine_tuning.py:paper has the paper's subsets, its three repeats
and its 10,000 steps. What came out: docs/results.md.
"""

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small

# Name of a size -> numbers of episodes, repeats, steps.
SIZES = {
  "small": ((1, 10, 100), 1, 300),
  "paper": ((1, 3, 5, 10, 100, 1000), 3, 10_000),
}
# Task -> episodes there are, where they are few: an episode of Atari's expert takes a minute.
FEW = {"atari.boxing": 10}


def get_config(size: str = "small") -> ml_collections.ConfigDict:
  """Returns the study.

  Args:
    size: A key of SIZES.
  """
  subsets, repeats, steps = SIZES[size]

  runs = []
  for task in small.HELD_OUT:
    domain = task.split(".")[0]
    starts = {
      "all data": small.WORKDIR,
      "same domain": f"work/specialists/{domain}",
      "no control data": "work/image_ablation/no_control",
      "scratch": "",
    }

    for episodes in subsets:
      if episodes > FEW.get(task, episodes):
        continue
      for repeat in range(repeats):
        for arm, start in starts.items():
          run = StudyRun(
            f"{task}-{arm.replace(' ', '_')}-{episodes}-{repeat}",
            small.fine_tune(task, episodes, repeat=repeat, steps=steps),
            labels={"arm": arm, "task": task, "episodes": episodes, "repeat": repeat},
            starts_from=start,
          )
          runs.append(run)

  return small.study("fine_tuning", "fine_tuning", runs=runs)
