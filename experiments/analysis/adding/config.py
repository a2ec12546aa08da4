"""Proposes an experiment config for a new domain."""

import pathlib

from gato_jax.data import check
from gato_jax.storage import files

_BATCH_TOKENS = 4096

# Of recorded episodes, and of an environment that is played.
_RECORDED_VERBS = ("build", "view", "train", "measure", "report")
_PLAYED_VERBS = ("collect", "build", "train", "evaluate", "report")

_VALIDATION = """
  # Every tenth episode never trains: experiments.measure compares actions on it.
  config.data.validation_every = 10"""
_COLLECTION = """
  config.collect.episodes = 200
  config.evaluate.episodes = 20"""


def write(
  folder: pathlib.Path, name: str, step_tokens: int, is_played: bool, has_validation: bool = False
) -> pathlib.Path:
  """Writes <folder>/<name>.py unless it is there, and returns its path.

  Args:
    folder: experiments/configs.
    name: Name of the domain, and of the experiment.
    step_tokens: Tokens of a timestep.
    is_played: True where there is an environment to act in, False for recorded episodes.
    has_validation: True where a recording itself holds out episodes.
  """
  path = folder / f"{name}.py"
  if path.exists():
    return path

  steps, length = check.proposed_lengths(step_tokens)
  more = _COLLECTION if is_played else ""
  if not is_played and not has_validation:
    more = _VALIDATION

  content = _CONFIG.format(
    name=name,
    what="An agent of" if is_played else "The recorded episodes of",
    verbs=" ".join(_PLAYED_VERBS if is_played else _RECORDED_VERBS),
    step_tokens=step_tokens,
    steps=steps,
    length=length,
    dropout=0.5 if steps > 1 else 0.0,
    batch=max(4, _BATCH_TOKENS // length),
    more=more,
  )
  files.write(path, content)
  return path


_CONFIG = '''"""{what} {name}.

for verb in {verbs}; do
  python -m experiments.$verb --config=experiments/configs/{name}.py
done
"""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "{name}"
  config.domains = default.domains({name}=1.0)

  # A step takes {step_tokens} tokens. The network sees windows of {steps}, without earlier actions
  # (docs/history.md).
  config.data.update(sequence_length={length}, window_steps={steps}, history_dropout={dropout})
  config.data.update(prompt_probability=0.0, observation_text_targets=False)
  config.act.update(history_steps={steps}, prompt="none")
  config.model.update(past_actions="hidden", memory_length={length})
{more}

  # 1.4M parameters: ten minutes on a laptop.
  config.tokenizer = "2k"
  config.model.update(width=128, heads=2, key_size=64, feed_forward=768, text_pieces=2048)
  config.optimizer.peak_learning_rate = 1.5e-3
  config.train.update(minutes=10.0, batch_size={batch}, checkpoint_every=200)

  return config
'''
