"""Above the expert: do trained networks beat what they imitated?

Train experiments/configs/demo.py and small.py first. Then, with nothing more to train:

for verb in study report; do
  python -m experiments.$verb --config=experiments/configs/studies/above_expert.py
done

Neither network is above its expert on any of 23 tasks (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import demo, small

_DOCUMENTS = ("text", "conceptual_captions")  # nothing to play there


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "above_expert"
  # More episodes than in other studies: the question is decided by a significance test.
  config.evaluate.update(episodes=50, videos=False)

  runs = []
  for trained in (demo.get_config(), small.get_config()):
    tasks = tuple(
      f"{domain}.{task}"
      for domain, entry in trained.domains.items()
      if domain not in _DOCUMENTS
      for task in entry.tasks
    )
    run = studies.StudyRun(
      trained.name, {"evaluate.tasks": tasks}, plays=f"work/{trained.name}", verbs=("evaluate",)
    )
    runs.append(run)

  config.study = studies.section("above_expert", runs)

  return config
