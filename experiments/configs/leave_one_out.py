"""Every task of a domain held out in turn: does a domain's network play a task that it never saw?

--config=experiments/configs/leave_one_out.py:labyrinth takes another domain of small.py.

python -m experiments.study --config=experiments/configs/leave_one_out.py
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run


def get_config(domain: str = "meta_world") -> ml_collections.ConfigDict:
  config = small.get_config()
  others = tuple(name for name in config.domains if name != domain)
  runs = [Run("all", small.only(domain), {"arm": "trained on all"})]
  for task in config.domains[domain].tasks:
    name = f"{domain}.{task}"
    changes = small.without(*others, name) | {"evaluate.tasks": (name,)}
    runs.append(Run(f"without-{task}", changes, {"arm": "task held out"}))
  return small.study(f"leave_one_out_{domain}", "scores", runs)
