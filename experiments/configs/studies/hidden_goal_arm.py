"""Hidden goal, on a simulated arm: is a prompt read where it alone shows where to reach or push?

As hidden_goal.py, on two tasks of Meta-World: trained on 64 goals each, always behind an episode
with the same goal; played on them and on 16 goals each that never trained.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/studies/hidden_goal_arm.py
done

What was predicted and what came out: docs/history.md.
"""

import ml_collections

from experiments.configs import default
from experiments.configs.studies import hidden_goal

STEPS = 1000
STEP_TOKENS = 23  # 18 numbers, the separator, four numbers of the action
PROMPT = 4  # steps


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "hidden_goal_arm"
  config.domains = default.domains(meta_world_hidden_goal=(1.0, "push-v3", "reach-v3"))

  # Four steps spread over the prompt's episode, of which the last one stands at the goal, and up to
  # four of the sample's own. Acting reads the prompt again every four steps, as in training.
  length = 2 * PROMPT * STEP_TOKENS
  config.data.update(
    sequence_length=length,
    window_steps=2 * PROMPT,
    prompt_probability=1.0,
    prompt_spread_probability=1.0,
  )
  config.act.update(prompt="spread", memory_steps=PROMPT, prompt_share=0.5)

  # 1.4M parameters.
  config.tokenizer = "2k"
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768, memory_length=length)
  config.model.update(text_pieces=2048, past_actions="hidden")
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=STEPS, batch_size=16, checkpoint_every=STEPS, keep=1)
  config.collect.episodes = 500
  config.collect.disturbance = ml_collections.ConfigDict(dict(meta_world_hidden_goal=0.25))
  config.evaluate.update(
    episodes=50,
    videos=False,
    tasks=tuple(
      f"meta_world_hidden_goal.{task}"
      for task in ("push-v3", "push-v3-new", "reach-v3", "reach-v3-new")
    ),
  )

  config.study = hidden_goal.study(
    {"start": ("right prompt, its first steps", {"act.prompt": "start"})}
  )

  return config
