"""All three kinds in one network on a laptop: control, captions and questions, text.

for verb in collect build train evaluate measure report; do
  python -m experiments.$verb --config=experiments/configs/mixed.py
done

A quarter of an hour to collect, draw and build, 15 minutes of training. docs/text_and_pictures.md has what came out.
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
  # As in demo.py: windows of one step, the state decides and not the last action; instructions are no targets.
  config.data.update(sequence_length=128, window_steps=1, prompt_probability=0.0, observation_text_targets=False)
  config.act.update(memory_steps=1, prompt="none")
  # Runs this short spend their loss on answers, and every row is full: five pairs would leave it half empty.
  config.data.update(question_targets=False, pairs=0)
  config.model.update(width=128, heads=4, layers=3, feed_forward=512, memory_length=128, attention_block=0)
  config.optimizer.peak_learning_rate = 1e-3
  config.train.update(minutes=15.0, batch_size=32)
  config.collect.domain_episodes = ml_collections.ConfigDict(dict(control_suite=120, babyai=3000))
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3))
  config.evaluate.episodes = 20
  return config
