"""Above the expert: do trained networks beat what they imitated? They are played, nothing is trained.

Train experiments/configs/demo.py and small.py first; then python -m experiments.study and .report with this config.
"""

import ml_collections

from experiments.configs import demo, small
from gato_jax import studies


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "above_expert"
  config.evaluate.update(episodes=50, videos=False)
  runs = []
  for trained in (demo.get_config(), small.get_config()):
    tasks = tuple(
      f"{domain}.{task}"
      for domain, mix in trained.domains.items()
      if domain not in ("text", "conceptual_captions")
      for task in mix.tasks
    )
    runs.append(studies.Run(trained.name, {"evaluate.tasks": tasks}, plays=f"work/{trained.name}", verbs=("evaluate",)))
  config.study = studies.section("above_expert", runs)
  return config
