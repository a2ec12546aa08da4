"""All three kinds of data in one network on a laptop: control, captions and questions, text.

for verb in collect build train evaluate measure report; do
  python -m experiments.$verb --config=experiments/configs/mixed.py
done

A quarter of an hour to collect, draw and build, 15 minutes of training. The network plays both
tasks, captions rooms and answers part of the questions (docs/text_and_images.md).
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "mixed"
  config.domains = default.domains(
    control_suite=(0.08, "point_mass-easy"),
    babyai=(0.12, "GoToObj"),
    conceptual_captions=(0.25, "scenes"),
    vqa_v2=(0.15, "scenes"),
    ok_vqa=(0.25, "grids"),
    text=(0.15, "python_docs"),
  )

  default.one_step_context(config, 128)
  # A run this short spends its loss on actions and answers, not on instructions and questions.
  config.data.update(observation_text_targets=False, question_targets=False)
  # The paper's five image-text pairs a row would leave it half empty; 0 packs rows full.
  config.data.pairs = 0

  # 4.9M parameters, 4.2M of them the token table.
  config.model.update(width=128, heads=4, layers=3, feed_forward=512)
  config.optimizer.peak_learning_rate = 1e-3
  config.train.update(minutes=15.0, batch_size=32)

  # As in demo.py: many levels of BabyAI, and an expert that is pushed off its path.
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(control_suite=120, babyai=3000))
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3))
  config.evaluate.episodes = 20

  return config
