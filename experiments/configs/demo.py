"""One network on 17 tasks of 4 domains and text documents, on a laptop's CPU.

make demo                30 minutes of training
make demo MINUTES=5      shorter, with lower scores

On two cores: 4 minutes to collect 29,440 expert episodes, 2 to build the datasets, 30 to train.
15 of 17 tasks reach half of the expert's score (docs/results.md).
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "demo"
  config.domains = default.domains(
    control_suite=(
      0.12,
      "point_mass-easy",
      "reacher-easy",
      "pendulum-swingup",
      "cartpole-balance",
    ),
    meta_world=(
      0.38,
      "reach-v3",
      "button-press-v3",
      "coffee-button-v3",
      "dial-turn-v3",
      "door-lock-v3",
      "door-unlock-v3",
      "plate-slide-v3",
      "window-close-v3",
    ),
    babyai=(0.22, "GoToObj", "GoToRedBallGrey", "GoToLocalS5N2", "OpenRedDoor"),
    sokoban=(0.26, "boxes_1"),
    text=(0.02, "python_docs"),
  )

  # 78 tokens hold three steps of Meta-World or BabyAI, which do not see each other.
  default.one_step_context(config, 78)
  # Instructions repeat in every step: predicting them would take most of a short run's loss.
  config.data.observation_text_targets = False

  # 5.3M parameters, 4.2M of them the token table.
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(minutes=30.0, batch_size=52, checkpoint_every=500)
  config.evaluate.episodes = 20

  # BabyAI and Sokoban draw a new level in every episode, so that they need many.
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=120, meta_world=120, babyai=3000, sokoban=16000)
  )
  # The MuJoCo experts are pushed off their path, so that the network sees how to come back.
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3, meta_world=0.25))

  return config
