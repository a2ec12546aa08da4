"""IsoFLOP sweep on 170 tasks of five cheap domains and text, for the law of docs/scaling.md.

for verb in collect build; do
  python -m experiments.$verb --config=experiments/configs/studies/scaling.py
done
python -m launch sweep --config=experiments/configs/studies/scaling.py --on=local
python -m experiments.report --scaling --config=experiments/configs/studies/scaling.py

The tasks are those of experiments/configs/generalist.py whose experts cost a sixth of a second an
episode at most.
"""

import ml_collections

from experiments import cli
from experiments.analysis.scaling import runs
from experiments.configs import default

# Every tenth task by name, for the score over the loss.
_PLAYED = (
  "babyai.FindObjS7",
  "babyai.GoToLocalS7N5",
  "babyai.GoToObjMazeOpen",
  "babyai.GoToRedBallGrey",
  "babyai.MoveTwoAcrossS5N2",
  "babyai.OpenDoorsOrderN2",
  "babyai.PutNextLocalS5N3",
  "babyai.UnblockPickup",
  "labyrinth.doom_health_gathering_supreme",
  "labyrinth.match_sample",
  "labyrinth.sidewalk",
  "meta_world.button-press-v3",
  "meta_world.door-unlock-v3",
  "meta_world.handle-pull-v3",
  "meta_world.plate-slide-v3",
  "meta_world.sweep-into-v3",
  "playroom.pick_up_in_order",
)


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "scaling"
  config.domains = default.domains(
    # 80, 49, 29, 9 and 3 tasks.
    babyai=0.3,
    meta_world=0.3,
    labyrinth=0.15,
    playroom=0.07,
    sokoban=0.08,
    text=(0.1, "python_docs"),
  )
  config.scaling = cli.section_of(
    runs.SweepConfig(budgets=(1e11, 1e12, 1e13), first_tokens_per_parameter=5.0, cosine_budget=2)
  )

  # 78 tokens hold three steps of Meta-World or BabyAI, which do not see each other.
  default.one_step_context(config, 78)
  config.data.update(observation_text_targets=False, validation_every=5)
  # The law is about losses. Without the episodes in which a push made the expert fail, some tasks
  # of Meta-World would have one or two.
  config.data.keep = 0.0

  # The table of 32,000 pieces would have most of the FLOPs of these networks.
  config.tokenizer = "2k"
  config.model.update(text_pieces=2048)

  # A batch has about 150 targets.
  config.train.update(batch_size=16, log_every=25, loss_chunk=88, validation_batches=128)
  # Never during a run, which is a few minutes long: it is saved before its decay and at its end.
  config.train.checkpoint_every = 1_000_000
  # A batch of 16 rows has few tasks: the loss of a task jumps with its one row.
  config.train.spike_nats = 0.0
  config.optimizer.update(schedule="wsd", warmup_steps=20, peak_learning_rate=2e-3)

  config.evaluate.update(episodes=5, baselines="scores", videos=False, tasks=_PLAYED)

  config.collect.episodes = 30
  # BabyAI, the playroom and Sokoban draw a new level in every episode, so that they need many.
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(
      babyai=150,
      meta_world=12,
      playroom=150,
      labyrinth=40,
      sokoban=dict(boxes_1=3000, boxes_2=2000, boxes_4=100),
    )
  )
  # The MuJoCo experts are pushed off their path, so that the network sees how to come back.
  config.collect.disturbance = ml_collections.ConfigDict(dict(meta_world=0.25))

  return config
