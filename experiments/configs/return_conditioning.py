"""Return conditioning: keep every episode and ask for a return, against filtering at 80 % of the expert's.

Three quarters of the episodes are of an expert that errs, each with a share of mistakes of its own (collect.mistakes),
so their returns lie anywhere between a random actor's and the expert's. 25 minutes of training on one core.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/return_conditioning.py
done
"""

import ml_collections

from experiments.configs import default, small
from gato_jax import studies

ASKED = (0.25, 0.5, 0.75, 1.0, 1.2)  # of the expert's return


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "return_conditioning"
  config.data_dir = "data/with_mistakes"  # other episodes of tasks that other configs collect without mistakes
  config.data.labels = "executed"  # all arms imitate what was done, mistakes included
  config.domains = default.domains(
    control_suite=(0.6, "cartpole-balance", "point_mass-easy"), meta_world=(0.4, "reach-v3")
  )
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(control_suite=320, meta_world=320))
  config.collect.disturbance = ml_collections.ConfigDict()
  config.collect.mistakes = ml_collections.ConfigDict(dict(control_suite=1.0, meta_world=1.0))
  config.train.steps = 1000
  everything = {"data.keep": 0.0, "data.returns": True}
  runs = [
    studies.Run("filtered", {"data.keep": 0.8}, {"arm": "filtered at 80 %"}),
    studies.Run("all", {"data.keep": 0.0}, {"arm": "all episodes"}),
    studies.Run("conditioned", everything, {"arm": "all, told the return"}, verbs=("train",)),
  ]
  for target in ASKED:
    runs.append(
      studies.Run(
        f"asked_{target:g}",
        everything | {"act.return_target": target},
        {"arm": f"asked for {target:g}"},
        plays="conditioned",
        verbs=("evaluate",),
      )  # fmt: skip
    )
  config.study = studies.section("return_conditioning", runs)
  return config
