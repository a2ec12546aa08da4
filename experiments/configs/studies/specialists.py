"""Specialists against the generalist of equal size (Reed et al. 2022, section 5.5).

A specialist is trained on all tasks of one domain, and sees as many sequences of it as the
generalist did. The paper's are 79M on all 50 Meta-World tasks and 1.18B on 51 Atari games; for
those change the lists of tasks and the network in small.py.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/studies/specialists.py

Four runs of 160 to 600 steps. The generalist loses nothing that 10 episodes a task can tell, and is
better on Meta-World (docs/results.md).
"""

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small

DOMAINS = ("control_suite", "meta_world", "labyrinth", "atari")


def get_config() -> ml_collections.ConfigDict:
  runs = [
    StudyRun("generalist", labels={"arm": "generalist"}, plays=small.WORKDIR, verbs=("evaluate",))
  ]
  for domain in DOMAINS:
    runs.append(StudyRun(domain, small.only(domain), {"arm": "specialist of the domain"}))

  return small.study("specialists", "scores", runs=runs)
