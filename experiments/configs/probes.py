"""Is it more than a switch between experts? Probes of every layer, and scores without what tells the tasks.

python -m experiments.study --config=experiments/configs/probes.py
python -m experiments.report --config=experiments/configs/probes.py

work/small is looked at (experiments/configs/small.py); docs/interpret.md says what is measured.
"""

from collections.abc import Sequence

import ml_collections

from experiments.configs import small
from gato_jax import studies
from gato_jax.studies import Run


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "probes"
  config.data.keep = 0.0  # poor episodes are looked at, too: only 2 of breakout are good enough to train
  config.interpret.directions = (4, 28)  # some of what tells the 15 tasks that are played, and all
  config.evaluate.update(episodes=5, baselines="scores")
  config.study = studies.section("probes", [*looks(), *removals(sorted(config.interpret.directions, reverse=True))])
  return config


def looks() -> list[Run]:
  """One timestep as the network was trained on, with the directions; and windows of many, for states of n tokens."""
  windows = {"data.window_steps": 0, "data.sequence_length": 192}
  return [
    Run("timestep", {"interpret.parts": ("probes", "directions")}, {"look": "timestep"}, plays=small.WORKDIR,
        verbs=("interpret",)),
    Run("tokens", {"interpret.parts": ("probes",), "interpret.tokens": (8, 32, 96), **windows}, {"look": "tokens"},
        plays=small.WORKDIR, verbs=("interpret",)),
  ]  # fmt: skip


def removals(numbers: Sequence[int]) -> list[Run]:
  """The network as it is, then without as many directions of each kind: from the files of `timestep`."""
  files = "work/probes/timestep/interpretation/directions"
  found = [Run("whole", labels={"removed": "none", "directions": 0}, plays=small.WORKDIR, verbs=("evaluate",))]
  for number in numbers:
    for kind in ("task", "within", "random"):
      changes = {"act.remove": f"{files}/{kind}_{number}.npz"}
      labels = {"removed": kind, "directions": number}
      found.append(Run(f"without_{kind}_{number}", changes, labels, plays="timestep", verbs=("evaluate",)))
  return found
