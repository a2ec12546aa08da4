"""Does the network of one domain play a task of that domain that it never saw?

Each task of the domain is held out in turn.

python -m experiments.study --config=experiments/configs/studies/leave_one_out.py
python -m experiments.study --config=experiments/configs/studies/leave_one_out.py:labyrinth

The second takes another domain of small.py. Seven runs of 500 to 600 steps for Meta-World, whose
answer is no, on five of six tasks (docs/results.md).
"""

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small


def get_config(domain: str = "meta_world") -> ml_collections.ConfigDict:
  """Returns the study.

  Args:
    domain: Name of a domain of small.py.
  """
  config = small.get_config()
  other_domains = tuple(name for name in config.domains if name != domain)

  runs = [StudyRun("all", small.only(domain), {"arm": "trained on all"})]
  for task in config.domains[domain].tasks:
    name = f"{domain}.{task}"
    changes = small.without(*other_domains, name) | {"evaluate.tasks": (name,)}
    runs.append(StudyRun(f"without-{task}", changes, {"arm": "task held out"}))

  return small.study(f"leave_one_out_{domain}", "scores", runs=runs)
