"""Tasks that the network never trained on, played with a demonstration as prompt and nothing else (docs/acting.md).

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/zero_shot.py

small.py's network, which never saw a prompt, goes on training with prompts on the same tasks. Then it plays behind five
kinds of them the held-out tasks and, to see whether prompts matter at all, some that it trained on.
"""

import ml_collections

from experiments.configs import small
from gato_jax import studies

TRAINED = ("meta_world.door-lock-v3", "meta_world.window-close-v3", "labyrinth.one_room")
# Meta-World's tasks observe the same fields, so that this one's demonstration may be taken for theirs.
ANOTHER = "meta_world.reach-v3"
PROMPTS = {
  "none": {"act.prompt": "none"},
  "start": {"act.prompt": "start"},
  "end": {"act.prompt": "end"},
  "uniform": {"act.prompt": "uniform"},
  "another task": {"act.prompt": "start", "act.prompt_task": ANOTHER},
}


def get_config() -> ml_collections.ConfigDict:
  runs = [studies.Run("network", starts_from=small.WORKDIR, verbs=("train",))]
  for arm, changes in PROMPTS.items():
    name = f"prompt_{arm.replace(' ', '_')}"
    runs.append(studies.Run(name, changes, {"arm": arm}, plays="network", verbs=("evaluate",)))
  config = small.study("zero_shot", "scores", runs)
  del config.domains.conceptual_captions, config.domains.text  # nothing is prompted there
  config.held_out = small.HELD_OUT
  # Four steps of Meta-World fill a row; a prompt takes half of it, as at most in training. The memory begins anew, with
  # the prompt, every other step: so the prompt never leaves it.
  config.data.update(sequence_length=192, window_steps=0, prompt_probability=0.25)
  config.model.memory_length = 192
  config.act.memory_steps = 2
  config.optimizer.peak_learning_rate = 1e-3
  config.train.update(steps=400, batch_size=12, keep=1)
  config.evaluate.update(tasks=small.HELD_OUT + TRAINED, baselines="scores")
  return config
