"""History: what are earlier observations, earlier actions and corrections worth to a clone?

A network that sees its own past may copy its last action instead of looking at the state (de Haan
et al. 2019). The arms add one cure after the other, on tasks where a velocity or a memory matters
and on tasks whose state says everything, as a check of harm.

python -m experiments.collect --config=experiments/configs/studies/history.py
python -m experiments.build --config=experiments/configs/studies/history.py
python -m experiments.study --config=experiments/configs/studies/history.py
python -m experiments.report --config=experiments/configs/studies/history.py

With history.py:velocities, the same arms play eight tasks that hide velocities or show them and
whose experts are cheap: collecting took half an hour and the arms an hour and a quarter on two
cores, both beside other work.

What was predicted and what came out: docs/history.md.
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import default

STEPS = 800
WINDOW = 4  # steps

# Settings of the arms. Windows of one step pack as many of them into a row as fit.
ONE_STEP = {"data.window_steps": 1, "act.memory_steps": 1}
SEEN = {"data.window_steps": WINDOW, "act.history_steps": WINDOW}
HIDDEN = SEEN | {"model.past_actions": "hidden"}
DROPOUT = HIDDEN | {"data.history_dropout": 0.5}
SPACED = DROPOUT | {"data.history_stride": 4, "data.last_step_targets": True}
DAGGER = ("dagger", "evaluate")

ARMS: dict[str, tuple[dict, tuple[str, ...]]] = {
  "one step": (ONE_STEP, ("train", "evaluate")),
  "seen, expert's past": (SEEN | {"data.past_actions": "expert"}, ("train", "evaluate")),
  "seen": (SEEN, ("train", "evaluate")),
  "hidden": (HIDDEN, ("train", "evaluate")),
  "hidden, dropout": (DROPOUT, ("train", "evaluate")),
  "hidden, dropout, DAgger": (DROPOUT, DAGGER),
  "one step, DAgger": (ONE_STEP, DAGGER),
  "hidden, dropout, spaced": (SPACED, ("train", "evaluate")),
}


def get_config(tasks: str = "all") -> ml_collections.ConfigDict:
  """Returns the study.

  Args:
    tasks: "all", or "velocities" for eight cheap tasks.
  """
  config = default.get_config("tiny")
  config.name = "history"
  config.domains = default.domains(
    # Velocities are hidden, or have to be seen in pixels.
    control_suite_positions=(
      0.3,
      "cartpole-balance",
      "cartpole-swingup",
      "pendulum-swingup",
      "point_mass-easy",
      "reacher-easy",
    ),
    control_suite_pixels=(0.08, "point_mass-easy"),
    # Behind doors and in other rooms.
    babyai=(0.16, "FindObjS5", "GoToObjMazeS4R2"),
    labyrinth=(0.08, "forage"),
    sokoban=(0.08, "boxes_1"),
    # The state says everything.
    control_suite=(0.18, "pendulum-swingup", "point_mass-easy", "reacher-easy"),
    meta_world=(0.12, "button-press-v3", "dial-turn-v3"),
  )

  # The longest four steps, of BabyAI, take 208 tokens.
  config.data.update(sequence_length=208, prompt_probability=0.0)
  config.data.observation_text_targets = False
  config.act.prompt = "none"

  # The demo's blocks with a small token table: 1.4M parameters.
  config.tokenizer = "2k"
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768, memory_length=208)
  config.model.text_pieces = 2048
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=STEPS, batch_size=24, checkpoint_every=STEPS, keep=1)
  config.evaluate.update(episodes=20, videos=False)
  config.dagger.update(rounds=2, episodes=20)

  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(
      control_suite_positions=120,
      control_suite_pixels=60,
      babyai=3000,
      labyrinth=400,
      sokoban=6000,
      control_suite=120,
      meta_world=120,
    )
  )
  # The MuJoCo experts are pushed off their path, so that the network sees how to come back.
  config.collect.disturbance = ml_collections.ConfigDict(
    dict(control_suite=0.3, control_suite_positions=0.3, control_suite_pixels=0.3, meta_world=0.25)
  )

  if tasks == "velocities":
    config.name = "history_velocities"
    config.domains = default.domains(
      control_suite_positions=(
        0.7,
        "cartpole-balance",
        "cartpole-swingup",
        "pendulum-swingup",
        "point_mass-easy",
        "reacher-easy",
      ),
      control_suite=(0.3, "pendulum-swingup", "point_mass-easy", "reacher-easy"),
    )
    config.collect.domain_episodes.update(control_suite_positions=300, control_suite=300)
    config.data.sequence_length = 96
    config.model.memory_length = 96
    config.train.update(steps=1000, checkpoint_every=1000)
    config.evaluate.baselines = "scores"

  runs = [
    studies.StudyRun(f"A{number}", changes, labels={"arm": arm}, verbs=verbs)
    for number, (arm, (changes, verbs)) in enumerate(ARMS.items())
  ]
  config.study = studies.section("scores", runs)

  return config
