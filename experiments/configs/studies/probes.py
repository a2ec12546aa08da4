"""Is the network more than a switch between experts?

Probes of every layer, and scores without the directions that tell the tasks apart.

python -m experiments.study --config=experiments/configs/studies/probes.py
python -m experiments.report --config=experiments/configs/studies/probes.py

It interprets the checkpoint in work/small (experiments/configs/small.py) and plays it seven times;
docs/interpret.md says what is measured. Networks of width 96 give no answer: removing random
directions hurts them as much (docs/results.md).
"""

from collections.abc import Sequence

import ml_collections

from experiments.analysis import studies
from experiments.analysis.studies import StudyRun
from experiments.configs import small


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "probes"
  # Poor episodes are interpreted as well: only 2 of breakout are good enough to train on.
  config.data.keep = 0.0
  # 28 directions are all that tell the 15 played tasks apart, 2 (15 - 1); 4 are some of them.
  config.interpret.directions = (4, 28)
  config.evaluate.update(episodes=5, baselines="scores")

  numbers = sorted(config.interpret.directions, reverse=True)
  config.study = studies.section("probes", [*looks(), *removals(numbers)])

  return config


def looks() -> list[StudyRun]:
  """Returns the runs that interpret: single timesteps, and windows of many.

  Timesteps are what the network was trained on; they give the directions. Windows give states that
  are means over n tokens.
  """
  windows = {"data.window_steps": 0, "data.sequence_length": 192}

  return [
    StudyRun(
      "timestep",
      {"interpret.parts": ("probes", "directions")},
      labels={"look": "timestep"},
      plays=small.WORKDIR,
      verbs=("interpret",),
    ),
    StudyRun(
      "tokens",
      {"interpret.parts": ("probes",), "interpret.tokens": (8, 32, 96), **windows},
      labels={"look": "tokens"},
      plays=small.WORKDIR,
      verbs=("interpret",),
    ),
  ]


def removals(numbers: Sequence[int]) -> list[StudyRun]:
  """Returns the runs that play: the network as it is, then without directions of each kind.

  Args:
    numbers: Numbers of directions to remove, whose files the run `timestep` writes.
  """
  directory = "work/probes/timestep/interpretation/directions"

  runs = [
    StudyRun(
      "whole", labels={"removed": "none", "directions": 0}, plays=small.WORKDIR, verbs=("evaluate",)
    )
  ]
  for number in numbers:
    for kind in ("task", "within", "random"):
      # It plays `timestep`, which has the same checkpoint, so that the files are there by then.
      run = StudyRun(
        f"without_{kind}_{number}",
        {"act.remove": f"{directory}/{kind}_{number}.npz"},
        labels={"removed": kind, "directions": number},
        plays="timestep",
        verbs=("evaluate",),
      )
      runs.append(run)

  return runs
