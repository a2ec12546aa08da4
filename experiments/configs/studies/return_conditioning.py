"""Return conditioning: train on every episode and ask for a return, against filtering episodes.

The paper filters at 80 % of the expert's return. Here three quarters of the episodes are of an
expert that errs, each with a share of mistakes of its own (collect.mistakes), so that their returns
lie anywhere between a random actor's and the expert's.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/studies/return_conditioning.py
done

25 minutes of training on one core. Filtering is better (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import default, small

ASKED = (0.25, 0.5, 0.75, 1.0, 1.2)  # shares of the expert's return


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "return_conditioning"
  # A folder of its own: other configs collect the same tasks without mistakes.
  config.data_dir = "data/with_mistakes"
  # All arms imitate what was done, mistakes included: the return is that of the executed actions.
  config.data.labels = "executed"
  config.domains = default.domains(
    control_suite=(0.6, "cartpole-balance", "point_mass-easy"), meta_world=(0.4, "reach-v3")
  )

  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=320, meta_world=320)
  )
  # Mistakes take the place of small.py's pushes.
  config.collect.disturbance = ml_collections.ConfigDict()
  config.collect.mistakes = ml_collections.ConfigDict(dict(control_suite=1.0, meta_world=1.0))
  config.train.steps = 1000

  conditioned = {"data.keep": 0.0, "data.returns": True}
  runs = [
    studies.StudyRun("filtered", {"data.keep": 0.8}, {"arm": "filtered at 80 %"}),
    studies.StudyRun("all", {"data.keep": 0.0}, {"arm": "all episodes"}),
    studies.StudyRun("conditioned", conditioned, {"arm": "all, told the return"}, verbs=("train",)),
  ]
  for target in ASKED:
    run = studies.StudyRun(
      f"asked_{target:g}",
      conditioned | {"act.return_target": target},
      labels={"arm": f"asked for {target:g}"},
      plays="conditioned",
      verbs=("evaluate",),
    )
    runs.append(run)

  config.study = studies.section("return_conditioning", runs)

  return config
