"""One network on 217 control tasks of 14 domains, captions, questions and text.

for verb in collect build train evaluate measure report; do
  python -m experiments.$verb --config=experiments/configs/generalist.py
done

Every verb resumes. The tasks were chosen before any of them was trained: those whose expert solves
them and costs at most six seconds an episode on one core, and that their domain does not hold out
(rlds_builders/*/scores.json). None is dropped because it is hard to imitate.
"""

import ml_collections

from experiments.configs import default

# Cheap experts, and states that show what the task needs.
_CHEAPEST = (
  "cartpole-balance",
  "cartpole-balance_sparse",
  "pendulum-swingup",
  "point_mass-easy",
)
_CHEAP = (*_CHEAPEST, "cartpole-swingup_sparse", "swimmer-swimmer6")


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "generalist"
  config.domains = default.domains(
    # 80, 49, 29, 9, 3 and 8 tasks.
    babyai=0.24,
    meta_world=0.24,
    labyrinth=0.12,
    playroom=0.04,
    sokoban=0.06,
    manipulation=0.04,
    control_suite=(
      0.05,
      *_CHEAP,
      "point_mass-hard",
      "reacher-easy",
      "reacher-hard",
      "swimmer-swimmer15",
    ),
    control_suite_positions=0.03,
    control_suite_random_small=(0.03, *_CHEAP),
    control_suite_random_large=(0.02, *_CHEAPEST),
    control_suite_pixels=(0.02, *_CHEAPEST),
    modular_rl=(0.02, "hopper-thigh", "walker2d-foot", "walker2d-thigh", "walker2d-thigh_left"),
    procgen=(0.02, "caveflyer", "maze", "starpilot"),
    atari_extended=(0.01, "kaboom", "laser_gates"),
    conceptual_captions=(0.02, "scenes"),
    vqa_v2=(0.01, "scenes"),
    ok_vqa=(0.02, "grids"),
    text=(0.01, "python_docs"),
  )

  # Windows of up to four steps that see no earlier actions, half of them cut shorter: arm A4 of
  # docs/history.md. The longest four steps take 208 tokens.
  config.data.update(sequence_length=208, window_steps=4, history_dropout=0.5)
  config.data.prompt_probability = 0.0
  config.act.update(history_steps=4, prompt="none")
  # A short run spends its loss on actions and answers, not on instructions and questions.
  config.data.update(observation_text_targets=False, question_targets=False, pairs=0)

  # 1.4M parameters: what two cores can train on 200M tokens in half a day. The table of the 32,000
  # pieces would have most of them.
  config.tokenizer = "2k"
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768, text_pieces=2048)
  config.model.update(past_actions="hidden", memory_length=208)
  # A batch has 16 rows of 221 tasks: the loss of a task jumps with its one row.
  config.train.update(steps=60_000, batch_size=16, checkpoint_every=1_000, spike_nats=0.0)
  config.optimizer.peak_learning_rate = 1.5e-3

  # BabyAI and Sokoban draw a new level in every episode, so that they need many.
  config.collect.episodes = 30
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(
      babyai=400,
      playroom=400,
      sokoban=dict(boxes_1=8000, boxes_2=8000, boxes_4=200),
      procgen=dict(maze=300, caveflyer=20, starpilot=20),
      atari_extended=10,
      modular_rl=20,
    )
  )
  # The MuJoCo experts are pushed off their path, so that the network sees how to come back.
  config.collect.disturbance = ml_collections.ConfigDict(
    dict(
      control_suite=0.3,
      control_suite_positions=0.3,
      control_suite_pixels=0.3,
      meta_world=0.25,
    )
  )

  return config
