"""One set of weights on 17 tasks of 4 domains and text documents, on a laptop's CPU.

make demo                30 minutes of training; make demo MINUTES=5 trains shorter
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
  # Three steps of Meta-World or BabyAI fill a row; windows of one step: the state decides, not the last action.
  config.data.update(sequence_length=78, window_steps=1, prompt_probability=0.0)
  config.act.update(memory_steps=1, prompt="none")
  config.data.observation_text_targets = False
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768, memory_length=78, attention_block=0)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(minutes=30.0, batch_size=52, checkpoint_every=500)
  config.evaluate.episodes = 20
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=120, meta_world=120, babyai=3000, sokoban=16000)
  )
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3, meta_world=0.25))
  return config
