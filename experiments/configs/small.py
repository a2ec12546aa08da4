"""A generalist small enough for two cores, with the paper's four held-out tasks held out: what the studies start from.

for verb in collect build train evaluate report; do
  python -m experiments.$verb --config=experiments/configs/small.py
done
"""

from typing import Any

import ml_collections

from experiments.configs import default
from gato_jax import studies

WORKDIR = "work/small"
HELD_OUT = ("control_suite.cartpole-swingup", "meta_world.assembly-v3", "labyrinth.apples_in_order", "atari.boxing")
STEPS = 2000


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "small"
  config.domains = default.domains(
    control_suite=(0.25, "cartpole-balance", "pendulum-swingup", "point_mass-easy"),
    meta_world=(
      0.3,
      "button-press-v3",
      "dial-turn-v3",
      "door-lock-v3",
      "plate-slide-v3",
      "reach-v3",
      "window-close-v3",
    ),
    labyrinth=(0.25, "boxes_in_order", "forage", "hallway", "one_room"),
    atari=(0.08, "breakout", "freeway"),
    conceptual_captions=(0.08, "scenes"),
    text=(0.04, "python_docs"),
  )
  # As in demo.py: windows of one step, the state decides and not the last action.
  config.data.update(sequence_length=96, window_steps=1, prompt_probability=0.0, pairs=0)
  config.act.update(memory_steps=1, prompt="none")
  config.model.update(width=96, heads=3, layers=3, feed_forward=384, key_size=32, memory_length=96, attention_block=0)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=STEPS, batch_size=32)
  config.evaluate.update(episodes=20, videos=False)
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=120, meta_world=120, labyrinth=200, atari=10)
  )
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3, meta_world=0.25))
  return config


def study(name: str, kind: str, runs: list[studies.Run]) -> ml_collections.ConfigDict:
  """This config with a study; other studies may begin with its runs, in work/<name>/<run>."""
  config = get_config()
  config.name = name
  config.study = studies.section(kind, runs)
  return config


def without(*held_out: str) -> dict[str, Any]:
  """Changes of a run that lacks these domains or tasks, and sees the others as often as the generalist does."""
  config = get_config()
  total = sum(mix.weight for mix in config.domains.values())
  left = 0.0
  for name, mix in config.domains.items():
    tasks = [task for task in mix.tasks if not {name, f"{name}.{task}"} & set(held_out)]
    left += mix.weight * len(tasks) / len(mix.tasks)
  return {"held_out": held_out, "train.steps": round(STEPS * left / total)}


def only(domain: str) -> dict[str, Any]:
  """Changes of a run that has one domain alone."""
  return without(*(name for name in get_config().domains if name != domain))


def fine_tune(task: str, episodes: int = 0, repeat: int = 0, steps: int = 300) -> dict[str, Any]:
  """Changes of a run that is fine-tuned on a task (Reed et al. 2022, appendix E): constant rate, dropout, no decay.

  The paper's rate is 1e-5, for 10,000 steps of 64 x 1024 tokens and 364M parameters. Played at every fifth of the run.
  """
  return {
    "fine_tune.tasks": (task,),
    "fine_tune.episodes": episodes,
    "data.draw": repeat,
    "data.seed": repeat,
    "train.seed": repeat,
    "train.steps": steps,
    "train.batch_size": 8,
    "train.checkpoint_every": steps // 5,
    "train.keep": 5,
    "train.log_every": 10,
    "model.dropout": 0.1,
    "optimizer.peak_learning_rate": 5e-4,
    "optimizer.warmup_steps": 0,
    "optimizer.final_fraction": 1.0,
    "optimizer.weight_decay": 0.0,
    "evaluate.episodes": 8,
  }
