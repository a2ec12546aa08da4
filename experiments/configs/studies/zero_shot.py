"""Zero-shot: held-out tasks, played with a demonstration as prompt and no fine-tuning.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/studies/zero_shot.py

small.py's network, which never saw a prompt, is trained 400 steps more with prompts on the same
tasks. Then it plays behind five kinds of them (docs/acting.md): the held-out tasks and, to see
whether prompts matter at all, some that it was trained on. They do not matter (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import small

TRAINED = ("meta_world.door-lock-v3", "meta_world.window-close-v3", "labyrinth.one_room")
# All Meta-World tasks observe the same fields, so that any of them can be prompted with this one.
ANOTHER = "meta_world.reach-v3"
PROMPTS = {
  "none": {"act.prompt": "none"},
  "start": {"act.prompt": "start"},
  "end": {"act.prompt": "end"},
  "uniform": {"act.prompt": "uniform"},
  "another task": {"act.prompt": "start", "act.prompt_task": ANOTHER},
}


def get_config() -> ml_collections.ConfigDict:
  runs = [studies.StudyRun("network", starts_from=small.WORKDIR, verbs=("train",))]
  for arm, changes in PROMPTS.items():
    run = studies.StudyRun(
      f"prompt_{arm.replace(' ', '_')}",
      changes,
      labels={"arm": arm},
      plays="network",
      verbs=("evaluate",),
    )
    runs.append(run)

  config = small.study("zero_shot", "scores", runs=runs)
  # Documents have no prompts.
  del config.domains.conceptual_captions, config.domains.text
  config.held_out = small.HELD_OUT

  # Four steps of Meta-World fill a row, of which a prompt takes at most half, as in training.
  config.data.update(sequence_length=192, window_steps=0, prompt_probability=0.25)
  config.model.memory_length = 192
  # The KV cache is emptied every other step and begins with the prompt again, so that the prompt
  # never leaves it.
  config.act.memory_steps = 2

  config.optimizer.peak_learning_rate = 1e-3
  config.train.update(steps=400, batch_size=12, keep=1)
  config.evaluate.update(tasks=small.HELD_OUT + TRAINED, baselines="scores")

  return config
