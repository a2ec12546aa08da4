"""Hidden goal: does a network read its prompt, where only the prompt tells where to go?

Trained on 65 goals of a grid, always behind an episode with the same goal; played on them and on 16
goals that never trained, with the right prompt, with one of another goal, and with none. A second
network is trained without prompts.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/studies/hidden_goal.py
done

What came out: docs/history.md.
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import default

STEPS = 1000
WINDOW = 8  # steps of four tokens, of which a prompt takes four

# Name of a run -> its arm in the report, and its settings.
Arms = dict[str, tuple[str, dict[str, str]]]


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "hidden_goal"
  config.domains = default.domains(hidden_goal=(1.0, "known"))

  # Four steps spread over the prompt's episode, of which the last one stands in the goal, and up to
  # four of the sample's own. Acting reads the prompt again every four steps, as in training.
  config.data.update(
    sequence_length=128,
    window_steps=WINDOW,
    prompt_probability=1.0,
    prompt_spread_probability=1.0,
  )
  config.act.update(prompt="spread", memory_steps=4, prompt_share=16 / 128)

  # 2.4M parameters, 2.1M of them the token table.
  config.model.update(
    width=64, heads=2, key_size=32, feed_forward=384, memory_length=128, past_actions="hidden"
  )
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=STEPS, batch_size=16, checkpoint_every=STEPS, keep=1)
  config.collect.episodes = 2000
  config.evaluate.update(episodes=200, videos=False, tasks=("hidden_goal.known", "hidden_goal.new"))

  config.study = study()

  return config


def study(more_arms: Arms | None = None) -> ml_collections.ConfigDict:
  """Returns the section `study`: two networks that train, and the arms that play the first.

  Args:
    more_arms: Arms beside the right prompt, the wrong one and none.
  """
  arms: Arms = {
    "right": ("right prompt", {}),
    "wrong": ("wrong prompt", {"act.prompt_group": "other"}),
    "none": ("no prompt", {"act.prompt": "none"}),
  }
  without = {"data.prompt_probability": 0.0, "act.prompt": "none"}
  runs = [
    studies.StudyRun("prompted", verbs=("train",)),
    studies.StudyRun("unprompted", without, labels={"arm": "trained without prompts"}),
  ]
  for name, (arm, changes) in (arms | (more_arms or {})).items():
    runs.append(
      studies.StudyRun(name, changes, labels={"arm": arm}, plays="prompted", verbs=("evaluate",))
    )

  return studies.section("scores", runs)
