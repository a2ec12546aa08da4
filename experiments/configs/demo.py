"""One set of weights on 16 tasks of 4 domains and text documents, on a laptop's CPU.

make demo                30 minutes of training; make demo MINUTES=5 trains shorter
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "demo"
  config.domains = default.domains(
    control_suite=(
      0.20,
      "point_mass-easy",
      "reacher-easy",
      "pendulum-swingup",
      "cartpole-balance",
    ),
    meta_world=(
      0.30,
      "reach-v3",
      "button-press-v3",
      "coffee-button-v3",
      "dial-turn-v3",
      "door-lock-v3",
      "door-unlock-v3",
      "plate-slide-v3",
      "window-close-v3",
    ),
    babyai=(0.28, "GoToObj", "GoToRedBallGrey", "GoToLocalS5N2", "OpenRedDoor"),
    sokoban=(0.20, "boxes_1"),
    text=0.02,
  )
  config.data.sequence_length = 256
  config.data.observation_text_targets = False
  config.model.update(memory_length=config.data.sequence_length)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(minutes=30.0, batch_size=16, checkpoint_every=500)
  config.evaluate.update(episodes=20, slots=20)
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=100, meta_world=100, babyai=2000, sokoban=8000)
  )
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.25, meta_world=0.25))
  return config
