"""Return conditioning: keep every episode and ask for a return, against filtering at 80 % of the expert's.

Three quarters of the episodes are of an expert that errs, each with a share of mistakes of its own (collect.mistakes).
"""

import ml_collections

from experiments.configs import default, small


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "return_conditioning"
  config.domains = default.domains(
    control_suite=(0.6, "cartpole-balance", "point_mass-easy"), meta_world=(0.4, "reach-v3")
  )
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(control_suite=320, meta_world=320))
  config.collect.disturbance = ml_collections.ConfigDict()
  config.collect.mistakes = ml_collections.ConfigDict(dict(control_suite=1.0, meta_world=1.0))
  config.train.steps = 1500
  return config
