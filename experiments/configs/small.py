"""A generalist small enough for two cores, with the paper's four held-out tasks held out: what the studies start from.

for verb in collect build train evaluate report; do
  python -m experiments.$verb --config=experiments/configs/small.py
done
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "small"
  config.domains = default.domains(
    control_suite=(0.25, "cartpole-balance", "pendulum-swingup", "point_mass-easy"),
    meta_world=(
      0.3,
      "button-press-v3",
      "dial-turn-v3",
      "door-lock-v3",
      "plate-slide-v3",
      "reach-v3",
      "window-close-v3",
    ),
    labyrinth=(0.25, "boxes_in_order", "forage", "hallway", "one_room"),
    atari=(0.08, "breakout", "freeway"),
    conceptual_captions=(0.08, "scenes"),
    text=(0.04, "python_docs"),
  )
  # As in demo.py: windows of one step, the state decides and not the last action.
  config.data.update(sequence_length=96, window_steps=1, prompt_probability=0.0, pairs=0)
  config.act.update(memory_steps=1, prompt="none")
  config.model.update(width=96, heads=3, layers=3, feed_forward=384, key_size=32, memory_length=96, attention_block=0)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=2000, batch_size=32)
  config.evaluate.update(episodes=20, videos=False)
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=120, meta_world=120, labyrinth=200, atari=10)
  )
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3, meta_world=0.25))
  return config
